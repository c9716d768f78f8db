"""Real captures through the whole process: what is in the spool is what others counted in them."""

import asyncio
import csv
import gzip
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from md_platform.domain.events import Bar, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import Published, decode
from md_platform.errors import InvalidFile
from md_platform.storage.captures import CaptureWriter, Record
from md_platform.storage.spool import Message, Spool
from md_platform.venues import VENUES
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.replay import SHARED, hftbacktest
from streaming.outbox import Outbox
from streaming.pipeline import Pipeline
from streaming.replay import Replay
from streaming.run import StreamConfig, ended, replay
from streaming.tracked import Tail

needs_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")
FEEDS = {feed.name: feed for spec in VENUES for feed in spec.feeds}


def recorded(folder: Path, feed: Feed, instruments: Iterable[Instrument], records: Iterable[Record]) -> Path:
    """`records` as we would have recorded them: with a header that says what was subscribed to."""
    described = [
        {"feed": feed.name, "channel": channel, "instrument": each.id, "native": each.native}
        for each in instruments
        for channel in sorted(feed.channels)
    ]
    writer = CaptureWriter(folder, "capture", {"subscriptions": described})
    for record in records:
        writer.write(record)
    writer.close()
    return folder


def played(path: Path, folder: Path) -> dict[type, list[Published]]:
    """Everything that a replay of `path` published, by kind."""
    config = StreamConfig([], folder / "spool.db", None)
    asyncio.run(replay(config, path, None))
    found: dict[type, list[Published]] = defaultdict(list)
    for row in Spool(config.spool).since(0):
        for event in decode(row.message.payload):
            found[type(event)].append(event)
    return found


def expected_candles(name: str) -> dict[int, dict[str, str]]:
    with gzip.open(SHARED / "expected" / "hftbacktest_candles" / f"{name}.csv.gz", "rt") as file:
        return {int(row["open_time_ms"]) * 1_000_000: row for row in csv.DictReader(file)}


@needs_captures
@pytest.mark.parametrize(
    ("name", "feeds", "instrument"),
    [
        ("spot/btcusdt_20240808", ["binance"], Instrument("binance", "BTC", "USDT", "BTCUSDT")),
        ("usdm/ethusdt_20240808", ["binance-usdm", "binance-usdm-market"], None),
        ("cm/ethusd_perp_20240808", ["binance-coinm"], None),
    ],
)
def test_candles_of_minutes_of_trades_are_those_that_others_made(
    name: str, feeds: list[str], instrument: Instrument | None, tmp_path: Path
) -> None:
    native = {"usdm": "ETHUSDT", "cm": "ETHUSD_PERP"}.get(name.split("/", maxsplit=1)[0], "")
    instrument = instrument or Instrument("binance", "ETH", "USDT" if native == "ETHUSDT" else "USD", native, True)
    feed = next(FEEDS[each] for each in feeds if "trades" in FEEDS[each].channels)
    trades_only = (record for record in hftbacktest(name) if record.t != "recv" or '"e":"trade"' in record.data)
    out = played(recorded(tmp_path / "in", feed, [instrument], trades_only), tmp_path)

    for timeframe in ("1s", "1m"):
        known = expected_candles(f"{name.replace('/', '_')}.candles_{timeframe}")
        bars = {each.open_time: each for each in out[Bar] if isinstance(each, Bar) and each.timeframe == timeframe}
        assert len(out[Trade]) == sum(int(row["trades"]) for row in known.values())
        assert bars.keys() == known.keys()
        for open_time, row in known.items():
            bar = bars[open_time]
            assert bar.is_closed
            ohlc = tuple(float(row[column]) for column in ("open", "high", "low", "close"))
            assert (bar.open, bar.high, bar.low, bar.close) == ohlc
            assert bar.trade_count == int(row["trades"])
            assert bar.volume == pytest.approx(float(row["volume"]), rel=1e-9)
            assert bar.quote_volume == pytest.approx(float(row["quote_volume"]), rel=1e-9)
            assert bar.taker_buy_volume == pytest.approx(float(row["taker_buy_volume"]), rel=1e-9, abs=1e-12)


class SlowSpool(Spool):
    def append(self, messages: Sequence[Message]) -> int:
        time.sleep(0.02)
        return super().append(messages)


def test_a_replay_waits_for_the_disk_where_a_feed_would_drop_quotes(tmp_path: Path) -> None:
    feed, instrument, quotes = FEEDS["binance"], Instrument("binance", "BTC", "USDT", "BTCUSDT"), 2_000
    told = '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
    frames = [Record("recv", "binance-0", 1.7e9 + n / 10, data=told % (n + 1)) for n in range(quotes)]
    path = recorded(tmp_path / "in", feed, [instrument], [Record("connect", "binance-0", 1.7e9), *frames])

    async def run() -> Outbox:
        player, spool = Replay(path), SlowSpool(tmp_path / "spool.db")
        outbox = Outbox(spool, lambda _messages, _last: None, waiting_at_most=100)
        pipeline = Pipeline(outbox.put, now_ns=player.clock)
        pipeline.track(instrument, feed, Tail(0))
        flushing = asyncio.create_task(outbox.run())
        await player.run(pipeline, None, outbox.room)
        await outbox.flush()
        await ended([flushing])
        spool.close()
        return outbox

    outbox = asyncio.run(run())
    assert outbox.dropped.total() == 0
    assert outbox.spooled == quotes


def test_a_recording_that_does_not_say_what_it_holds_is_an_error(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path, "capture", {})
    writer.write(Record("connect", "1", 1.0))
    writer.close()
    with pytest.raises(InvalidFile, match="does not say what it was subscribed to"):
        played(tmp_path, tmp_path / "out")
    with pytest.raises(InvalidFile, match="is no capture"):
        played(tmp_path / "none", tmp_path / "out")
