"""Every indicator against values that others computed: TA-Lib, Stock.Indicators, StockCharts, Lean, Tulip, a textbook.

Rows are compared where the other source has a value; each case says its tolerance, and why where it is not 1e-9.
"""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from md_platform.domain.indicators import REGISTRY, Ohlcv, parse_spec
from md_platform.domain.intervals import Timeframe


@dataclass(frozen=True)
class Case:
    """`columns` of the source are the outputs of `spec` in order; None where it has no such column."""

    spec: str
    columns: tuple[str | None, ...]
    rtol: float = 1e-9
    since: int = 0
    why: str = ""

    def __str__(self) -> str:
        return self.spec

    def check(self, bars: Ohlcv, expected: Callable[[str], np.ndarray]) -> None:
        outputs = parse_spec(self.spec).evaluate(bars)
        assert len(outputs) == len(self.columns)
        for name, ours in zip(self.columns, outputs, strict=True):
            if name is None:
                continue
            theirs = expected(name)
            rows = np.isfinite(theirs) & np.isfinite(ours)
            rows[: self.since] = False
            assert rows[len(rows) // 2 :].any(), "nothing to compare"
            # Oscillators cross 0, where a relative tolerance allows nothing: there the column's spread is the measure.
            np.testing.assert_allclose(
                ours[rows], theirs[rows], self.rtol, self.rtol * np.std(theirs[rows]), err_msg=name
            )


TALIB = [
    Case("sma(30)", ("SMA",)),
    Case("sma(200)", ("SMA(timeperiod=200)",)),
    Case("ema(30)", ("EMA",)),
    Case("ema(12)", ("EMA(timeperiod=12)",)),
    Case("ema(200)", ("EMA(timeperiod=200)",)),
    Case("wma(30)", ("WMA",)),
    Case("dema(30)", ("DEMA",)),
    Case("tema(30)", ("TEMA",)),
    Case("kama(30)", ("KAMA",)),
    Case("hma(20)", ("HMA",)),
    Case("macd(12,26,9)", ("MACD.macd", "MACD.macdsignal", "MACD.macdhist")),
    Case("bbands(20,2)", tuple(f"BBANDS(timeperiod=20;nbdevup=2.0;nbdevdn=2.0;matype=0).{o}band" for o in ("upper", "middle", "lower"))),
    Case("sar(0.02,0.2)", ("SAR",)),
    Case("adx(14)", ("ADX",)),
    Case("plus_di(14)", ("PLUS_DI",)),
    Case("minus_di(14)", ("MINUS_DI",)),
    Case("aroon(14)", ("AROON.aroonup", "AROON.aroondown")),
    Case("aroonosc(14)", ("AROONOSC",)),
    Case("supertrend(10,3)", ("SUPERTREND.supertrend", "SUPERTREND.trend")),
    Case("rsi(14)", ("RSI",)),
    Case("rsi(7)", ("RSI(timeperiod=7)",)),
    Case("stoch(5,3,3)", ("STOCH.slowk", "STOCH.slowd")),
    Case("stoch(5,1,3)", ("STOCHF.fastk", "STOCHF.fastd")),
    Case("stochrsi(14,5,1,3)", ("STOCHRSI.fastk", "STOCHRSI.fastd")),
    Case("willr(14)", ("WILLR",)),
    Case("cci(14)", ("CCI",)),
    Case("roc(10)", ("ROC",)),
    Case("mom(10)", ("MOM",)),
    Case("trix(30)", ("TRIX",)),
    Case("uo(7,14,28)", ("ULTOSC",)),
    Case("mfi(14)", ("MFI",)),
    Case("cmo(14)", ("CMOU",)),
    Case("ppo(12,26)", ("PPO",)),
    Case("obv", ("OBV",)),
    Case("ad", ("AD",)),
    Case("adosc(3,10)", ("ADOSC",)),
    Case("cmf(20)", ("CMF",)),
    Case("vwma(30)", ("VWMA",)),
    Case("atr(14)", ("ATR",)),
    Case("atr(7)", ("ATR(timeperiod=7)",)),
    Case("natr(14)", ("NATR",)),
    Case("stddev(5)", ("STDDEV",)),
    Case("stddev(20)", ("STDDEV(timeperiod=20;nbdev=1.0)",)),
    Case("donchian(20)", ("DONCHIAN.upperband", "DONCHIAN.middleband", "DONCHIAN.lowerband")),
]  # fmt: skip

_SEEDS = "TA-Lib starts this average from another seed; the two meet"
SKENDER = {
    "ad": [Case("ad", ("adl",))],
    "adx": [Case("adx(14)", ("adx",), 1e-8, 350, _SEEDS), Case("plus_di(14)", ("pdi",), 1e-8, 300, _SEEDS),
            Case("minus_di(14)", ("mdi",), 1e-8, 300, _SEEDS)],
    "atr": [Case("atr(14)", ("atr",)), Case("natr(14)", ("atrp",))],
    "bb": [Case("bbands(20,2)", ("upperBand", "sma", "lowerBand")), Case("bb_width(20,2)", ("width",)),
           Case("bb_percent_b(20,2)", ("percentB",))],
    "cci": [Case("cci(20)", ("cci",))],
    "chaikin-osc": [Case("adosc(3,10)", ("oscillator",), 1e-9, 150, _SEEDS)],
    "cmf": [Case("cmf(20)", ("cmf",))],
    "cmo": [Case("cmo(14)", ("cmo",))],
    "dema": [Case("dema(14)", ("dema",), 1e-9, 250, _SEEDS)],
    "ema": [Case("ema(20)", ("ema",))],
    "hma": [Case("hma(14)", ("hma",))],
    "ichimoku": [Case("ichimoku(9,26,52)", ("tenkanSen", "kijunSen", "senkouSpanA", "senkouSpanB"))],
    "kama": [Case("kama(10)", ("kama",))],
    "keltner": [Case("keltner(20,10,2)", ("upperBand", "centerline", "lowerBand"))],
    "macd": [Case("macd(12,26,9)", ("macd", "signal", "histogram"), 1e-9, 350, _SEEDS)],
    "mfi": [Case("mfi(14)", ("mfi",))],
    "roc": [Case("roc(14)", ("roc",)), Case("mom(14)", ("momentum",))],
    "rsi": [Case("rsi(14)", ("rsi",))],
    "sma": [Case("sma(20)", ("sma",))],
    "stdev": [Case("stddev(14)", ("stdDev",))],
    "stoch-rsi": [Case("stochrsi(14,14,1,3)", ("stochRsi", "signal"))],
    "stoch": [Case("stoch(14,3,3)", ("oscillator", "signal"))],
    "supertrend": [Case("supertrend(10,3)", ("superTrend", None))],
    "trix": [Case("trix(14)", ("trix",), 1e-9, 300, _SEEDS)],
    "uo": [Case("uo(7,14,28)", ("ultimate",))],
    "vwma": [Case("vwma(14)", ("vwma",))],
    "willr": [Case("willr(14)", ("williamsR",))],
    "wma": [Case("wma(14)", ("wma",))],
}  # fmt: skip

CHARTS = [
    ("lean/spy_with_indicators.txt.gz", Case("rsi(14)", ("RSI 14 Wilder",), 1e-6, why="seven digits")),
    ("lean/spy_with_indicators.txt.gz", Case("sma(14)", ("SMA14",), 1e-6, why="two decimals")),
    ("stockcharts_ta/cs-atr.csv", Case("atr(14)", ("ATR",), 0.02, 25, "its average starts from the first bar's range, which has no true range")),
    ("stockcharts_ta/cs-cci.csv", Case("cci(20)", ("CCI",), 1e-3, why="computed from typical prices of four decimals")),
    ("stockcharts_ta/cs-mfi.csv", Case("mfi(14)", ("MFI",), 1e-5, why="five decimals")),
    ("stockcharts_ta/cs-roc.csv", Case("roc(12)", ("ROC",), 1e-6, why="eight decimals")),
    ("stockcharts_ta/cs-bbands.csv", Case("bbands(20,2)", ("HighBand", "MiddleBand", "LowBand"), 1e-6, why="six decimals")),
    ("stockcharts_ta/cs-bbands.csv", Case("bb_percent_b(20,2)", ("PercentageBand",), 1e-5, why="six decimals")),
    ("lean/spy_bollinger_bands.txt.gz", Case("bb_percent_b(20,2)", ("%B",), 1e-3, why="four decimals")),
    ("lean/spy_atr_wilder.txt.gz", Case("atr(14)", ("Average True Range 14",), 1e-4, 100, "the platform that drew it started earlier")),
]  # fmt: skip

ELSEWHERE = {"bb_width", "hv", "vroc", "vwap", "volume_sma", "donchian", "obv"}
"""Compared in tests of their own below: a shift, a unit or a derived value stands between the source and them."""


def test_every_indicator_is_held_against_values_computed_by_others():
    cases = [*TALIB, *(case for cases in SKENDER.values() for case in cases), *(case for _, case in CHARTS)]
    covered = {parse_spec(case.spec).indicator.name for case in cases} | ELSEWHERE
    assert covered == set(REGISTRY)


def bars_of(frame: pl.DataFrame, timeframe: Timeframe = Timeframe.D1) -> Ohlcv:
    """Columns a source lacks are its close, and volume 0; without times the bars are days from the epoch on."""
    frame = frame.rename(
        {name: name.lower() for name in frame.columns if name.lower() in {"open", "high", "low", "close", "volume"}}
    )
    close = frame["close"]
    have = {name: frame[name] if name in frame.columns else close for name in ("open", "high", "low", "close")}
    volume = frame["volume"] if "volume" in frame.columns else close * 0
    time = frame["open_time"] if "open_time" in frame.columns else pl.Series(range(frame.height)) * 86_400_000_000
    return Ohlcv.from_frame(
        pl.DataFrame({"open_time": time.cast(pl.Datetime("us", "UTC")), **have, "volume": volume}), timeframe=timeframe
    )


@pytest.fixture(scope="session", params=["GOOG_1d", "ETH_BTC_5m"])
def talib_run(request, reference: Path) -> tuple[pl.DataFrame, Ohlcv]:
    with gzip.open(reference / "expected" / "talib" / f"{request.param}.csv.gz") as file:
        frame = pl.read_csv(file.read(), infer_schema_length=None)
    unit = pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC")
    timeframe = Timeframe.parse(request.param.rpartition("_")[2])
    return frame, bars_of(frame.with_columns(open_time=unit), timeframe)


def floats(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


@pytest.mark.parametrize("case", TALIB, ids=str)
def test_equals_talib(case, talib_run):
    frame, bars = talib_run
    case.check(bars, lambda column: floats(frame, column))


@pytest.fixture(scope="session")
def skender(reference: Path) -> Path:
    return reference / "indicators" / "skender"


@pytest.fixture(scope="session")
def skender_bars(skender: Path) -> Ohlcv:
    return bars_of(pl.read_csv(skender / "quotes" / "default.csv"))


def skender_column(folder: Path, name: str, column: str) -> np.ndarray:
    with gzip.open(folder / "results" / f"{name}.standard.json.gz") as file:
        return np.array([np.nan if row[column] is None else row[column] for row in json.load(file)], dtype=float)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in SKENDER.items() for case in cases], ids=str)
def test_equals_stock_indicators(name, case, skender, skender_bars):
    file = "adl" if name == "ad" else name
    case.check(skender_bars, lambda column: skender_column(skender, file, column))


@pytest.mark.parametrize(("file", "case"), CHARTS, ids=str)
def test_equals_charts(file, case, reference):
    path = reference / "indicators" / file
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    frame = pl.read_csv(text, infer_schema_length=None, truncate_ragged_lines=True)
    case.check(bars_of(frame), lambda column: floats(frame, column))


def test_donchian_of_the_bars_before_is_the_one_of_the_bar_before(skender, skender_bars):
    """Stock.Indicators leaves the bar itself out of its window; charts and TA-Lib count it in."""
    for ours, name in zip(
        parse_spec("donchian(20)").evaluate(skender_bars), ("upperBand", "centerline", "lowerBand"), strict=True
    ):
        theirs = skender_column(skender, "donchian", name)
        np.testing.assert_allclose(ours[19:-1], theirs[20:], rtol=1e-12)


def test_obv_equals_stock_indicators_but_for_the_first_volume(skender, skender_bars):
    """Stock.Indicators starts from 0, TA-Lib from the first bar's volume."""
    (ours,) = parse_spec("obv").evaluate(skender_bars)
    np.testing.assert_allclose(ours - skender_bars.volume[0], skender_column(skender, "obv", "obv"), rtol=1e-12)


def test_sar_equals_stock_indicators_but_on_one_reversal(skender, skender_bars):
    """It seeds the first trend from another extreme. On a reversal TA-Lib also keeps the stop off that bar's range."""
    (ours,) = parse_spec("sar(0.02,0.2)").evaluate(skender_bars)
    theirs = skender_column(skender, "psar", "sar")
    differ = 60 + np.flatnonzero(~np.isclose(ours[60:], theirs[60:], rtol=1e-9))
    assert differ.tolist() == [250]
    assert ours[250] == skender_bars.low[250] < theirs[250]


def test_bb_width_equals_stockcharts_percentages(reference):
    frame = pl.read_csv(reference / "indicators" / "stockcharts_ta" / "cs-bbands.csv")
    (ours,) = parse_spec("bb_width(20,2)").evaluate(bars_of(frame))
    theirs = floats(frame, "WidthBand")
    rows = np.isfinite(theirs)
    np.testing.assert_allclose(100 * ours[rows], theirs[rows], rtol=1e-6)


def test_volume_sma_is_what_relative_volume_divides_by(talib_run):
    """TA-Lib's RVOL is volume over the mean of the bars before it."""
    frame, bars = talib_run
    (ours,) = parse_spec("volume_sma(20)").evaluate(bars)
    relative = floats(frame, "RVOL")
    rows = np.flatnonzero(relative > 0)
    np.testing.assert_allclose(ours[rows - 1], bars.volume[rows] / relative[rows], rtol=1e-9)


def test_vwap_of_each_day_is_the_difference_of_cumulative_ones(talib_run):
    """TA-Lib's VWAP never restarts: multiplied by cumulative volume it gives the value traded up to each bar."""
    frame, bars = talib_run
    (ours,) = parse_spec("vwap").evaluate(bars)
    volume = np.cumsum(bars.volume)
    value = floats(frame, "VWAP") * volume
    day = bars.open_time // 86_400_000_000
    before = np.searchsorted(day, day) - 1
    value_before, volume_before = (np.where(before < 0, 0.0, total[before]) for total in (value, volume))
    traded = volume > volume_before
    expected = (value - value_before)[traded] / (volume - volume_before)[traded]
    # The subtraction loses digits where a day has hardly begun; the first day has nothing to subtract.
    np.testing.assert_allclose(ours[traded], expected, rtol=1e-6)
    first = day == day[0]
    np.testing.assert_allclose(ours[first], floats(frame, "VWAP")[first], rtol=1e-9)


def tulip(reference: Path, name: str) -> list[np.ndarray]:
    """Rows of numbers of one test of Tulip Indicators: its inputs, then its outputs, which start after the warm-up."""
    text = (reference / "indicators" / "tulip" / "untest.txt").read_text()
    block = re.search(rf"^{re.escape(name)}\n((?:\{{.*\}}\n)+)", text, re.MULTILINE)
    assert block
    return [np.array([float(value) for value in line[1:-1].split(",")]) for line in block[1].splitlines()]


def test_vroc_is_tulips_rate_of_change_applied_to_volume(reference):
    series, expected = tulip(reference, "roc 5")
    frame = pl.DataFrame({"close": series, "volume": series})
    (ours,) = parse_spec("vroc(5)").evaluate(bars_of(frame))
    np.testing.assert_allclose(ours[5:] / 100, expected, atol=5e-4)  # it prints a fraction of three decimals


def test_historical_volatility_is_near_tulips(reference):
    """Tulip takes simple returns and the population deviation, of 252 days: log returns differ in the second digit."""
    close, expected = tulip(reference, "volatility 5")
    bars = bars_of(pl.DataFrame({"close": close}))
    (ours,) = parse_spec("hv(5)").evaluate(bars)
    np.testing.assert_allclose(ours[5:] * (252 / 365 * 4 / 5) ** 0.5, expected, rtol=0.02)


def test_historical_volatility_equals_the_textbook():
    """J. Hull, Options, Futures, and Other Derivatives, ch. 15: 21 closes, 1.216 % a day, 19.3 % a year of 252 days."""
    close = [20.00, 20.10, 19.90, 20.00, 20.50, 20.25, 20.90, 20.90, 20.90, 20.75, 20.75, 21.00, 21.10, 20.90, 20.90,
             21.25, 21.40, 21.40, 21.25, 21.75, 22.00]  # fmt: skip
    bars = bars_of(pl.DataFrame({"close": close}))
    (ours,) = parse_spec("hv(20)").evaluate(bars)
    assert ours[-1] / 365**0.5 == pytest.approx(0.01216, abs=5e-6)
    assert ours[-1] * (252 / 365) ** 0.5 == pytest.approx(0.193, abs=5e-4)
