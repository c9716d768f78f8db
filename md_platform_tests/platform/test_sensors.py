"""What the daemon does by itself: instruments of the settings are registered, files that appear are imported, weeks and
months follow, failures are told.

What each sensor decides is told in `assets`; here they run one after the other, on the daemon's clock.
"""

import datetime as dt
import json

import pytest
from polars.testing import assert_frame_equal

from md_platform.catalog.ranges import Range
from md_platform.domain.intervals import Interval
from md_platform_tests.platform.running import Platform
from md_platform_tests.rows import day_of_bars
from md_platform_tests.waiting import eventually

IMPORTED, DAY = "file:BTC-USD", dt.date(2024, 2, 27)
CONFIGURED = {"sandbox:BTC-USDT": "BTCUSDT", "sandbox:LTC-USDT": "LTCUSDT"}
COLUMNS = ["open_time", "open", "high", "low", "close", "volume"]


def test_instruments_of_the_settings_are_registered_under_their_canonical_ids(platform):
    eventually(lambda: {*CONFIGURED} <= {*platform.orchestrator.registered("crypto")})
    known = dict(platform.sql("SELECT id, native FROM md.instruments WHERE id = ANY(%s)", [*CONFIGURED]))
    assert known == CONFIGURED


@pytest.fixture(scope="module")
def imported(platform: Platform) -> dict[str, object]:
    """The run that imported a file which appeared in the import folder."""
    platform.orchestrator.register("crypto", [IMPORTED])
    folder = platform.home / "import" / IMPORTED
    folder.mkdir(parents=True)
    day_of_bars(DAY).select(COLUMNS).write_csv(platform.home / "being-written.csv")
    (platform.home / "being-written.csv").rename(folder / "day.csv")
    return eventually(lambda: [run for run in platform.runs(mdp__file="day.csv") if run["endTime"]], 300)[0]


def followers(platform: Platform) -> list[dict[str, object]]:
    """Runs of the weeks and months of what was imported."""
    tags = ("dagster/asset_partition_range_start", "dagster/sensor_name")
    wanted = [(f"{first}|{IMPORTED}", "crypto_periods") for first in ("2024-02-26", "2024-02-01")]
    return [run for run in platform.runs() if tuple(run["tags"].get(tag) for tag in tags) in wanted]


def test_a_file_that_appears_is_imported_through_to_the_archive(platform, imported):
    assert imported["status"] == "SUCCESS"
    assert len(platform.runs(mdp__file="day.csv")) == 1
    archived = platform.archive.read("cleaned_bars", [IMPORTED], Interval.day(DAY), "open_time")
    assert_frame_equal(archived.select(COLUMNS), day_of_bars(DAY).select(COLUMNS), check_exact=True)
    assert archived["source"].unique().to_list() == ["import"]


def test_weeks_and_months_follow_a_run_that_nobody_watches(platform, imported):
    eventually(lambda: [run["status"] for run in followers(platform)] == ["SUCCESS"] * 2, 300)
    made = platform.sql(
        "SELECT dataset, date::text, rows FROM md.partition_status WHERE instrument = %s"
        " AND dataset IN ('archive_weekly_bars', 'archive_monthly_bars') ORDER BY dataset",
        IMPORTED,
    )
    assert made == [("archive_monthly_bars", "2024-02-01", 1), ("archive_weekly_bars", "2024-02-26", 1)]


def test_a_failed_run_is_told_to_the_log_and_the_webhook_with_its_reason(platform, imported, webhook):
    instrument = "sandbox-coinbase:XRP-USD"
    platform.orchestrator.register("crypto", [instrument])
    platform.misbehave({"kind": "malformed", "protocol": "coinbase", "channel": "candles"})
    try:
        run_id = platform.orchestrator.launch("crypto", ["raw_bars"], Range((instrument,), DAY, DAY))
        (run,) = platform.orchestrator.wait([run_id], lambda _: None)
    finally:
        platform.behave()
    assert run.status == "FAILURE"
    assert "must answer JSON" in platform.orchestrator.failure(run_id)
    (told,) = eventually(lambda: [message for message in webhook.told if message["run_id"] == run_id])
    assert told["event"] == "run_failed"
    assert told["partitions"] == f"{DAY} to {DAY}"
    assert "sandbox-coinbase must answer JSON" in told["error"]
    log = (platform.home / "logs" / "code-server.log").read_text()
    (line,) = [line for line in log.splitlines() if "run failed: " in line and run_id in line]
    assert json.loads(line.partition("run failed: ")[2]) == told


def test_nothing_follows_what_followed(platform, imported, webhook):
    assert len(followers(platform)) == 2  # the sensor has looked at them by now
