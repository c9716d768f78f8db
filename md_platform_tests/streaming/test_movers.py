"""The last 24 hours: as polars says of the stored bars, and as Redis ranks them."""

import asyncio
import random
from uuid import uuid4

import polars as pl
import pytest
import redis

from md_platform.domain.day_window import DayWindow
from md_platform.domain.events import Bar, DayStatistics
from md_platform.domain.live_bars import LATENESS_NS, LiveBars
from md_platform.domain.wire import channel_of, encode
from md_platform.storage.spool import Message
from md_platform_tests.live_rows import BTC, DAY, ETH, MIDNIGHT, MINUTE, bar
from streaming.day import LiveDay
from streaming.delivery import Numbered
from streaming.redis_sink import RedisSink


def random_bars(days: int, seed: int) -> list[Bar]:
    """Bars of some minutes, now and then one of them revised."""
    dice = random.Random(seed)
    bars = []
    for number in sorted(dice.sample(range(days * 1_440), days * 700)):
        low, high = sorted((dice.uniform(1, 2), dice.uniform(2, 3)))
        made = bar(number, open=dice.uniform(low, high), high=high, low=low, close=dice.uniform(low, high),
                   volume=dice.expovariate(1), quote_volume=dice.expovariate(0.1))  # fmt: skip
        bars += [made, bar(number, open=1.5, revision=1)] if number % 50 == 0 else [made]
    return bars


def by_polars(bars: list[Bar], end_ns: int) -> tuple[float, ...]:
    latest = {each.open_time: each for each in bars if end_ns - DAY <= each.open_time < end_ns}
    rows = [[getattr(each, name) for name in Bar.__struct_fields__] for _, each in sorted(latest.items())]
    frame = pl.DataFrame(rows, schema=list(Bar.__struct_fields__), orient="row")
    (found,) = frame.select(
        pl.first("open"), pl.max("high"), pl.min("low"), pl.last("close"), pl.sum("volume", "quote_volume"),
        change=pl.last("close") / pl.first("open") - 1,
    ).rows()  # fmt: skip
    return tuple(found)


def values(day: DayStatistics | None) -> tuple[float | None, ...]:
    assert day is not None
    return (day.open, day.high, day.low, day.close, day.volume, day.quote_volume, day.change)


def test_the_last_day_is_what_polars_says_of_the_bars() -> None:
    bars, window, at = random_bars(3, 7), DayWindow(BTC), 0
    for minute in range(30, 3 * 1_440, 37):
        end_ns = MIDNIGHT + minute * MINUTE
        while at < len(bars) and bars[at].close_time <= end_ns:
            window.put(bars[at])
            at += 1
        assert values(window.statistics(end_ns, is_whole=True)) == pytest.approx(by_polars(bars[:at], end_ns), rel=1e-9)
    window.put(bars[0])  # older than what has its place
    assert values(window.statistics(end_ns, is_whole=True)) == pytest.approx(by_polars(bars[:at], end_ns), rel=1e-9)


def test_nothing_traded_or_an_unknown_volume_is_said() -> None:
    window = DayWindow(BTC)
    window.put(bar(0))
    window.put(bar(1, quote_volume=None))
    day = window.statistics(MIDNIGHT + 5 * MINUTE, is_whole=True)
    assert day is not None
    assert day.quote_volume is None
    assert window.statistics(MIDNIGHT + DAY + 2 * MINUTE, is_whole=True) is None


def test_a_day_is_told_once_a_minute_and_is_whole_when_no_bar_of_it_is_missing() -> None:
    since = MIDNIGHT + DAY
    day, bars = (
        LiveDay(BTC, [bar(600)], [(MIDNIGHT, MIDNIGHT + 599 * MINUTE)], since),
        LiveBars(BTC, complete_since_ns=since),
    )
    told = {}
    for second in range(0, 4 * 3_600, 20):
        found = day.statistics(since + second * 1_000_000_000 + LATENESS_NS, bars)
        if found is not None:
            assert found.at not in told
            told[found.at] = found.is_whole
    assert len(told) == 4 * 60
    assert not any(told.values())
    found = day.statistics(since + 599 * MINUTE + LATENESS_NS, bars)
    assert found is not None
    assert found.is_whole
    bars.gap(since + 598 * MINUTE, since + 599 * MINUTE)
    found = day.statistics(since + 600 * MINUTE + LATENESS_NS, bars)
    assert found is not None
    assert not found.is_whole


def test_redis_ranks_instruments_by_change_and_volume_and_drops_who_is_gone(redis_url: str) -> None:
    def statistics(instrument: str, minute: int, change: float, *, is_whole: bool = True) -> DayStatistics:
        return DayStatistics(
            instrument, MIDNIGHT + minute * MINUTE, 1.0, 2.0, 0.5, 1 + change, 10.0, 1e3 * minute, change, is_whole
        )

    async def send(*days: DayStatistics) -> None:
        sink = RedisSink(redis_url)
        await sink.open(uuid4())
        messages = [Message("trades", channel_of(day), 1, encode([day])) for day in days]
        await sink.send([Numbered(n, message) for n, message in enumerate(messages, 1)])
        await sink.close()

    other = "binance:BTC-EUR"
    asyncio.run(send(statistics(BTC, 1, 0.05), statistics(ETH, 2, -0.1), statistics(other, 1, 0.2, is_whole=False)))
    with redis.Redis.from_url(redis_url) as client:
        movers, volume = "md:movers:24h:USDT", "md:volume:24h:USDT"
        assert client.zrange(movers, 0, -1, withscores=True) == [(ETH.encode(), -0.1), (BTC.encode(), 0.05)]
        assert client.zrange(volume, 0, -1, withscores=True) == [(BTC.encode(), 1e3), (ETH.encode(), 2e3)]
        assert 0 < client.ttl(movers) <= 600
        assert not client.exists("md:movers:24h:EUR")
        latest = {key.decode(): float(value) for key, value in client.hgetall(f"md:latest:{BTC}").items()}
        assert latest == {
            "open_24h": 1.0, "high_24h": 2.0, "low_24h": 0.5, "volume_24h": 10.0, "quote_volume_24h": 1e3,
            "change_24h": 0.05, "ts_24h": MIDNIGHT + MINUTE, "whole_24h": 1,
        }  # fmt: skip
        asyncio.run(send(statistics(BTC, 14, 0.06)))
        assert client.zrange(movers, 0, -1, withscores=True) == [(BTC.encode(), 0.06)]
        assert client.zrange(volume, 0, -1) == [BTC.encode()]
