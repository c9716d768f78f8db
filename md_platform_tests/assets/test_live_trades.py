"""Days that were streamed with holes: their status says so, history names what is missing, and fills the chain."""

import datetime as dt
from collections.abc import Iterator
from uuid import uuid4

import pytest

from md_platform import cli
from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import CLEANED_TRADES, LIVE_TRADES, RAW_TRADES
from md_platform.settings import VenueUrls
from md_platform.storage.live_store import LiveStore
from md_platform_tests.assets.conftest import MakePlatform, Platform
from md_platform_tests.sandbox_server import running_sandbox
from md_platform_tests.streamed import stored, streamed

LTC = "sandbox:LTC-USDT"
DATE = dt.date(2026, 11, 17)
WHOLE = Interval.day(DATE)
NOON = WHOLE.start + dt.timedelta(hours=12)
OUTAGE = Interval(NOON, NOON + dt.timedelta(minutes=20))
STREAMED = ["live_trades", "cleaned_trades", "trade_bars", "cleaned_bars"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    now = dt.datetime(2026, 11, 18, 9, tzinfo=UTC)
    with running_sandbox(start_us=int(now.timestamp()) * 1_000_000) as endpoints:
        yield f"http://{endpoints.host}:{endpoints.port}/binance"


@pytest.fixture
def platform(make_platform: MakePlatform, address: str) -> Platform:
    return make_platform(urls={"sandbox": VenueUrls(rest=address)})


def ns(at: dt.datetime) -> int:
    return int(at.timestamp()) * 10**9


def around_the_day() -> list[Trade]:
    hour = dt.timedelta(hours=1)
    return streamed(LTC, Interval(WHOLE.start - hour, WHOLE.end + hour))


def outside(trades: list[Trade], hole: Interval) -> list[Trade]:
    return [trade for trade in trades if not ns(hole.start) <= trade.ts_event < ns(hole.end)]


def notice(kind: str, at: dt.datetime, hole: Interval = OUTAGE, **given: object) -> FeedNotice:
    told = {"cause": "disconnected", "start": ns(hole.start), "end": ns(hole.end), "channels": ["trades"]} | given
    return FeedNotice(kind, "sandbox", "sandbox", "sandbox-0", ns(at), **told)


def test_a_hole_is_said_and_named_and_filled_from_history(platform, database_url, monkeypatch, capsys):
    trades = around_the_day()
    lost = [trade.trade_id for trade in trades if trade not in outside(trades, OUTAGE)]
    stored(database_url, [*outside(trades, OUTAGE), notice("gap", OUTAGE.end)])
    platform.run(STREAMED, LTC, DATE)

    taken = platform.ledger("live_trades")[DATE]
    assert (taken["status"], taken["evidence"]["complete"]) == ("degraded", False)
    assert taken["evidence"]["missing_ids"] == [[lost[0], lost[-1]]]
    assert taken["evidence"]["missing_trades"] == len(lost) > 10
    assert taken["evidence"]["feed_gaps"] == [
        {"start": OUTAGE.start.isoformat(), "end": OUTAGE.end.isoformat(), "cause": "disconnected"}
    ]
    by_numbers, by_feed = taken["evidence"]["lacks"]
    assert by_numbers == f"{len(lost)} trades by their numbers, the first {lost[0]}"
    assert "12:00:00 to 12:20:00 (disconnected)" in by_feed
    cleaned = platform.ledger("cleaned_trades")[DATE]
    assert (cleaned["status"], cleaned["source"]) == ("degraded", "sandbox-live")
    assert cleaned["evidence"]["lacks"][0].startswith("of what was streamed: ")
    assert platform.ledger("cleaned_bars")[DATE]["evidence"]["missing"] > 20

    platform.run(["raw_trades", *STREAMED], LTC, DATE)
    told = platform.ledger("live_trades")[DATE]["evidence"]["history"]["sandbox"]
    assert told["shared"] == platform.ledger("live_trades")[DATE]["rows"]
    assert (told["only_live"], told["differing"]) == ({"count": 0}, {"count": 0})
    missing = told["only_history"]
    assert (missing["count"], missing["ids"]) == (len(lost), [str(id_) for id_ in lost][:100])
    assert [missing[name]["trade_id"] for name in ("first", "last")] == [str(lost[0]), str(lost[-1])]
    event = platform.events("live_trades")[f"{DATE}|{LTC}"]
    assert event.metadata["evidence"].value["history"]["sandbox"] == told
    monkeypatch.setenv("MDP_HOME", str(platform.home))
    monkeypatch.setenv("MDP_DATABASE_URL", database_url)
    with pytest.raises(SystemExit):
        cli.main(["status", "live_trades", LTC])
    said = capsys.readouterr().out
    assert f"lacks {len(lost)} trades by their numbers, the first {lost[0]}" in said
    assert f"{len(lost)} only there, 0 only live, 0 differ" in said
    cleaned = platform.ledger("cleaned_trades")[DATE]
    assert (cleaned["source"], cleaned["evidence"]["complete"]) == ("sandbox", True)
    assert platform.ledger("cleaned_bars")[DATE]["evidence"]["missing"] == 0
    lake = platform.stores.lake
    assert lake.sources(LIVE_TRADES, LTC, DATE) == ["live"]
    assert lake.sources(RAW_TRADES, LTC, DATE) == ["sandbox"]


def test_a_gap_that_lost_nothing_by_the_numbers_is_no_fault(platform, database_url):
    stored(database_url, [*around_the_day(), notice("gap", OUTAGE.end)])
    platform.run(["live_trades"], LTC, DATE)
    taken = platform.ledger("live_trades")[DATE]
    assert (taken["status"], taken["evidence"]["complete"], len(taken["evidence"]["feed_gaps"])) == ("ok", True, 1)


def test_a_day_streamed_from_the_afternoon_on_is_not_taken_for_whole(platform, database_url):
    """Its trades follow each other without a gap, and prove nothing of the morning."""
    morning = Interval(WHOLE.start - DAY, WHOLE.start + dt.timedelta(hours=15))
    stored(database_url, outside(around_the_day(), morning))
    platform.run(STREAMED, LTC, DATE)
    taken = platform.ledger("live_trades")[DATE]
    assert taken["status"] == "degraded"
    assert taken["evidence"]["lacks"] == [f"nothing is known of before {taken['first_time']:%H:%M:%S}"]
    assert platform.ledger("trade_bars")[DATE]["evidence"]["complete"] is False
    assert platform.ledger("cleaned_bars")[DATE]["evidence"]["missing"] > 15 * 60


def test_a_day_that_was_not_streamed_is_missing_and_leaves_history_alone(platform):
    platform.run(["raw_trades", *STREAMED], LTC, DATE)
    assert platform.ledger("live_trades")[DATE]["status"] == "missing"
    assert platform.ledger("cleaned_trades")[DATE]["source"] == "sandbox"


def test_what_another_address_served_is_never_mixed_with_the_venue_s(platform, database_url):
    trades = around_the_day()
    stored(database_url, outside(trades, OUTAGE))
    with LiveStore(database_url, sources={"sandbox": "sandbox@127.0.0.1:1"}) as store:
        store.write([trade for trade in trades if trade.ts_event >= ns(OUTAGE.start)], uuid4(), 1)
    platform.run(["live_trades", "cleaned_trades"], LTC, DATE)
    evidence = platform.ledger("live_trades")[DATE]["evidence"]
    assert list(evidence["streamed"]) == ["sandbox", "sandbox@127.0.0.1:1"]
    lake = platform.stores.lake
    cleaned = lake.read([lake.path(CLEANED_TRADES, LTC, DATE)])
    assert cleaned["source"].unique().to_list() == ["sandbox"]
    assert cleaned.height == evidence["streamed"]["sandbox"]
