"""A sandbox day, frame by frame through the live process and then through the batch chain: both say the same."""

from pathlib import Path

from md_platform_tests.assets.conftest import Platform
from md_platform_tests.assets.parity import compared, streamed_and_built


def test_bars_and_indicators_of_the_live_process_are_those_of_the_batch_chain(
    platform: Platform, tmp_path: Path, redis_url: str, database_url: str
) -> None:
    streamed_and_built(platform, tmp_path, redis_url, database_url, days=1)
    results = list(compared(platform, database_url, days=1))

    print(*results, sep="\n")
    assert [each for each in results if each.differing] == []
    by_timeframe = {(each.what, each.timeframe): each.rows for each in results}
    for what in ("bars", "standard set, said", "whole registry"):
        assert by_timeframe[what, "1m"] > 1_430
        assert [by_timeframe[what, name] for name in ("5m", "15m", "30m", "1h", "4h", "1d")] == [288, 96, 48, 24, 6, 1]
    assert by_timeframe["bars", "1s"] > 10_000
