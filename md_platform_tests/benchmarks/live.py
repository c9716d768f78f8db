"""Benchmark: CPU of the live interpreters, µs per trade for bars and µs per bar for each indicator.

    python -m md_platform_tests.benchmarks.live [--trades 100000] [--rounds 10]

One process, no I/O. Trades are one per call; a rate is per instrument. Indicators are opened on a day of 1m bars.
"""

import argparse
import random
import time
import tracemalloc

import numpy as np

from md_platform.domain.events import Bar, Trade
from md_platform.domain.indicators import REGISTRY, STANDARD_SET, IndicatorSpec, Ohlcv, compute_day
from md_platform.domain.indicators.live import LiveIndicators
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_bars import DAY_NS, SECOND_NS, LiveBars
from md_platform_tests.benchmarks.figures import Figure, print_table

START = 1_709_078_400 * SECOND_NS  # a UTC midnight
RATES = (1, 5, 20, 50, 100, 1_000)


def tape(count: int, rate: float) -> list[Trade]:
    """Trades of one instrument, `rate` a second, 40 % of them in the millisecond of the one before."""
    luck = random.Random(1)
    trades, ts, price = [], START, 60_000.0
    for number in range(count):
        if luck.random() < 0.6:
            ts += int(luck.expovariate(rate * 0.6) * 1_000) * 1_000_000
        price += luck.choice((-0.1, 0.0, 0.1))
        side = luck.choice(("buy", "sell"))
        trades.append(Trade("sandbox:BTC-USDT", ts, ts + 20_000_000, number, price, luck.random(), side))
    return trades


def time_bars(count: int, rounds: int) -> None:
    """Print µs per trade by rate, and µs per running bar when they are asked for ten times a second; the least of some."""
    print("trades/s   µs/trade   bars closed   µs/running bar")
    for rate in RATES:
        trades = tape(count, rate)
        plain, asked = [], []
        for _ in range(rounds):
            bars = LiveBars("sandbox:BTC-USDT", complete_since_ns=START)
            began = time.process_time()
            for trade in trades:
                bars.add(trade)
            closed = len(bars.closed())
            plain.append((time.process_time() - began) / count)
            asked.append(time_of_running(trades[: count // 10]))
        print(f"{rate:8}   {min(plain) * 1e6:8.3f}   {closed:11}   {min(asked) * 1e6:14.2f}")


def time_of_running(trades: list[Trade]) -> float:
    """Seconds for each running bar."""
    bars, running, next_time, spent = LiveBars("sandbox:BTC-USDT", complete_since_ns=START), 0, START, 0.0
    for trade in trades:
        bars.add(trade)
        if trade.ts_event > next_time:
            next_time = trade.ts_event + SECOND_NS // 10
            began = time.process_time()
            running += len(bars.running())
            spent += time.process_time() - began
    return spent / max(running, 1)


def measure_memory() -> None:
    """Print the memory of one instrument that trades every second for a day."""
    trades = [Trade("x", START + n * SECOND_NS, START, n, 1.0 + n, 0.5 + n, "buy") for n in range(90_000)]
    tracemalloc.start()
    bars = LiveBars("x", complete_since_ns=START)
    for trade in trades:
        bars.add(trade)
        bars.closed()
    bars.running()
    print(f"memory of an instrument that trades each second: {tracemalloc.get_traced_memory()[0] / 1e6:.1f} MB")
    tracemalloc.stop()


def walk(count: int) -> Ohlcv:
    """1m bars from a UTC midnight."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, count)))
    opened = np.r_[100.0, close[:-1]]
    high, low = np.maximum(opened, close) * 1.0005, np.minimum(opened, close) * 0.9995
    times = START // 1_000 + np.arange(count, dtype=np.int64) * 60_000_000
    return Ohlcv(times, opened, high, low, close, rng.lognormal(3, 1, count), Timeframe.M1)


def bars_of(window: Ohlcv, first: int) -> list[Bar]:
    """Closed bars of the rows from `first` on."""
    columns = (window.open_time, window.open, window.high, window.low, window.close, window.volume)
    rows = zip(*(column[first:].tolist() for column in columns), strict=True)
    return [
        Bar("x", "1m", at * 1_000, at * 1_000, *prices, None, None, None, None, True, "trades", 0, 0)
        for at, *prices in rows
    ]


def spent_on(specs: list[IndicatorSpec], window: Ohlcv, bars: list[Bar], rounds: int) -> tuple[float, float, float]:
    """Seconds of an update, of a peek and of a day's start, each the least of some rounds."""
    updates, peeks, starts = [], [], []
    for _ in range(rounds):
        began = time.process_time()
        live = LiveIndicators(specs, window)
        starts.append(time.process_time() - began)
        began = time.process_time()
        for bar in bars:
            live.update(bar)
        updates.append((time.process_time() - began) / len(bars))
        after = Bar(
            "x", "1m", bars[-1].close_time + 60 * SECOND_NS, 0, 1.0, 1.0, 1.0, 1.0, 1.0, *[None] * 4, False, "", 0, 0
        )
        began = time.process_time()
        for _ in bars:
            live.peek(after)
        peeks.append((time.process_time() - began) / len(bars))
    return min(updates), min(peeks), min(starts)


def time_indicators(rounds: int) -> list[Figure]:
    """Print µs per update, peek and day's start of each indicator, and of the standard set together."""
    window = walk(2 * 1_440)
    known, bars = window.slice(0, 1_440), bars_of(window, 1_440)[:-2]
    nothing, no_peek, _ = spent_on([], known, bars, rounds)
    standard = set(STANDARD_SET)
    print(f"\nµs per bar, over {nothing * 1e6:.2f} (peek {no_peek * 1e6:.2f}) for keeping the bars; * standard set")
    print("indicator                 update     peek   day's start")
    for spec in [*STANDARD_SET, *(entry.bind() for entry in REGISTRY.values() if entry.bind() not in standard)]:
        update, peek, start = spent_on([spec], known, bars, rounds)
        star = "*" if spec in standard else " "
        print(
            f"{spec!s:22} {star} {(update - nothing) * 1e6:7.2f}  {(peek - no_peek) * 1e6:7.2f}   {start * 1e6:11.0f}"
        )
    update, peek, start = spent_on(list(STANDARD_SET), known, bars, rounds)
    each = (update - nothing) * 1e6 / len(STANDARD_SET)
    print(
        f"{'standard set':22} * {update * 1e6:7.2f}  {peek * 1e6:7.2f}   {start * 1e6:11.0f}   {each:.2f} an indicator"
    )
    began = time.process_time()
    compute_day(STANDARD_SET, window, (START + DAY_NS) // 1_000)
    print(f"compute_day of the standard set over the same day: {(time.process_time() - began) * 1e6:.0f} µs")
    return [Figure("update of an indicator of the standard set, µs", each, 1.0)]


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=10, help="how often each is timed; the least counts")
    given = parser.parse_args()
    time_bars(given.trades, given.rounds)
    measure_memory()
    print_table(time_indicators(given.rounds))


if __name__ == "__main__":
    main()
