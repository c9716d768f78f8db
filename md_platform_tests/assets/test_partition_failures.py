"""One bad day in a range: it is marked failed, what is built on it waits, everything else goes on."""

import datetime as dt
import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_BARS, RAW_BARS, RESAMPLED_BARS
from md_platform.settings import VenueUrls
from md_platform_tests.local_server import Answer, serving
from md_platform_tests.rows import BTC, day_of_bars, wave

AAA, BBB = "file:AAA-USD", "file:BBB-USD"
DATES = [dt.date(2024, 2, 27) + n * DAY for n in range(3)]
CHAIN = ["raw_bars", "cleaned_bars", "resampled_bars", "archive_cleaned_bars", "archive_resampled_bars"]
DOWNSTREAM = CHAIN[2:]
SPAN = Interval(Interval.day(DATES[0]).start, Interval.day(DATES[-1]).end)


class Venue:
    """Binance's REST protocol for one symbol; refuses the days in `refused`, has nothing of those in `empty`."""

    def __init__(self):
        self.refused = set()
        self.empty = set()
        self.raised = 0

    def __call__(self, asked):
        if asked.path == "/api/v3/exchangeInfo":
            return Answer(
                json.dumps({"symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT"}]}).encode()
            )
        start, end = int(asked.params["startTime"]), int(asked.params["endTime"])
        date = dt.datetime.fromtimestamp(start / 1_000, dt.UTC).date()
        if date in self.empty:
            return Answer(b"[]")
        if date in self.refused:
            return Answer(b'{"code": -1100, "msg": "Illegal characters found"}', status=400)
        rows = [
            [t, "100", "130", "90", str(self.raised + wave(t // 60_000)), "2", t + 59_999, "200", 4, "1", "100", "0"]
            for t in range(start, min(end + 1, start + 1_000 * 60_000), 60_000)
        ]
        return Answer(json.dumps(rows).encode())


@pytest.fixture
def venue():
    return Venue()


@pytest.fixture
def platform(make_platform, venue):
    with serving(venue) as server:
        yield make_platform(urls={"binance": VenueUrls(rest=server.url)})


def archived_days(platform, instrument=BTC, table="cleaned_bars"):
    rows = platform.stores.archive.read(table, [instrument], SPAN, "open_time")
    return sorted(set(rows["open_time"].dt.date()))


def test_a_day_that_the_source_refuses_fails_alone_and_is_mended_by_the_next_run(platform, venue):
    venue.refused = {DATES[1]}
    platform.run(CHAIN, BTC, DATES[0], DATES[-1])
    assert platform.statuses("raw_bars") == ["ok", "failed", "ok"]
    raw = platform.ledger("raw_bars")[DATES[1]]
    assert "Illegal characters" in raw["evidence"]["error"]
    assert (raw["rows"], raw["score"]) == (0, 0.0)
    for dataset in CHAIN[1:]:
        assert platform.statuses(dataset) == ["ok", "pending", "ok"], dataset
    reason = platform.ledger("cleaned_bars")[DATES[1]]["evidence"]["reason"]
    assert reason.startswith(f"raw_bars {DATES[1]} is failed: ")
    assert platform.ledger("archive_cleaned_bars")[DATES[1]]["evidence"] == {"reason": "cleaned_bars is pending"}
    assert archived_days(platform) == [DATES[0], DATES[2]]

    venue.refused = set()
    platform.run(CHAIN, BTC, DATES[1])
    for dataset in CHAIN:
        assert platform.statuses(dataset) == ["ok"] * 3, dataset
    assert archived_days(platform) == DATES


def test_a_day_already_stored_is_kept_when_its_source_refuses(platform, venue):
    platform.run(CHAIN[:2], BTC, DATES[0])
    before = platform.stores.lake.sources(RAW_BARS, BTC, DATES[0])
    assert before[0].startswith("binance@127.0.0.1"), "another address than the venue's own is stamped"
    rows = platform.ledger("raw_bars")[DATES[0]]["rows"]
    venue.refused = {DATES[0]}
    platform.run(CHAIN[:2], BTC, DATES[0])
    raw = platform.ledger("raw_bars")[DATES[0]]
    assert (raw["status"], raw["rows"]) == ("ok", rows)
    assert "what is stored, because" in raw["evidence"]["kept"]


def test_a_correction_by_the_venue_is_a_new_revision_through_to_the_archive(platform, venue):
    platform.run(CHAIN, BTC, DATES[0])
    venue.raised = 10
    platform.run(CHAIN, BTC, DATES[0])
    lake = platform.stores.lake
    (source,) = lake.sources(RAW_BARS, BTC, DATES[0])
    assert lake.read([lake.path(RAW_BARS, BTC, DATES[0], source)])["revision"].value_counts().sort(
        "revision"
    ).rows() == [
        (0, 1_440),
        (1, 1_440),
    ]
    bars = platform.stores.archive.read("cleaned_bars", [BTC], SPAN, "open_time")
    assert bars.height == 1_440
    assert bars["close"].min() > 100
    assert set(bars["revision"]) == {1}


def test_when_every_day_fails_so_does_the_run(platform, venue):
    venue.refused = set(DATES)
    result = platform.run(CHAIN[:2], BTC, DATES[0], DATES[-1], fails=True)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "Illegal characters" in failure.step_failure_data.user_failure_data.description
    assert platform.statuses("raw_bars") == ["failed"] * 3


def test_a_broken_file_fails_its_day_and_no_other(platform, csv):
    for instrument in (AAA, BBB):
        file = csv(f"{instrument[5:8]}.csv", pl.concat([day_of_bars(date, range(300)) for date in DATES]))
        platform.run(CHAIN[:2], instrument, DATES[0], DATES[-1], files=[file])
    lake = platform.stores.lake
    broken = lake.path(CLEANED_BARS, AAA, DATES[1])
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    platform.run(DOWNSTREAM, [AAA, BBB], DATES[0], DATES[-1])
    states = platform.stores.ledger.partitions("resampled_bars")
    failed = states.filter(pl.col("status") == "failed")
    assert failed.select("instrument", "date").rows() == [(AAA, DATES[1])]
    assert str(broken) in json.loads(failed["evidence"][0])["error"]
    assert "make that partition again" in json.loads(failed["evidence"][0])["error"]
    assert states.height == 6
    assert lake.read([lake.path(RESAMPLED_BARS, AAA, DATES[1])]) is None
    archive = platform.stores.ledger.partitions("archive_cleaned_bars", [AAA])
    assert archive["status"].to_list()[1] == "failed"
    assert str(broken) in archive["evidence"][1]
    assert platform.stores.ledger.partitions("archive_resampled_bars", [AAA])["status"].to_list()[1] == "pending"
    assert archived_days(platform, AAA) == [DATES[0], DATES[2]]
    assert archived_days(platform, BBB) == DATES

    platform.run(CHAIN[1:], AAA, DATES[1])  # as the message says
    assert broken.read_bytes() == content
    assert archived_days(platform, AAA, "resampled_bars") == archived_days(platform, AAA) == DATES


def test_a_file_that_cannot_be_understood_fails_the_import_in_plain_words(platform, tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("when,price\nyesterday,1\n")
    result = platform.run(["raw_bars"], AAA, DATES[0], files=[file], fails=True)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "bars need open high low close volume" in failure.step_failure_data.user_failure_data.description
    assert "bars need" in platform.ledger("raw_bars")[DATES[0]]["evidence"]["error"]


def test_a_day_of_which_the_source_has_nothing_is_missing_all_along(platform, venue):
    venue.empty = {DATES[0]}
    week = DATES[0] - dt.timedelta(days=DATES[0].weekday())
    names = [*CHAIN[:3], "indicators", "archive_cleaned_bars"]
    platform.run(names, BTC, DATES[0])
    platform.run(["weekly_bars"], BTC, week)
    for dataset in names:
        assert platform.statuses(dataset) == ["missing"], dataset
    assert platform.ledger("weekly_bars")[week]["status"] == "missing"
    assert platform.ledger("cleaned_bars")[DATES[0]]["evidence"]["gaps"] == [
        {"start": "2024-02-27T00:00:00+00:00", "end": "2024-02-28T00:00:00+00:00", "bars": 1_440}
    ]


@pytest.mark.parametrize("dataset", ["cleaned_trades", "trade_bars", "resampled_bars", "indicators"])
def test_what_has_no_input_yet_waits_for_it(platform, dataset):
    platform.run([dataset], AAA, DATES[0])
    assert platform.statuses(dataset) == ["pending"]
    assert "not made yet" in platform.ledger(dataset)[DATES[0]]["evidence"]["reason"]


def test_what_is_not_made_yet_is_not_archived(platform):
    platform.run(["archive_cleaned_bars"], AAA, DATES[0])
    assert platform.ledger("archive_cleaned_bars")[DATES[0]]["evidence"] == {"reason": "cleaned_bars is not made yet"}
    assert platform.stores.archive.version("cleaned_bars") == -1


def test_an_archive_without_space_fails_in_plain_words_and_is_filled_later(platform, csv):
    file = csv("days.csv", pl.concat([day_of_bars(date) for date in DATES]))
    platform.run(CHAIN[:2], AAA, DATES[0], DATES[-1], files=[file])
    root = Path(platform.stores.archive.root)
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", root], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        result = platform.run(["archive_cleaned_bars"], AAA, DATES[0], DATES[-1], fails=True)
    finally:
        subprocess.run(["umount", root], check=True)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "no space left" in failure.step_failure_data.user_failure_data.description
    assert platform.statuses("archive_cleaned_bars") == ["failed"] * 3
    assert "free some disk" in platform.ledger("archive_cleaned_bars")[DATES[0]]["evidence"]["error"]
    platform.run(["archive_cleaned_bars"], AAA, DATES[0], DATES[-1])
    assert platform.statuses("archive_cleaned_bars") == ["ok"] * 3
    assert archived_days(platform, AAA) == DATES
