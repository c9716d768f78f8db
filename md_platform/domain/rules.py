"""Validation rules as data, with two interpreters: polars for batches, plain Python for one live row."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """`column` compares so to every one of `others` (columns or numbers), else the row is quarantined as `name`.

    A null in `column` breaks the rule unless `null_passes`; NaN and infinities always break it, and so does a null or
    NaN in one of `others`.
    """

    name: str
    column: str
    compare: str
    others: tuple[str | float, ...]
    null_passes: bool = False


BAR_RULES = (
    Rule("open_not_positive", "open", ">", (0.0,)),
    Rule("high_not_positive", "high", ">", (0.0,)),
    Rule("low_not_positive", "low", ">", (0.0,)),
    Rule("close_not_positive", "close", ">", (0.0,)),
    Rule("high_below_body", "high", ">=", ("open", "close", "low")),
    Rule("low_above_body", "low", "<=", ("open", "close")),
    Rule("volume_negative", "volume", ">=", (0.0,)),
    Rule("quote_volume_negative", "quote_volume", ">=", (0.0,), null_passes=True),
    Rule("trade_count_negative", "trade_count", ">=", (0.0,), null_passes=True),
    Rule("taker_buy_volume_above_volume", "taker_buy_volume", "<=", ("volume",), null_passes=True),
)

TRADE_RULES = (
    Rule("price_not_positive", "price", ">", (0.0,)),
    Rule("size_not_positive", "size", ">", (0.0,)),
    Rule("trade_count_not_positive", "trade_count", ">", (0.0,)),
)


def broken_rule(rules: tuple[Rule, ...]) -> pl.Expr:
    """Name of the first rule that a row breaks, null where it keeps all: the batch interpreter."""
    verdict = pl.lit(None, pl.String)
    for rule in reversed(rules):
        value = pl.col(rule.column)
        kept = pl.all_horizontal(
            value.cast(pl.Float64).is_finite(),
            *(_COMPARE[rule.compare](value, pl.col(o) if isinstance(o, str) else pl.lit(o)) for o in rule.others),
            # to polars NaN is greater than all numbers, to Python it compares to none
            *(pl.col(o).cast(pl.Float64).is_not_nan() for o in rule.others if isinstance(o, str)),
        ).fill_null(False)
        if rule.null_passes:
            kept = kept | value.is_null()
        verdict = pl.when(kept).then(verdict).otherwise(pl.lit(rule.name))
    return verdict.alias("rule")


def broken_rule_of(row: Mapping[str, float | None], rules: tuple[Rule, ...]) -> str | None:
    """Name of the first rule that `row` breaks, or None: the live interpreter of the same table."""
    for rule in rules:
        value = row[rule.column]
        if value is None:
            if rule.null_passes:
                continue
            return rule.name
        if not math.isfinite(value):
            return rule.name
        for other in rule.others:
            bound = row[other] if isinstance(other, str) else other
            if bound is None or not _COMPARE[rule.compare](value, bound):
                return rule.name
    return None
