"""The registry's promises, each kept by every indicator in it, and what the words of a spec mean."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from md_platform.domain.indicators import (
    REGISTRY,
    STANDARD_SET,
    Ohlcv,
    Output,
    compute,
    indicator,
    parse_spec,
)
from md_platform.domain.indicators.registry import Outputs, Period
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidParameter, UnknownIndicator, UserError

EVERY = sorted(REGISTRY)
OTHER_PARAMETERS = [
    "ema(3)", "dema(7)", "tema(5)", "hma(16)", "hma(2)", "kama(30)", "macd(5,35,5)", "sar(0.01,0.1)", "adx(5)",
    "supertrend(7,1)", "supertrend(10,5)", "ichimoku(3,5,8)", "rsi(2)", "stoch(14,1,1)", "stochrsi(5,9,2,4)", "trix(4)",
    "uo(2,3,5)", "adosc(2,30)", "keltner(10,20,1.5)", "keltner(5,30)", "roc(1)", "vroc(1)", "hv(2)", "ppo(2,9)", "cci(2)",
]  # fmt: skip


def joined(outputs: Outputs) -> np.ndarray:
    return np.stack(outputs)


def test_there_are_at_least_37_each_with_source_meaning_unit_and_family():
    assert len(REGISTRY) >= 37
    for name, entry in REGISTRY.items():
        assert entry.name == name
        assert entry.source
        assert entry.meaning
        assert entry.family in {"trend", "momentum", "volume", "volatility"}
        assert set(entry.inputs) <= {"open", "high", "low", "close", "volume"}
        assert all(output.meaning and output.unit in {"quote", "base", "%", ""} for output in entry.outputs)


def test_column_names_are_unique_over_the_registry_and_plain():
    columns = [column for entry in REGISTRY.values() for column in entry.bind().columns]
    assert len(set(columns)) == len(columns)
    assert all(column.isidentifier() and column == column.lower() for column in columns)


@pytest.mark.parametrize("text", EVERY + OTHER_PARAMETERS)
def test_lookback_is_the_number_of_bars_without_a_value(text, long_walk):
    spec = parse_spec(text)
    known = np.isfinite(joined(spec.evaluate(long_walk))).all(axis=0)
    assert known.argmax() == spec.lookback
    assert known[spec.lookback :].all()


@pytest.mark.parametrize("text", EVERY)
def test_reads_only_the_inputs_it_declares(text, make_walk):
    spec, bars = parse_spec(text), make_walk(300)
    hidden = {
        name: np.full(300, np.nan) if name not in spec.indicator.inputs else getattr(bars, name)
        for name in ("open", "high", "low", "close", "volume")
    }
    np.testing.assert_array_equal(
        joined(spec.evaluate(Ohlcv(bars.open_time, **hidden, timeframe=bars.timeframe))), joined(spec.evaluate(bars))
    )


@pytest.mark.parametrize("text", EVERY)
def test_short_series_are_the_beginning_of_longer_ones(text, make_walk):
    spec, bars = parse_spec(text), make_walk(400)
    whole = joined(spec.evaluate(bars))
    for n in {*range(min(spec.lookback, 60) + 3), spec.lookback, spec.lookback + 1}:
        part = joined(spec.evaluate(bars.slice(0, n)))
        assert part.shape == (len(spec.columns), n)
        assert part.dtype == np.float64
        np.testing.assert_allclose(part, whole[:, :n], rtol=1e-12)
    assert np.isnan(joined(spec.evaluate(bars.slice(0, spec.lookback)))[-1]).all()


@pytest.mark.parametrize("text", EVERY)
@pytest.mark.parametrize("price", [1.0, 60_000.123, 1e-7])
def test_constant_prices_give_no_infinity(text, price):
    n = 300
    still = np.full(n, price)
    bars = Ohlcv(np.arange(n) * 60_000_000, still, still, still, still, np.full(n, 5.0), Timeframe.M1)
    values = joined(parse_spec(text).evaluate(bars))
    assert not np.isinf(values).any()
    assert text == "bb_percent_b" or np.isfinite(values[:, -1]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("rsi", 0), ("stoch", 0), ("stochrsi", 0), ("willr", 0), ("cci", 0), ("uo", 0), ("mfi", 0), ("cmo", 0), ("adx", 0),
     ("aroon", 100), ("natr", 0), ("bb_width", 0), ("bb_percent_b", np.nan), ("hv", 0), ("cmf", 0), ("sma", 7.5),
     ("kama", 7.5), ("sar", 7.5), ("vwap", 7.5), ("vwma", 7.5)],
)  # fmt: skip
def test_conventions_where_prices_do_not_move(text, expected):
    still = np.full(200, 7.5)
    bars = Ohlcv(np.arange(200) * 60_000_000, still, still, still, still, np.full(200, 5.0), Timeframe.M1)
    np.testing.assert_array_equal(joined(parse_spec(text).evaluate(bars))[:, -1], expected)


@pytest.mark.parametrize(
    ("text", "expected"), [("vwma", np.nan), ("vwap", np.nan), ("vroc", np.nan), ("cmf", 0), ("mfi", 0)]
)
def test_conventions_where_nothing_trades(text, expected, make_walk):
    bars = make_walk(200)
    bars.volume[100:] = 0
    dry = bars.slice(100, 200) if text == "vwap" else bars
    np.testing.assert_array_equal(joined(parse_spec(text).evaluate(dry))[:, -1], expected)


def test_volume_that_returns_after_a_dry_spell_is_weighted_afresh(make_walk):
    bars = make_walk(200)
    bars.volume[100:150] = 0
    (average,) = parse_spec("vwma(10)").evaluate(bars)
    assert np.isnan(average[109:150]).all()
    expected = np.average(bars.close[146:156], weights=bars.volume[146:156])
    assert average[155] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("text", EVERY)
def test_arrays_may_be_strided_and_read_only(text, make_walk):
    bars = make_walk(800)
    strided = [getattr(bars, name)[::2] for name in ("open_time", "open", "high", "low", "close", "volume")]
    plain = [np.ascontiguousarray(array) for array in strided]
    for array in plain:
        array.setflags(write=False)
    spec = parse_spec(text)
    np.testing.assert_array_equal(
        joined(spec.evaluate(Ohlcv(*strided, bars.timeframe))), joined(spec.evaluate(Ohlcv(*plain, bars.timeframe)))
    )


WINDOWED = [
    name for name in EVERY if not REGISTRY[name].cumulative and name != "vwap"
]  # those have a day, not a memory


@pytest.mark.parametrize("text", WINDOWED + OTHER_PARAMETERS)
def test_memory_gives_the_value_of_the_whole_series(text, long_walk):
    """1e-9 of the value or, for what swings around 0, of the column's own spread."""
    spec = parse_spec(text)
    whole = joined(spec.evaluate(long_walk))
    allowed = 1e-9 * np.maximum(np.abs(whole), np.nanstd(whole, axis=1, keepdims=True))
    for end in np.linspace(spec.memory + 1, len(long_walk), 60).astype(int):
        last = joined(spec.evaluate(long_walk.slice(end - 1 - spec.memory, end)))[:, -1]
        assert (np.abs(last - whole[:, end - 1]) <= allowed[:, end - 1]).all(), end


@pytest.mark.parametrize("text", [name for name in EVERY if REGISTRY[name].cumulative])
def test_cumulative_ones_differ_by_a_constant_after_their_memory(text, make_walk):
    spec, bars = parse_spec(text), make_walk(500)
    (whole,) = spec.evaluate(bars)
    (late,) = spec.evaluate(bars.slice(200 - spec.memory, 500))
    offset = whole[200:] - late[spec.memory :]
    np.testing.assert_allclose(offset, offset[0], atol=1e-9 * np.abs(whole).max())


def test_standard_set_is_20_indicators_in_25_columns():
    columns = [column for spec in STANDARD_SET for column in spec.columns]
    assert len(STANDARD_SET) == 20
    assert columns == [
        "sma_20", "ema_20", "wma_20", "macd_12_26_9", "macd_signal_12_26_9", "macd_hist_12_26_9", "bb_upper_20_2",
        "bb_middle_20_2", "bb_lower_20_2", "sar_0p02_0p2", "adx_14", "rsi_14", "stoch_k_5_3_3", "stoch_d_5_3_3",
        "willr_14", "cci_14", "roc_10", "mom_10", "obv", "ad", "cmf_20", "vwap", "atr_14", "stddev_20", "hv_20",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("ema(20)", ("ema_20",)),
        ("rsi", ("rsi_14",)),
        ("rsi()", ("rsi_14",)),
        (" MACD( 5, 35 ) ", ("macd_5_35_9", "macd_signal_5_35_9", "macd_hist_5_35_9")),
        ("bbands(20,2.5)", ("bb_upper_20_2p5", "bb_middle_20_2p5", "bb_lower_20_2p5")),
        ("obv", ("obv",)),
    ],
)
def test_specs_are_written_as_name_and_numbers(text, columns):
    spec = parse_spec(text)
    assert spec.columns == columns
    assert parse_spec(str(spec)) == spec


def test_unknown_names_say_which_are_near():
    with pytest.raises(UnknownIndicator, match="no indicator is called 'stochrs'; nearest: stochrsi"):
        parse_spec("stochrs(14)")
    with pytest.raises(UnknownIndicator, match="known: "):
        parse_spec("zzzzzzzz")
    with pytest.raises(UnknownIndicator, match="written as"):
        parse_spec("ema(20")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ema(1)", "period of ema must be a whole number from 2 to 10000, was 1"),
        ("ema(2.5)", "whole number"),
        ("ema(1e9)", "from 2 to 10000"),
        ("ema(nan)", "was nan"),
        ("ema(inf)", "was inf"),
        ("ema(x)", "must be numbers"),
        ("ema(1,2)", r"takes at most 1 parameters \(period\), was given 2"),
        ("obv(3)", "takes at most 0"),
        ("bbands(20,-2)", "deviations of bbands must be a number"),
        ("macd(26,12)", "needs fast < slow, was 26, 12"),
        ("uo(7,7,28)", "short < middle < long"),
    ],
)
def test_parameters_out_of_bounds_are_refused(text, message):
    with pytest.raises(InvalidParameter, match=message) as caught:
        parse_spec(text)
    assert isinstance(caught.value, UserError)


@pytest.fixture
def spread() -> Iterator[None]:
    """Adding an indicator is this one function."""

    @indicator(
        inputs="high low",
        outputs=(Output("spread", "quote", "mean range of the last bars"),),
        lookback=lambda period: period - 1,
        source="this test",
    )
    def spread(bars: Ohlcv, period: Period = 3) -> Outputs:
        """Mean range."""
        ranges = np.lib.stride_tricks.sliding_window_view(bars.high - bars.low, period)
        return (np.r_[np.full(period - 1, np.nan), ranges.mean(axis=1)],)

    yield
    del REGISTRY["spread"]


def test_adding_an_indicator_is_one_function(spread, make_walk):
    bars = make_walk(50)
    columns = compute([parse_spec("spread(4)"), parse_spec("sma(4)")], bars)
    assert list(columns) == ["spread_4", "sma_4"]
    assert columns["spread_4"][10] == pytest.approx((bars.high - bars.low)[7:11].mean())
    assert np.isnan(columns["spread_4"][:3]).all()
    with pytest.raises(InvalidParameter, match="period of spread"):
        parse_spec("spread(0)")


def test_two_indicators_of_one_name_are_refused(spread):
    def sma(bars: Ohlcv) -> Outputs: ...

    with pytest.raises(InvalidParameter, match="must be new, was 'sma'"):
        indicator(inputs="close", outputs=(), lookback=lambda: 0, source="")(sma)


def test_a_parameter_needs_bounds_and_a_default():
    def unbounded(bars: Ohlcv, period: int = 3) -> Outputs: ...

    with pytest.raises(InvalidParameter, match="period of unbounded must have Bounds"):
        indicator(inputs="close", outputs=(), lookback=lambda: 0, source="")(unbounded)


def test_vwap_keeps_the_digits_of_a_small_volume_after_days_of_large_ones(make_walk: Callable[..., Ohlcv]):
    bars = make_walk(3 * 1_440)
    bars.volume[: 2 * 1_440] *= 1e12
    (whole,) = parse_spec("vwap").evaluate(bars)
    (day,) = parse_spec("vwap").evaluate(bars.slice(2 * 1_440, 3 * 1_440))
    np.testing.assert_array_equal(whole[2 * 1_440 :], day)
