"""The chain of datasets by name: which assets a stage adds. For the CLI, the orchestrator and the Dagster layer."""

from md_platform.errors import InvalidSetting

STAGES: dict[str, tuple[str, ...]] = {
    "raw": ("raw_bars",),
    "cleaned": ("cleaned_bars",),
    "resampled": ("resampled_bars",),
    "indicators": ("indicators",),
    "archive": ("archive_cleaned_bars", "archive_resampled_bars", "archive_indicators"),
}
"""Assets that each stage adds to the one before, from the venue's own bars."""

TRADE_STAGES: dict[str, tuple[str, ...]] = {
    "raw": ("raw_trades", "live_trades"),
    "cleaned": ("cleaned_trades", "trade_bars"),
    "archive": ("archive_cleaned_trades",),
}
"""What trades add; they are many, so they are fetched on request only. What was streamed of them is at hand."""

STREAMED = "live_trades"
"""Made of what the live process stored: a day of which it stored nothing is whole without it."""

PERIOD_ASSETS: dict[str, tuple[str, ...]] = {
    "1w": ("weekly_bars", "archive_weekly_bars"),
    "1M": ("monthly_bars", "archive_monthly_bars"),
}
"""Assets partitioned by week and month; they follow whenever a day of theirs was made."""

ARCHIVED = (
    "cleaned_bars",
    "cleaned_trades",
    "resampled_bars",
    "indicators",
    "weekly_bars",
    "monthly_bars",
)
"""Datasets that have a Delta table of the same name."""


INPUTS: dict[str, tuple[str, ...]] = {
    "raw_bars": (),
    "raw_trades": (),
    "live_trades": ("raw_trades",),
    "cleaned_trades": ("raw_trades", "live_trades"),
    "trade_bars": ("cleaned_trades",),
    "cleaned_bars": ("raw_bars", "trade_bars"),
    "resampled_bars": ("cleaned_bars",),
    "weekly_bars": ("resampled_bars",),
    "monthly_bars": ("resampled_bars",),
    "indicators": ("cleaned_bars", "resampled_bars"),
    **{f"archive_{name}": (name,) for name in ARCHIVED},
}
"""What each dataset is made of, by name."""


def outputs_of(dataset: str) -> tuple[str, ...]:
    """Datasets that are made of `dataset`."""
    return tuple(name for name, inputs in INPUTS.items() if dataset in inputs)


def assets_up_to(stage: str, *, trades: bool = False, first: str = "raw") -> list[str]:
    """Names of the daily assets from stage `first` to `stage`, both included; InvalidSetting for another stage."""
    for name in (first, stage):
        if name not in STAGES:
            raise InvalidSetting(f"stage must be one of {' '.join(STAGES)}, was {name!r}")
    order = list(STAGES)
    wanted = order[order.index(first) : order.index(stage) + 1]
    return [name for chosen in wanted for name in (*TRADE_STAGES.get(chosen, ()) * trades, *STAGES[chosen])]
