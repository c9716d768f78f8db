"""What the columns of an imported table mean: by their names, or by position and content where there is no header.

The vocabulary and the layouts are data below. A table that fits none is InvalidFile, with what it needs and what it
has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from md_platform.errors import InvalidFile
from md_platform.sources.file_tables import Table
from md_platform.sources.file_times import UNITS

Kind = Literal["bars", "trades"]

NEEDED: dict[Kind, tuple[str, ...]] = {
    "bars": ("time", "open", "high", "low", "close", "volume"),
    "trades": ("time", "price", "size"),
}
_NEEDS = {
    "bars": "bars need open high low close volume and a time column",
    "trades": "trades need price, size (or amount, quantity) and a time column",
}
_TIME_NAMES = (
    "timestamp timestampms timestamputc opentime time datetime date t ts unix unixtimestamp start starttime"
    " opentimestamp candletime createdat"
)
NAMES: dict[Kind, dict[str, str]] = {
    "bars": {
        "time": _TIME_NAMES,
        "open": "open o openprice 1open",
        "high": "high h highprice 2high max",
        "low": "low l lowprice 3low min",
        "close": "close c closeprice 4close last",
        "volume": "volume v vol basevolume volumebase 5volume 6volume amount",
        "quote_volume": "quotevolume quoteassetvolume volumequote turnover quoteamount qav",
        "trade_count": "tradecount numberoftrades trades numtrades count tradescount numtrade",
        "taker_buy_volume": "takerbuyvolume takerbuybaseassetvolume takerbuybasevolume takerbuybase tbbav",
        "taker_buy_quote_volume": "takerbuyquotevolume takerbuyquoteassetvolume takerbuyquote tbqav",
        "vwap": "vwap vw",
        "symbol": "symbol pair ticker instrument market",
    },
    "trades": {
        "time": f"tsevent tradetime {_TIME_NAMES}",
        "price": "price p px tradeprice",
        "size": "size qty quantity amount q volume vol v",
        "trade_id": "tradeid id tid aggtradeid aggregatetradeid a trdmatchid",
        "side": "takerside side aggressor aggressorside direction",
        "is_buyer_maker": "isbuyermaker buyermaker wasthebuyerthemaker m",
        "first_id": "firsttradeid firstid f",
        "last_id": "lasttradeid lastid l",
        "symbol": "symbol pair ticker instrument market",
    },
}
"""Names that a column may bear, in order of preference, in lower case without spaces and signs."""

_LAYOUTS: tuple[tuple[Kind, str], ...] = (
    (
        "bars",
        "time open high low close volume _time quote_volume trade_count taker_buy_volume taker_buy_quote_volume _",
    ),  # Binance klines
    ("bars", "time open high low close volume trade_count"),  # Kraken OHLCVT
    ("bars", "time open high low close volume"),  # ccxt, freqtrade
    ("trades", "trade_id price size first_id last_id time is_buyer_maker _bool"),  # Binance aggTrades, spot
    ("trades", "trade_id price size first_id last_id time is_buyer_maker"),  # Binance aggTrades, futures
    ("trades", "trade_id price size _number time is_buyer_maker _bool"),  # Binance trades, spot
    ("trades", "trade_id price size _number time is_buyer_maker"),  # Binance trades, futures
    ("trades", "time trade_id _ side price size _number"),  # freqtrade
    ("trades", "time price size"),  # Kraken
)
"""Columns by position; `_` is not read, `_time`, `_number`, `_bool` are not read and must look so."""

_LOOKS_LIKE = {"time": "time", "_time": "time", "side": "side", "is_buyer_maker": "bool", "_bool": "bool"}
_LOOKS_LIKE |= {"_": "any", "trade_id": "any"}
BUYS, SELLS = ("buy", "b", "buyer", "bought"), ("sell", "s", "seller", "sold")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SAMPLE = 200
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a table holds: `columns` maps our names to its columns."""

    kind: Kind
    columns: Mapping[str, str]


def meaning_of(table: Table, kind: Kind | None = None, columns: Mapping[str, str] | None = None) -> Meaning:
    """What the columns of `table` mean, where the user's `kind` and `columns` (ours to theirs) come first.

    InvalidFile where something needed is missing.
    """
    given = dict(columns or {})
    for ours, theirs in given.items():
        if theirs not in table.frame.columns:
            raise InvalidFile(f"{table.name} has no column {theirs!r} for {ours}; found: {_found(table)}")
    candidates = [kind] if kind else _kinds_of(given)
    meanings = [Meaning(k, {**_detected(table, k, given), **given}) for k in candidates]
    for meaning in meanings:
        if all(name in meaning.columns for name in NEEDED[meaning.kind]):
            return meaning
    needs = "; ".join(_NEEDS[k] for k in candidates)
    raise InvalidFile(f"{table.name}: {needs}; found: {_found(table)}")


def _kinds_of(given: Mapping[str, str]) -> list[Kind]:
    kinds: list[Kind] = ["bars", "trades"]
    fitting = [kind for kind in kinds if all(name in NAMES[kind] for name in given)]
    if not fitting:
        raise InvalidFile(
            f"columns must be names of bars ({' '.join(NAMES['bars'])}) or trades, were {' '.join(given)}"
        )
    return fitting


def _found(table: Table) -> str:
    names = " ".join(repr(name) if " " in name or not name else name for name in table.frame.columns)
    return names if table.has_header else f"{table.frame.width} columns without a header ({names})"


def _detected(table: Table, kind: Kind, given: Mapping[str, str]) -> dict[str, str]:
    if not table.has_header:
        return _by_position(table.frame, kind) if not given else {}
    found = _by_name(table.frame, kind)
    return {ours: theirs for ours, theirs in found.items() if theirs not in given.values()}


def _by_name(frame: pl.DataFrame, kind: Kind) -> dict[str, str]:
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(frame.columns)}
    found: dict[str, str] = {}
    for ours, names in NAMES[kind].items():
        theirs = next(
            (plain[name] for name in names.split() if name in plain and plain[name] not in found.values()), None
        )
        if theirs is not None:
            found[ours] = theirs
    if "time" not in found and frame.columns[0].strip() == "":
        found["time"] = frame.columns[0]
    return found


def _by_position(frame: pl.DataFrame, kind: Kind) -> dict[str, str]:
    for layout_kind, layout in _LAYOUTS:
        roles = layout.split()
        if layout_kind == kind and len(roles) == frame.width and _fits(frame.head(_SAMPLE), roles):
            return {r: c for r, c in zip(roles, frame.columns, strict=True) if not r.startswith("_")}
    return {}


def _fits(sample: pl.DataFrame, roles: list[str]) -> bool:
    """Whether most cells of each column look like its role, and highs and lows (of bars) are where they should be."""
    by_role = dict(zip(roles, sample.iter_columns(), strict=True))
    if not all(_looks_like(_LOOKS_LIKE.get(role, "number"), column) for role, column in by_role.items()):
        return False
    if "open" not in by_role:
        return True
    opened, high, low, close = (by_role[r].cast(pl.Float64, strict=False) for r in ("open", "high", "low", "close"))
    inside = (high >= opened) & (high >= close) & (low <= opened) & (low <= close)
    return inside.sum() > _MOSTLY * len(inside)


def _looks_like(what: str, column: pl.Series) -> bool:
    if what == "any":
        return True
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    match what:
        case "time":
            in_unit = [number.is_between(631_152_000 * t, 4_102_444_800 * t, closed="left") for t in UNITS.values()]
            good = sum(int(is_in.sum()) for is_in in in_unit) + int(text.str.contains(r"^\d{4}-\d{2}-\d{2}").sum())
        case "bool":
            good = int(text.is_in(["true", "false"]).sum())
        case "side":
            good = int(text.is_in([*BUYS, *SELLS]).sum())
        case _:
            good = int(number.is_not_null().sum())
    return good > _MOSTLY * len(column)
