"""Bars in the shapes that others read: TradingView's UDF (Universal Data Feed) and ccxt's ohlcv.

UDF: https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF. Times there are seconds since the
epoch, `from` inclusive, `to` exclusive, and `countback` bars before `to` are wanted whatever `from` says.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from md_platform.catalog.instruments import Reference
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.errors import InvalidTimeframe
from md_platform.serving.bars import BarAnswer, BarQuery, Bars

RESOLUTIONS: dict[str, Timeframe] = {
    "1S": Timeframe.S1,
    "1": Timeframe.M1,
    "5": Timeframe.M5,
    "15": Timeframe.M15,
    "30": Timeframe.M30,
    "60": Timeframe.H1,
    "240": Timeframe.H4,
    "1D": Timeframe.D1,
    "1W": Timeframe.W1,
    "1M": Timeframe.MONTH1,
}
_SHORT = {"S": "1S", "D": "1D", "W": "1W", "M": "1M"}
_DECIMALS = 8
_SPANS = (1, 4, 16, 64)


def resolution(text: str) -> Timeframe:
    """The timeframe that UDF calls `text`; InvalidTimeframe."""
    try:
        return RESOLUTIONS[_SHORT.get(text, text)]
    except KeyError:
        raise InvalidTimeframe(f"resolution must be one of {' '.join(RESOLUTIONS)}, was {text!r}") from None


def symbol_info(known: Reference) -> dict[str, Any]:
    """What `/symbols` says of an instrument. Its ticker is the canonical id."""
    minmov, pricescale = _steps(known.tick_size)
    symbol = known.id.partition(":")[2]
    return {
        "name": symbol,
        "full_name": known.id,
        "ticker": known.id,
        "description": known.name or f"{symbol} on {known.venue}",
        "type": known.asset_class,
        "exchange": known.venue,
        "listed_exchange": known.venue,
        "session": "24x7",
        "timezone": "Etc/UTC",
        "format": "price",
        "minmov": minmov,
        "pricescale": pricescale,
        "has_intraday": True,
        "has_seconds": True,
        "seconds_multipliers": ["1"],
        "intraday_multipliers": [each for each in RESOLUTIONS if each.isdigit()],
        "has_daily": True,
        "daily_multipliers": ["1"],
        "has_weekly_and_monthly": True,
        "weekly_multipliers": ["1"],
        "monthly_multipliers": ["1"],
        "supported_resolutions": list(RESOLUTIONS),
        "volume_precision": _DECIMALS,
        "currency_code": known.quote or "",
        "data_status": "streaming",
        **({"expired": True, "expiration_date": _expiry(known)} if known.status == "delisted" else {}),
    }


def found_symbol(known: Reference) -> dict[str, str]:
    """One result of `/search`."""
    info = symbol_info(known)
    return {"symbol": info["name"], **{n: info[n] for n in ("full_name", "ticker", "description", "exchange", "type")}}


@dataclass(frozen=True, slots=True)
class Window:
    """What a chart asks for: bars that open in `interval`, and not fewer than `countback` before its end."""

    instrument: str
    timeframe: Timeframe
    interval: Interval
    countback: int = 0


def udf_history(bars: Bars, window: Window) -> tuple[dict[str, Any], BarAnswer]:
    """The answer of `/history`: columns, or `no_data` with the time of the nearest bar before, and what it is from."""
    answer = _last_bars(bars, window)
    if answer.rows.is_empty():
        before = bars.last_before(window.instrument, window.timeframe, window.interval.start)
        told: dict[str, Any] = {"s": "no_data"}
        return (told if before is None else {**told, "nextTime": int(before.timestamp())}), answer
    rows = answer.rows
    columns = zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True)
    seconds = rows["open_time"].dt.epoch("s").to_list()
    return {"s": "ok", "t": seconds, **{short: rows[name].to_list() for short, name in columns}}, answer


def _last_bars(bars: Bars, window: Window) -> BarAnswer:
    """Bars of the window, begun earlier where it holds fewer than `countback`."""
    end, start = window.interval.end, window.interval.start
    length = window.timeframe.close_time(window.timeframe.open_time(end)) - window.timeframe.open_time(end)
    answer = bars.read(BarQuery(window.instrument, window.timeframe, window.interval))
    if not window.countback:
        return answer
    for factor in _SPANS:
        if answer.rows.height >= window.countback:
            break
        try:
            earlier = end - window.countback * length * factor
        except OverflowError:
            break
        if earlier < start:
            start = earlier
            answer = bars.read(BarQuery(window.instrument, window.timeframe, Interval(start, end)))
    return BarAnswer(answer.rows.tail(window.countback), answer.version, answer.is_degraded)


def ccxt_ohlcv(rows: pl.DataFrame) -> Sequence[tuple[Any, ...]]:
    """Bars as ccxt's fetch_ohlcv gives them: [ms since the epoch, open, high, low, close, volume], oldest first."""
    values = rows.select(pl.col("open_time").dt.epoch("ms"), "open", "high", "low", "close", "volume")
    return values.rows()


def _steps(tick_size: float | None) -> tuple[int, int]:
    """minmov and pricescale: a price moves by minmov / pricescale."""
    if tick_size is None:
        return 1, 10**_DECIMALS
    for decimals in range(_DECIMALS + 1):
        steps = tick_size * 10**decimals
        if round(steps) >= 1 and math.isclose(steps, round(steps)):
            return round(steps), 10**decimals
    return 1, 10**_DECIMALS


def _expiry(known: Reference) -> int:
    return int((known.delisted_at or dt.datetime.now(dt.UTC)).timestamp())
