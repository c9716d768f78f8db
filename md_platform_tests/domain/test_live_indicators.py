"""Live indicators against batch: for every indicator and any series, each bar's values are those of compute_day."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.events import Bar
from md_platform.domain.indicators import REGISTRY, STANDARD_SET, Ohlcv, Output, compute_day, indicator, parse_spec
from md_platform.domain.indicators.lines import _made, opened
from md_platform.domain.indicators.live import LiveIndicators
from md_platform.domain.indicators.registry import Outputs, Period
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidRange

DAY_US = 86_400_000_000
MIDNIGHT_US = 19_782 * DAY_US  # 2024-02-29
EVERY = [entry.bind() for entry in REGISTRY.values()]
OTHERS = [
    parse_spec(text)
    for text in (
        "ema(3)", "hma(2)", "macd(5,35,5)", "sar(0.01,0.1)", "supertrend(7,1)", "ichimoku(3,5,8)", "rsi(2)",
        "stoch(14,1,1)", "stochrsi(5,9,2,4)", "uo(2,3,5)", "adosc(2,30)", "keltner(5,30)", "roc(1)", "vroc(1)", "hv(2)",
    )
]  # fmt: skip


def series(n, *, seed=1, timeframe=Timeframe.M15, start_us=MIDNIGHT_US, gaps=0.0, dry=0.0, still=0.0, tick=0.0):
    """A walk in which bars are missing, nothing trades or nothing moves for stretches, as the fractions say."""
    rng = np.random.default_rng(seed)

    def stretches(fraction):
        return np.repeat(rng.random(n // 40 + 1) < fraction, 40)[:n]

    moves = rng.normal(0, 2e-3, n) * ~stretches(still)
    close = 100 * np.exp(np.cumsum(moves))
    if tick:
        close = np.round(close / tick) * tick
    opened = np.r_[close[:1], close[:-1]]
    reach = np.abs(rng.normal(0, 1e-3, n)) * (moves != 0)
    high, low = np.maximum(opened, close) * (1 + reach), np.minimum(opened, close) * (1 - reach)
    volume = rng.lognormal(3, 2, n) * ~stretches(dry)
    open_time = start_us + np.arange(n, dtype=np.int64) * timeframe.seconds * 1_000_000
    kept = (rng.random(n) >= gaps / 4) & ~stretches(gaps)
    columns = (column[kept] for column in (open_time, opened, high, low, close, volume))
    return Ohlcv(*columns, timeframe)


def bar_at(bars, row):
    opened, high, low, close, volume = (
        float(getattr(bars, name)[row]) for name in ("open", "high", "low", "close", "volume")
    )
    open_time = int(bars.open_time[row]) * 1_000
    end = open_time + bars.timeframe.seconds * 10**9
    return Bar(
        "a:B-C", bars.timeframe, open_time, end, opened, high, low, close, volume, *[None] * 4, True, "trades", 0, 0
    )


def expected(specs, bars):
    """open time in ns → batch's values, for every bar."""
    values = {}
    for day in np.unique(bars.open_time // DAY_US).tolist():
        columns = compute_day(specs, bars, day * DAY_US)
        times = bars.open_time[bars.open_time // DAY_US == day]
        values |= {
            int(at) * 1_000: {name: column[row] for name, column in columns.items()} for row, at in enumerate(times)
        }
    return values


def assert_same(live, batch):
    """The same bits, or NaN in both."""
    assert list(live) == list(batch)
    for name, value in live.items():
        assert type(value) is float
        assert value == batch[name] or (np.isnan(value) and np.isnan(batch[name])), (name, value, batch[name])


def feed(specs, bars, start):
    """Values bar by bar after a start with the first `start` bars, each equal to what a peek said before."""
    live = LiveIndicators(specs, bars.slice(0, start))
    values = {}
    for row in range(start, len(bars)):
        bar = bar_at(bars, row)
        guess = live.peek(bar)
        live.peek(bar_at(bars, row // 2 if row // 2 and bars.open_time[row // 2] > live.last_open_time_ns else row))
        values[bar.open_time] = live.update(bar)
        assert_same(guess, values[bar.open_time])
    return live, values


kinds = st.fixed_dictionaries({
    "gaps": st.sampled_from([0.0, 0.0, 0.3]),
    "dry": st.sampled_from([0.0, 0.3, 1.0]),
    "still": st.sampled_from([0.0, 0.3, 1.0]),
    "tick": st.sampled_from([0.0, 0.01, 5.0]),
})  # fmt: skip


@pytest.mark.parametrize("spec", EVERY + OTHERS, ids=str)
@settings(max_examples=8, deadline=None)
@given(
    kind=kinds, seed=st.integers(0, 2**32), start=st.integers(0, 250), timeframe=st.sampled_from(["15m", "1h", "4h"])
)
def test_live_is_batch_bit_for_bit(spec, kind, seed, start, timeframe):
    """Over day changes and holes, from any start: none or little history, none of today or most of it."""
    bars = series(330, seed=seed, timeframe=Timeframe(timeframe), **kind)
    start = min(start, len(bars))
    _, values = feed([spec], bars, start)
    batch = expected([spec], bars)
    for open_time, live in values.items():
        assert_same(live, batch[open_time])


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_live_is_batch_on_minutes_after_a_long_history(spec):
    bars = series(3 * 1_440 + 200, timeframe=Timeframe.M1, gaps=0.05, dry=0.1, still=0.1)
    start = int(np.searchsorted(bars.open_time, MIDNIGHT_US + 3 * DAY_US - 100 * 60_000_000))
    live, values = feed([spec], bars, start)
    batch = expected([spec], bars)
    for open_time, mine in values.items():
        assert_same(mine, batch[open_time])
    assert live.recomputed == []


@pytest.mark.parametrize("timeframe", [Timeframe.D1, Timeframe.W1])
def test_bars_of_a_day_and_longer_start_anew_with_each(timeframe):
    bars = series(420, timeframe=timeframe, start_us=18_628 * DAY_US)  # from 2021-01-01, over four years
    _, values = feed(STANDARD_SET, bars, 350)
    batch = expected(STANDARD_SET, bars)
    for open_time, mine in values.items():
        assert_same(mine, batch[open_time])


def test_every_indicator_goes_on_in_constant_time():
    bars = series(2_000)
    assert LiveIndicators(EVERY, bars).recomputed == []


def test_while_it_warms_up_it_is_computed_anew():
    live = LiveIndicators([parse_spec("sma(3)"), parse_spec("obv")], series(0))
    bars = series(4)
    seen = []
    for row in range(4):
        live.update(bar_at(bars, row))
        seen.append([str(spec) for spec in live.recomputed])
    assert seen == [["sma(3)"], ["sma(3)"], [], []]


@pytest.fixture
def spread():
    """Not written in the words of lines."""

    @indicator(
        inputs="high low", outputs=(Output("spread", "quote", ""),), lookback=lambda n: n - 1, source="this test"
    )
    def spread(bars: Ohlcv, period: Period = 3) -> Outputs:
        ranges = np.lib.stride_tricks.sliding_window_view(bars.high - bars.low, period)
        return (np.r_[np.full(period - 1, np.nan), ranges.mean(axis=1)],)

    yield parse_spec("spread")
    del REGISTRY["spread"]


def test_an_indicator_in_plain_numpy_is_computed_anew_and_right(spread):
    bars = series(300, gaps=0.1)
    live, values = feed([spread, parse_spec("ema(3)")], bars, 120)
    batch = expected([spread, parse_spec("ema(3)")], bars)
    for open_time, mine in values.items():
        assert_same(mine, batch[open_time])
    assert live.recomputed == [spread]


@pytest.mark.parametrize(
    "formula",
    [
        lambda bars: np.sqrt(bars.close),
        lambda bars: np.where(bars.close <= bars.open, 1.0, 2.0),
        lambda bars: bars.close if bars.close <= 1 else bars.open,
        lambda bars: bars.close == bars.open,
        lambda bars: bars.close[1:],
        lambda bars: bars.close + "1",
        lambda bars: np.ones(3) * bars.close,
        lambda bars: 2 - bars.close,
        len,
        lambda bars: {bars.close},
    ],
)
def test_what_lines_cannot_say_is_refused_and_not_misread(formula):
    with pytest.raises(TypeError):
        opened(lambda bars: (formula(bars),), (), series(10))


def test_a_formula_is_compiled_once_whatever_the_data():
    LiveIndicators(EVERY, series(200, seed=1))
    made = _made.cache_info().misses
    LiveIndicators(EVERY, series(300, seed=2))
    assert _made.cache_info().misses == made


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 280), st.booleans(), st.integers(1, 279))
def test_a_revision_gives_what_batch_says_of_the_revised_series(seed, row, is_new, start):
    """A bar of any day changes, or appears: the values from it on are batch's, and so are those of the bars to come."""
    whole = series(300, seed=seed)
    row = min(row, start - 1 if is_new else start)  # a bar after all others is no revision
    before = whole.slice(0, start + 1)
    if is_new:
        columns = [
            np.delete(getattr(before, name), row) for name in ("open_time", "open", "high", "low", "close", "volume")
        ]
        wrong = Ohlcv(*columns, whole.timeframe)
    else:
        wrong = Ohlcv(
            *(getattr(before, name).copy() for name in ("open_time", "open", "high", "low", "close", "volume")),
            whole.timeframe,
        )
        wrong.close[row] = wrong.high[row] = wrong.high[row] * 1.01
        wrong.volume[row] += 1
    live = LiveIndicators(STANDARD_SET, wrong)
    live.peek(bar_at(whole, start + 1))
    revised = live.revise(bar_at(whole, row))
    batch = expected(STANDARD_SET, whole)
    yesterday = (int(before.open_time[-1]) // DAY_US - 1) * DAY_US
    wanted = [int(at) * 1_000 for at in before.open_time[row:] if at >= yesterday]
    assert list(revised) == wanted
    for open_time, mine in revised.items():
        assert_same(mine, batch[open_time])
    for later in range(start + 1, 300):
        assert_same(live.update(bar_at(whole, later)), batch[int(whole.open_time[later]) * 1_000])


def test_the_next_bar_is_for_update_and_others_for_revise():
    bars = series(100)
    live = LiveIndicators(STANDARD_SET, bars)
    assert live.last_open_time_ns == int(bars.open_time[-1]) * 1_000
    with pytest.raises(InvalidRange, match="use revise"):
        live.update(bar_at(bars, 99))


def test_a_day_may_be_started_before_its_first_bar():
    bars = series(96 * 3)
    live = LiveIndicators(STANDARD_SET, bars.slice(0, 192))
    live.start_day((MIDNIGHT_US + 2 * DAY_US) * 1_000)
    live.start_day(MIDNIGHT_US * 1_000)  # days do not go back
    batch = expected(STANDARD_SET, bars)
    for row in range(192, 288):
        assert_same(live.update(bar_at(bars, row)), batch[int(bars.open_time[row]) * 1_000])


def test_memory_is_bounded():
    specs = [parse_spec("sma(20)"), parse_spec("rsi(14)")]
    live = LiveIndicators(specs, series(0))
    bars = series(96 * 30)
    for row in range(len(bars)):
        live.update(bar_at(bars, row))
    assert len(live._history.bars()) <= 96 * (4 + 2)
    assert len(live._history._columns[0]) <= 2 * 96 * 6 + 256
