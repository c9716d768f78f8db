"""What the database writer knows of venues is told by the live process: the score of each, and how late rows are stored."""

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from md_platform.domain.events import Quarantined, Trade
from md_platform.domain.wire import channel_of, encode
from md_platform.settings import KeptFor
from md_platform.sources.history import HistorySources
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Message, Spool
from streaming.health import Health
from streaming.outbox import Outbox
from streaming.pipeline import Pipeline
from streaming.repair import Repair
from streaming.venue_quality import VenueQuality
from streaming.writer import Writer

NOW = time.time_ns()


def trade(id_: int, venue: str, quality: float = 1.0) -> Trade:
    return Trade(f"{venue}:BTC-USDT", NOW, NOW, id_, 1.0, 1.0, quality=quality)


def health(spool: Spool, folder: Path) -> Health:
    outbox = Outbox(spool, lambda _messages, _last: None)
    pipeline = Pipeline(outbox.put)
    repair = Repair(HistorySources({}, folder / "cache"), pipeline.holes.repaired)
    return Health(pipeline, [], outbox, repair, [], spool.path)


def test_each_venue_has_a_score_and_the_store_a_lag(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    spool = Spool(tmp_path / "spool.db")
    batches: list[list[Trade | Quarantined]] = [
        [trade(1, "sandbox"), trade(2, "sandbox", 0.5)],
        [Quarantined("sandbox", "sandbox", NOW, "unknown message", b"?")],
        [trade(1, "kraken")],
    ]
    spool.append([Message("trades", channel_of(batch[0]), len(batch), encode(batch)) for batch in batches])
    before = generate_latest(registered(health(spool, tmp_path))).decode()
    assert "md_stream_quality" not in before
    with LiveStore(database_url) as store:
        writer = Writer(tmp_path, store, KeptFor(), lambda: writer.stored >= 4)
        writer.run()
    told = generate_latest(registered(health(spool, tmp_path))).decode()
    assert 'md_stream_quality{venue="sandbox"} 0.5\n' in told
    assert 'md_stream_quality{venue="kraken"} 1.0\n' in told
    assert 'md_stream_lag_ms{percentile="p99",stage="stored"}' in told
    assert "md_stream_stored_total 4.0" in told


def registered(collector: Health) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def test_what_is_long_ago_counts_less() -> None:
    now_s = 0.0
    quality = VenueQuality(lambda: now_s)
    quality.add([trade(1, "sandbox", 0.5)])
    assert quality.scores() == {"sandbox": 0.5}
    now_s = 300.0
    quality.add([trade(2, "sandbox"), trade(3, "sandbox")])
    assert quality.scores() == {"sandbox": 0.9}
    now_s = 3_000.0
    quality.add([trade(4, "sandbox")])
    assert quality.scores()["sandbox"] > 0.999
