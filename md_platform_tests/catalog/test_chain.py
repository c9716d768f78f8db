import pytest

from md_platform.catalog.backfill import Chain
from md_platform.catalog.chain import ARCHIVED, PERIOD_ASSETS, STAGES, assets_up_to
from md_platform.domain.schemas import DATASETS
from md_platform.errors import InvalidSetting


def test_a_stage_includes_those_before_it():
    assert assets_up_to("raw") == ["raw_bars"]
    assert assets_up_to("resampled") == ["raw_bars", "cleaned_bars", "resampled_bars"]
    assert assets_up_to("indicators", first="cleaned") == ["cleaned_bars", "resampled_bars", "indicators"]


def test_trades_come_before_the_bars_that_may_be_made_of_them():
    names = assets_up_to("archive", trades=True)
    assert names.index("trade_bars") < names.index("cleaned_bars")
    assert {"raw_trades", "cleaned_trades", "archive_cleaned_trades"} <= set(names)


@pytest.mark.parametrize("given", [{"stage": "nowhere"}, {"stage": "raw", "first": "nowhere"}])
def test_another_stage_is_an_error(given):
    with pytest.raises(InvalidSetting, match=r"stage must be one of raw cleaned .* was 'nowhere'"):
        assets_up_to(**given)


def test_every_asset_is_a_dataset_or_the_archive_of_one():
    names = [*assets_up_to("archive", trades=True), *(name for names in PERIOD_ASSETS.values() for name in names)]
    assert {name.removeprefix("archive_") for name in names} <= set(DATASETS)
    assert {name.removeprefix("archive_") for name in names if name.startswith("archive_")} == set(ARCHIVED)


@pytest.mark.parametrize(
    ("chain", "assets", "targets"),
    [
        (Chain("raw"), ["raw_bars"], ["raw_bars"]),
        (Chain("raw", bars=False, trades=True), ["raw_trades", "live_trades"], ["raw_trades"]),
        (Chain("cleaned"), ["raw_bars", "cleaned_bars"], ["cleaned_bars"]),
        (
            Chain("resampled", trades=True),
            ["raw_trades", "live_trades", "raw_bars", "cleaned_trades", "trade_bars", "cleaned_bars", "resampled_bars"],
            ["resampled_bars", "cleaned_trades", "trade_bars", "raw_trades"],
        ),
        (
            Chain("cleaned", bars=False, trades=True),
            ["raw_trades", "live_trades", "cleaned_trades", "trade_bars", "cleaned_bars"],
            ["cleaned_bars", "cleaned_trades", "trade_bars", "raw_trades"],
        ),
    ],
)
def test_what_a_chain_makes_and_what_makes_a_day_whole(chain, assets, targets):
    assert list(chain.assets) == assets
    assert list(chain.targets) == targets


def test_what_follows_depends_on_the_stage():
    assert Chain("archive").following == ("indicators", "archive_indicators")
    assert Chain("indicators").following == ("indicators",)
    assert Chain("resampled").following == ()
    assert [stage for stage in STAGES if Chain(stage).has_periods] == ["archive"]
