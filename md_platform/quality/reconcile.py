"""Two accounts of the same market in, such as what was streamed and what history says; where they differ out. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from md_platform.domain.bars import BAR_RULE
from md_platform.domain.schemas import BAR_COLUMNS

SUMS_AGREE = 1e-9
"""How far sums of floats may be apart, relative to the larger: their order of addition is not the same."""

NAMED = 100
"""How many ids a comparison of trades names."""

_COMPARED = [
    column for column in BAR_COLUMNS if column.name in BAR_RULE and column.name not in ("revision", "known_at")
]
_TRADE_CONTENT = ("time_ms", "price", "size", "taker_side", "trade_count")


@dataclass(frozen=True, slots=True)
class BarsCompared:
    """`differing` has a row per value that differs: open_time, column, live, batch.

    `only_live` and `only_batch` are open times of bars that the other side lacks.
    """

    compared: int
    differing: pl.DataFrame
    only_live: pl.Series
    only_batch: pl.Series

    @property
    def differing_bars(self) -> int:
        """How many of the compared bars differ."""
        return self.differing["open_time"].n_unique()

    @property
    def equal(self) -> int:
        """How many of them do not."""
        return self.compared - self.differing_bars

    @property
    def agrees(self) -> bool:
        """Whether both sides have the same bars and say the same in each."""
        return self.differing.is_empty() and self.only_live.is_empty() and self.only_batch.is_empty()


def compare_bars(live: pl.DataFrame, batch: pl.DataFrame) -> BarsCompared:
    """Compare bars (BAR_COLUMNS) of one instrument, timeframe and source on each side, unique by open_time.

    Prices and counts must be equal, sums agree to 1e-9; when and how often a bar was said does not matter.
    """
    both = live.join(batch, on="open_time", suffix="_batch").sort("open_time")
    differing = [
        both.filter(~_agrees(column.name, is_sum=BAR_RULE[column.name] == "sum" and column.dtype.is_float())).select(
            "open_time",
            column=pl.lit(column.name),
            live=pl.col(column.name).cast(pl.Float64),
            batch=pl.col(f"{column.name}_batch").cast(pl.Float64),
        )
        for column in _COMPARED
    ]
    return BarsCompared(
        both.height,
        pl.concat(differing).sort("open_time", maintain_order=True),
        live.join(batch, on="open_time", how="anti")["open_time"].sort(),
        batch.join(live, on="open_time", how="anti")["open_time"].sort(),
    )


def _agrees(name: str, *, is_sum: bool) -> pl.Expr:
    live, batch = pl.col(name), pl.col(f"{name}_batch")
    equal = live.eq_missing(batch)
    if not is_sum:
        return equal
    return equal | ((live - batch).abs() <= SUMS_AGREE * pl.max_horizontal(live.abs(), batch.abs())).fill_null(False)


@dataclass(frozen=True, slots=True)
class TradesCompared:
    """Ids that both sides have, and the trades of each that the other lacks or tells otherwise: trade_id, ts_event."""

    shared: int
    only_live: pl.DataFrame
    only_history: pl.DataFrame
    differing: pl.DataFrame

    def evidence(self) -> dict[str, Any]:
        """The comparison as JSON: counts, and of what differs the first, the last, and up to NAMED ids."""
        return {"shared": self.shared, **dict(self._parts())}

    def _parts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in ("only_live", "only_history", "differing"):
            trades: pl.DataFrame = getattr(self, name)
            part: dict[str, Any] = {"count": trades.height}
            if trades.height:
                ends = [{"trade_id": id_, "ts_event": at.isoformat()} for id_, at in (trades.row(0), trades.row(-1))]
                part |= {"first": ends[0], "last": ends[1], "ids": trades["trade_id"].head(NAMED).to_list()}
            yield name, part


def compare_trades(live: pl.DataFrame, history: pl.DataFrame) -> TradesCompared:
    """Compare trades (TRADE_COLUMNS) of one instrument by id; times to the millisecond, which histories often keep."""
    sides = [
        side.unique("trade_id", keep="first", maintain_order=True).with_columns(
            time_ms=pl.col("ts_event").dt.epoch("ms")
        )
        for side in (live, history)
    ]
    ours, theirs = sides
    both = ours.join(theirs, on="trade_id", suffix="_history")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_history")) for name in _TRADE_CONTENT)
    return TradesCompared(
        both.height,
        _told(ours.join(theirs, on="trade_id", how="anti")),
        _told(theirs.join(ours, on="trade_id", how="anti")),
        _told(both.filter(~same)),
    )


def _told(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.select("trade_id", "ts_event").sort("ts_event", maintain_order=True)
