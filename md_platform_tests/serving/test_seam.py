"""Bars and trades across the seam, while the live process publishes, the writer stores and days are closed.

MDP_SEAM_CASES says how many random ranges are compared with the truth.
"""

import datetime as dt
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from uuid import uuid4

import polars as pl
import redis

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.bars import roll_up
from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RESAMPLED_BARS
from md_platform.domain.wire import encode
from md_platform.serving.bars import BarQuery
from md_platform.serving.market import Market, open_market
from md_platform.serving.tail import bar_frame, trade_frame
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample

BTC = "binance:BTC-USDT"
TODAY = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - 4 * DAY
MINUTE = dt.timedelta(minutes=1)
MINUTES = 4 * 1_440
VALUES = ["open", "high", "low", "close", "volume", "trade_count"]
CASES = int(os.environ.get("MDP_SEAM_CASES", "200"))
TIMEFRAMES = [t for t in Timeframe if t not in (Timeframe.S1, Timeframe.MONTH1)]


def minute_bar(n: int, *, is_closed: bool = True) -> Bar | None:
    """The bar of minute `n`: prices that tell it from all others, one minute in eleven without trades."""
    if n % 11 == 5:
        return None
    opened = int((FIRST + n * MINUTE).timestamp()) * 10**9
    price, traded = 100 + n / 8, 4.0 + n % 7 if is_closed else 1.0
    known = opened + 59 * 10**9
    return Bar(BTC, "1m", opened, opened + 60 * 10**9, price, price + 1, price - 1, price + 0.5, traded,
               price * traded, 3, 1.0, price, is_closed, "trades", 0, known)  # fmt: skip


def trade_of(n: int) -> Trade | None:
    """The trade in the middle of minute `n`, where it has one."""
    if n % 11 == 5:
        return None
    at = int((FIRST + (n + 0.5) * MINUTE).timestamp() * 1_000) * 10**6
    return Trade(BTC, at, at + 10**6, n, 100 + n / 8, 4.0 + n % 7, "buy")


TRADES = trade_frame([each for n in range(MINUTES) if (each := trade_of(n))], "binance")
TRUTH = bar_frame([each for n in range(MINUTES) if (each := minute_bar(n))])


@dataclass
class Live:
    """The live process and its writer: minutes published one after the other, stored some time later."""

    url: str
    client: redis.Redis
    published: int = 0
    stored: int = 0

    def run(self, stop: threading.Event) -> None:
        with LiveStore(self.url) as store:
            spool = uuid4()
            self.publish(2 * 1_440)
            self.store(store, spool)
            while not stop.is_set() and self.published < MINUTES:
                self.publish(random.choice([1, 1, 7]))
                if random.random() < 0.3:
                    self.store(store, spool)
                time.sleep(0.002)

    def publish(self, minutes: int) -> None:
        pipe = self.client.pipeline(transaction=False)
        first, last = self.published, min(self.published + minutes, MINUTES)
        for n in range(first, last):
            if traded := trade_of(n):
                entry = {"m": encode([traded])}
                pipe.xadd(f"md:log:trades:{BTC}", entry, id=f"{traded.ts_received // 10**6}-1", maxlen=10_000)
            for each in (minute_bar(n, is_closed=False), minute_bar(n)):
                if each:
                    at_ms = each.close_time // 10**6 + 2_000
                    entry = f"{at_ms}-{int(each.is_closed)}"
                    pipe.xadd(f"md:log:bars:{BTC}:1m", {"m": encode([each])}, id=entry, maxlen=10_000)
        pipe.execute()
        self.published = last

    def store(self, store: LiveStore, spool: object) -> None:
        upto = self.published
        if upto > self.stored:
            minutes = range(self.stored, upto)
            bars = [each for n in minutes if (each := minute_bar(n))]
            store.write([*bars, *(each for n in minutes if (each := trade_of(n)))], spool, upto)
            self.stored = upto


class Closing:
    """The batch chain: days that are over come into the lake, and some of them into the archive."""

    def __init__(self, folder, url):
        self.lake, self.archive, self.ledger = Lake(folder / "lake"), Archive(str(folder / "archive")), Ledger(url)

    def close(self, day: int, *, resampled: bool, archived: bool) -> None:
        date = (FIRST + day * DAY).date()
        whole = Interval.day(date)
        minutes = TRUTH.filter(pl.col("open_time").is_between(whole.start, whole.end, closed="left"))
        minutes = minutes.with_columns(source=pl.lit("binance"))
        self._store(CLEANED_BARS, date, minutes, {}, archived=archived)
        trades = TRADES.filter(pl.col("ts_event").is_between(whole.start, whole.end, closed="left"))
        self._store(CLEANED_TRADES, date, trades, {}, archived=archived)
        if resampled:
            self._store(RESAMPLED_BARS, date, resample(minutes, whole.end), {"cleaned_bars": "sha-cleaned_bars"},
                        archived=archived)  # fmt: skip

    def _store(self, dataset, date, frame, inputs, *, archived):
        self.lake.write(self.lake.path(dataset, BTC, date), frame)
        sha = f"sha-{dataset.name}"
        record = PartitionRecord(dataset.name, BTC, date, "ok", frame.height, sha256=sha, evidence={"inputs": inputs})
        self.ledger.record([record])
        if archived:
            self.archive.replace(dataset.name, frame, dataset.time, [Days((BTC,), date, date)], {})
            self.ledger.record([PartitionRecord(f"archive_{dataset.name}", BTC, date, "ok", frame.height, sha256=sha)])


def expected(timeframe: Timeframe, minutes: int) -> pl.DataFrame:
    known = TRUTH.filter(pl.col("open_time") < FIRST + minutes * MINUTE)
    return known if timeframe is Timeframe.M1 else roll_up(known.lazy(), timeframe, TODAY + 40 * DAY).collect()


def trades_compared(market: Market, live: Live, interval: Interval) -> int:
    """Compare the trades of an interval with those that happened; how many there are."""
    before = live.published
    found = market.trades.read(BTC, interval).rows
    after = live.published
    inside = TRADES.filter(pl.col("ts_event").is_between(interval.start, interval.end, closed="left"))
    number = pl.col("trade_id").cast(pl.Int64)
    assert found["trade_id"].is_unique().all()
    columns = ["ts_event", "trade_id", "price", "size", "taker_side"]
    assert found.filter(number < before).select(columns).equals(inside.filter(number < before).select(columns))
    assert set(found["trade_id"]) <= set(inside.filter(number <= after)["trade_id"])
    return found.height


def test_random_ranges_across_the_seam_equal_the_truth_while_streaming_writes(module_database_url, redis_url, tmp_path):
    migrate(module_database_url)
    client = redis.Redis.from_url(redis_url)
    live, closing = Live(module_database_url, client), Closing(tmp_path, module_database_url)
    closing.close(0, resampled=True, archived=True)
    market = open_market(closing.lake, closing.archive, module_database_url, redis_url)
    stop = threading.Event()
    streaming = threading.Thread(target=live.run, args=(stop,))
    streaming.start()
    while live.stored < 2 * 1_440:
        time.sleep(0.01)
    rng = random.Random(4)
    closings = {CASES // 4: (1, False, False), CASES // 2: (1, True, True), 3 * CASES // 4: (2, True, False)}
    compared: Counter[str] = Counter()
    try:
        for case in range(CASES):
            if case in closings and live.published >= (closings[case][0] + 1) * 1_440:
                day, resampled, archived = closings[case]
                threading.Thread(target=closing.close, args=(day,), kwargs={"resampled": resampled,
                                                                           "archived": archived}).start()  # fmt: skip
            timeframe = rng.choice(TIMEFRAMES)
            a, b = sorted((rng.randrange(MINUTES), rng.randrange(MINUTES)))
            if rng.random() < 0.5:
                b = min(live.published + rng.randrange(5), MINUTES)
                a = rng.randrange(b)
            interval = Interval(FIRST + a * MINUTE, FIRST + (b + 1) * MINUTE)
            before = live.published
            rows = market.bars.read(BarQuery(BTC, timeframe, interval)).rows
            after = live.published
            inside = pl.col("open_time").is_between(interval.start, interval.end, closed="left")
            least, most = (expected(timeframe, n).filter(inside) for n in (before, after))
            assert rows["open_time"].is_unique().all()
            assert rows["open_time"].is_sorted()
            assert (
                set(least["open_time"]) <= set(rows["open_time"]) <= set(most["open_time"]) | {FIRST + after * MINUTE}
            )
            over = pl.col("close_time") <= FIRST + before * MINUTE
            whole = rows.filter(over)
            assert whole.select("open_time", *VALUES).equals(least.filter(over).select("open_time", *VALUES)), case
            compared[timeframe.value] += whole.height
            compared["trades"] += trades_compared(market, live, interval)
    finally:
        stop.set()
        streaming.join()
        market.close()
    print(f"{CASES} cases, rows equal to the truth: {dict(compared)}")
    assert sum(compared.values()) > 100 * CASES
    assert compared["trades"] > 100 * CASES
    assert min(compared[t.value] for t in TIMEFRAMES if t is not Timeframe.W1) > 10
