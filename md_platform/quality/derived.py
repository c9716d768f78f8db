"""Stored rows in, the columns that expectations judge beside the stored ones out. Rows come in their stored order.

Every partition is a world of its own: its first row has none before it, its scores know no other's values. numpy
inside: the dozen small steps of a score over one day cost polars 0.3 ms to plan and numpy 0.02 ms to do.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from md_platform.quality.partitions import Flags, Groups, Partitions

Values = npt.NDArray[np.float64]
Instants = npt.NDArray[np.datetime64]

MIN_SAMPLE = 30
"""Fewer values than this have no outliers: a robust scale of a handful of bars says nothing."""

_EPOCH = np.datetime64(0, "us")
_MICROSECOND = np.timedelta64(1, "us")
_SECOND = np.timedelta64(1, "s")
_MINUTE = np.timedelta64(1, "m")


def robust_z(values: Values) -> Values:
    """Modified z-score (x - median) / scale; NaN for NaN, for under MIN_SAMPLE values and where most are equal.

    The scale is MAD / 0.6745 (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993), or Q90(|x - median|) /
    1.6449 where that is larger: both estimate the same sigma of a normal distribution, and the second keeps illiquid
    hours, whose MAD is all but zero, from making every trade an outlier.
    """
    known = np.sort(values[np.isfinite(values)])
    if known.size < MIN_SAMPLE:
        return np.full_like(values, np.nan)
    median = (known[known.size // 2] + known[(known.size - 1) // 2]) / 2
    distance = np.sort(np.abs(known - median))
    scale = max(distance[distance.size // 2] / 0.6745, distance[distance.size * 9 // 10] / 1.6449)
    if scale == 0:
        return np.full_like(values, np.nan)
    scored: Values = (values - median) / scale
    return scored


def _scored(values: Values, groups: Groups) -> Values:
    """Robust z of each value among those of its group."""
    result = np.full_like(values, np.nan)
    for group in groups:
        result[group] = robust_z(values[group])
    return result


def _floats(parts: Partitions, name: str) -> Values:
    values = parts.rows[name]
    if not (values.dtype.is_numeric() or values.dtype == pl.Null):
        raise TypeError(f"{name} must be of numbers, was {values.dtype}")  # numpy would read text, where it can
    return np.asarray(values.to_numpy(), np.float64)


def _instants(parts: Partitions, name: str) -> Instants:
    values = parts.rows[name]
    if not isinstance(values.dtype, pl.Datetime):
        raise TypeError(f"{name} must be of times, was {values.dtype}")
    instants: Instants = values.to_numpy()
    return instants


def _moved(parts: Partitions, values: Values) -> Flags:
    """Whether each value differs from the one before; the first of a partition does."""
    moved = parts.each.begins.copy()
    moved[1:] |= values[1:] != values[:-1]
    return moved


def _log_ratio(numerator: Values, denominator: Values, judged: Flags) -> Values:
    result = np.full_like(numerator, np.nan)
    judged = judged & (numerator > 0) & (denominator > 0)
    with np.errstate(
        divide="ignore", over="ignore"
    ):  # a ratio too small or large for a float is an outlier, no warning
        result[judged] = np.log(numerator[judged] / denominator[judged])
    return result


def _changes(parts: Partitions, price: Values, judged: Flags) -> Values:
    """Log change against the price before, NaN where there is none, where it stood still or is not judged."""
    return _log_ratio(price, np.roll(price, 1), judged & ~parts.each.begins & _moved(parts, price))


def _rows_since(moved: Flags, counted: Flags) -> Values:
    """How many counted rows have come since the last one that moved; NaN on rows that do not count."""
    total = np.cumsum(counted)
    return np.where(counted, total - np.maximum.accumulate(np.where(moved, total, 0)), np.nan)


def _traded(parts: Partitions) -> Flags:
    return _floats(parts, "volume") > 0


def _bar_changes(parts: Partitions) -> Values:
    follows = _instants(parts, "open_time") == np.roll(_instants(parts, "close_time"), 1)
    return _changes(parts, _floats(parts, "close"), follows & _traded(parts))


def _bar_ranges(parts: Partitions) -> Values:
    return _log_ratio(_floats(parts, "high"), _floats(parts, "low"), _traded(parts))


def _bar_stale_run(parts: Partitions) -> Values:
    moved = parts.each.begins.copy()
    for name in ("open", "high", "low", "close"):
        moved |= _moved(parts, _floats(parts, name))
    return _rows_since(moved, _traded(parts))


def _taker_buy_share(parts: Partitions) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _floats(parts, "taker_buy_volume") / _floats(parts, "volume")


def _trade_changes(parts: Partitions) -> Values:
    price = _floats(parts, "price")
    return _changes(parts, price, np.ones_like(parts.each.begins))


def _trade_stale_run(parts: Partitions) -> Values:
    return _rows_since(_moved(parts, _floats(parts, "price")), np.ones_like(parts.each.begins))


def _seconds_since_previous(parts: Partitions) -> Values:
    opened = _instants(parts, "open_time")
    result = np.full(opened.size, np.nan)
    groups = parts.each_timeframe
    follows = ~groups.begins[1:]
    result[groups.order[1:][follows]] = (np.diff(opened[groups.order]) / _SECOND)[follows]
    return result


def _infinite_values(parts: Partitions) -> Values:
    counted = np.zeros(parts.rows.height)
    for name, dtype in parts.rows.schema.items():
        if dtype.is_float() and parts.rows[name].is_infinite().any():
            counted += np.isinf(_floats(parts, name))
    return counted


def _microseconds_off_grid(parts: Partitions) -> Values:
    off: Values = (_instants(parts, "open_time") - _EPOCH) % _MINUTE / _MICROSECOND
    return off


Derive = Callable[[Partitions], Values]

_MINUTE_BARS: dict[str, Derive] = {
    "return_z": lambda parts: _scored(_bar_changes(parts), parts.each),
    "range_z": lambda parts: _scored(_bar_ranges(parts), parts.each),
    "stale_run": _bar_stale_run,
    "taker_buy_share": _taker_buy_share,
    "microseconds_off_grid": _microseconds_off_grid,
}

DERIVED: dict[str, dict[str, Derive]] = {
    "cleaned_bars": _MINUTE_BARS,
    "trade_bars": _MINUTE_BARS,
    "resampled_bars": {
        "return_z": lambda parts: _scored(_bar_changes(parts), parts.each_timeframe),
        "range_z": lambda parts: _scored(_bar_ranges(parts), parts.each_timeframe),
        "stale_run": _bar_stale_run,
        "taker_buy_share": _taker_buy_share,
        "seconds_since_previous": _seconds_since_previous,
    },
    "weekly_bars": {"taker_buy_share": _taker_buy_share},
    "monthly_bars": {"taker_buy_share": _taker_buy_share},
    "cleaned_trades": {
        "return_z": lambda parts: _scored(_trade_changes(parts), parts.each),
        "stale_run": _trade_stale_run,
    },
    "indicators": {
        "seconds_since_previous": _seconds_since_previous,
        "infinite_values": _infinite_values,
    },
}
"""Derived columns of each dataset:

- `return_z`: robust z of the log change, where there is one, of bars with trades or of trades, against the one before
- `range_z`: robust z of log(high / low) of bars with trades: a bad print in a wick
- `stale_run`: bars with trades (or trades) since open, high, low or close (or the price) last changed
- `taker_buy_share`: taker_buy_volume / volume
- `microseconds_off_grid`: how far open_time lies past its minute
- `seconds_since_previous`: time since the row before of the same timeframe
- `infinite_values`: indicator values of the row that are infinite
"""


def derive(dataset: str, name: str, parts: Partitions) -> pl.Series:
    """The derived column `name` of a dataset's rows; null where it is not defined.

    PolarsError or TypeError where a column that it needs is absent or of another type, whatever the rows hold.
    """
    return pl.Series(name, DERIVED[dataset][name](parts), nan_to_null=True)
