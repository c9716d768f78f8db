"""One expectation in, its polars form out: which rows break it, as Great Expectations' pandas engine counts them.

Rows are those of several partitions, told apart by their column PARTITION. Float columns come with NaN turned into
null, which is what pandas makes of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from md_platform.domain.schemas import INSTANT
from md_platform.errors import InvalidSetting
from md_platform.quality.contract import Expectation
from md_platform.quality.partitions import PARTITION

_DTYPES: dict[str, pl.DataType] = {
    "float64": pl.Float64(),
    "int64": pl.Int64(),
    "bool": pl.Boolean(),
    "str": pl.String(),
    "Timestamp": INSTANT,
}
"""pandas' names of types, as suites write them, and the polars types that become them."""


@dataclass(frozen=True, slots=True)
class OnRows:
    """Flagged row by row: of the rows `considered`, those that are `violations` break the expectation; null is false.

    `surely_kept` is a cheap proof that no row does, in whichever partition: where it is true, nothing needs to be
    counted. Most days of most instruments are clean, and a minimum costs a tenth of a filtered count.
    """

    columns: tuple[str, ...]
    violations: pl.Expr
    considered: pl.Expr
    surely_kept: Callable[[pl.DataFrame], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class OnSchema:
    """Known from the schema alone: how many columns break the expectation."""

    columns: tuple[str, ...]
    violations: Callable[[pl.Schema], int]


@dataclass(frozen=True, slots=True)
class OnHeight:
    """Known from how many rows a partition has: by how many it breaks the expectation."""

    columns: tuple[str, ...]
    violations: Callable[[int], int]


Compiled = OnRows | OnSchema | OnHeight


def compile_expectation(file: str, expectation: Expectation) -> Compiled:
    """The polars form of one expectation; InvalidSetting for a type or argument that has none, never a silent skip."""
    known = _COMPILERS.get(expectation.type)
    if known is None:
        raise InvalidSetting(
            f"{file}: type of {expectation.id} must be one of {' '.join(sorted(_COMPILERS))}, was {expectation.type!r}"
        )
    kwargs = {name: value for name, value in expectation.kwargs.items() if name != "mostly"}
    if "mostly" in expectation.kwargs and expectation.type in _WITHOUT_MOSTLY:
        raise InvalidSetting(f"{file}: {expectation.id} ({expectation.type}) takes no mostly")
    try:
        return known(**kwargs)
    except (TypeError, ValueError) as error:
        raise InvalidSetting(f"{file}: kwargs of {expectation.id} ({expectation.type}): {error}") from None


def _columns_match_set(*, column_set: Sequence[str], exact_match: bool = True) -> OnSchema:
    wanted = set(column_set)

    def violations(schema: pl.Schema) -> int:
        present = set(schema)
        return len(wanted ^ present) if exact_match else len(wanted - present)

    return OnSchema((), violations)


def _columns_match_ordered_list(*, column_list: Sequence[str]) -> OnSchema:
    wanted = list(column_list)

    def violations(schema: pl.Schema) -> int:
        present = schema.names()
        moved = sum(a != b for a, b in zip(wanted, present, strict=False))
        return moved + abs(len(wanted) - len(present))

    return OnSchema((), violations)


def _of_type(*, column: str, type_: str) -> OnSchema:
    if type_ not in _DTYPES:
        raise ValueError(f"type_ must be one of {' '.join(_DTYPES)}, was {type_!r}")
    return OnSchema((column,), lambda schema: int(schema[column] != _DTYPES[type_]))


def _row_count_between(*, min_value: int | None = None, max_value: int | None = None) -> OnHeight:
    least, most = _bounds(min_value, max_value)

    def violations(rows: int) -> int:
        below = 0 if least is None else least - rows
        above = 0 if most is None else rows - most
        return int(max(below, above, 0))

    return OnHeight((), violations)


def _not_null(*, column: str) -> OnRows:
    value = pl.col(column)
    return OnRows((column,), value.is_null(), _every(value), lambda rows: not rows[column].null_count())


def _between(
    *,
    column: str,
    min_value: float | None = None,
    max_value: float | None = None,
    strict_min: bool = False,
    strict_max: bool = False,
) -> OnRows:
    least, most = _bounds(min_value, max_value)
    value = pl.col(column)
    broken = []
    if least is not None:
        broken.append(value <= least if strict_min else value < least)
    if most is not None:
        broken.append(value >= most if strict_max else value > most)

    def surely_kept(rows: pl.DataFrame) -> bool:
        low: Any = rows[column].min()
        high: Any = rows[column].max()
        if low is None:
            return True
        above = least is None or low > least or (low == least and not strict_min)
        return above and (most is None or high < most or (high == most and not strict_max))

    return _on_column(column, broken[0] if len(broken) == 1 else broken[0] | broken[1], surely_kept)


def _bounds(least: float | None, most: float | None) -> tuple[float | None, float | None]:
    for name, bound in (("min_value", least), ("max_value", most)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise ValueError(f"{name} must be a number, was {bound!r}")
    if least is None and most is None:
        raise ValueError("min_value or max_value must be given")
    if least is not None and most is not None and least > most:
        raise ValueError(f"min_value must not exceed max_value, was {least} and {most}")
    return least, most


def _in_set(*, column: str, value_set: Sequence[Any]) -> OnRows:
    values = list(value_set)

    def surely_kept(rows: pl.DataFrame) -> bool:
        kept = rows[column] == values[0] if len(values) == 1 else rows[column].is_in(values)
        return bool(kept.all())

    return _on_column(column, ~pl.col(column).is_in(values), surely_kept)


def _not_in_set(*, column: str, value_set: Sequence[Any]) -> OnRows:
    return _on_column(column, pl.col(column).is_in(list(value_set)))


def _unique(*, column: str) -> OnRows:
    repeated = pl.col(column).is_not_null() & pl.struct(PARTITION, column).is_duplicated()
    return _on_column(column, repeated, lambda rows: _distinct(rows[column]))


def _increasing(*, column: str, strictly: bool = False) -> OnRows:
    value = pl.col(column)
    before = value.forward_fill().shift().over(PARTITION)

    def surely_kept(rows: pl.DataFrame) -> bool:
        values = rows[column]
        return not values.null_count() and values.is_sorted() and (not strictly or _distinct(values))

    return _on_column(column, value <= before if strictly else value < before, surely_kept)


def _distinct(values: pl.Series) -> bool:
    return values.n_unique() == values.len()


def _on_column(column: str, broken: pl.Expr, surely_kept: Callable[[pl.DataFrame], bool] = lambda _: False) -> OnRows:
    return OnRows((column,), broken, pl.col(column).is_not_null(), surely_kept)


def _pair_greater(
    *,
    column_A: str,  # noqa: N803 - as Great Expectations calls it
    column_B: str,  # noqa: N803
    or_equal: bool = False,
    ignore_row_if: str = "both_values_are_missing",
) -> OnRows:
    a, b = pl.col(column_A), pl.col(column_B)
    considered = _considered((a, b), _PAIR_IGNORES, ignore_row_if)
    broken = a < b if or_equal else a <= b
    if ignore_row_if != "either_value_is_missing":
        broken = considered & broken.fill_null(True)

    def surely_kept(rows: pl.DataFrame) -> bool:
        first, second = rows[column_A], rows[column_B]
        if first.null_count() or second.null_count():
            return False
        return bool((first >= second if or_equal else first > second).all())

    return OnRows((column_A, column_B), broken, considered, surely_kept)


def _compound_unique(*, column_list: Sequence[str], ignore_row_if: str = "all_values_are_missing") -> OnRows:
    names = tuple(column_list)
    columns = tuple(pl.col(name) for name in names)
    considered = _considered(columns, _COMPOUND_IGNORES, ignore_row_if)
    repeated = considered & pl.struct(PARTITION, *columns).is_duplicated()

    def surely_kept(rows: pl.DataFrame) -> bool:
        last = rows[names[-1]]
        if last.is_sorted() and _distinct(last):
            return True
        hashes = np.sort(rows[list(names)].hash_rows().to_numpy())
        return bool((hashes[1:] != hashes[:-1]).all())  # for equal rows have equal hashes

    return OnRows(names, repeated, considered, surely_kept)


_PAIR_IGNORES = {"both_values_are_missing": "all", "either_value_is_missing": "any", "neither": "none"}
_COMPOUND_IGNORES = {"all_values_are_missing": "all", "any_value_is_missing": "any", "never": "none"}


def _considered(columns: tuple[pl.Expr, ...], meanings: dict[str, str], ignore_row_if: str) -> pl.Expr:
    if ignore_row_if not in meanings:
        raise ValueError(f"ignore_row_if must be one of {' '.join(meanings)}, was {ignore_row_if!r}")
    match meanings[ignore_row_if]:
        case "all":
            return pl.any_horizontal(column.is_not_null() for column in columns)
        case "any":
            return pl.all_horizontal(column.is_not_null() for column in columns)
        case _:
            return _every(columns[0])


def _every(column: pl.Expr) -> pl.Expr:
    """True for each row; a literal would be as long as no table."""
    return column.is_not_null() | True


_COMPILERS: dict[str, Callable[..., Compiled]] = {
    "expect_table_columns_to_match_set": _columns_match_set,
    "expect_table_columns_to_match_ordered_list": _columns_match_ordered_list,
    "expect_table_row_count_to_be_between": _row_count_between,
    "expect_column_values_to_be_of_type": _of_type,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_be_unique": _unique,
    "expect_column_values_to_be_increasing": _increasing,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
    "expect_compound_columns_to_be_unique": _compound_unique,
}

_WITHOUT_MOSTLY = {
    "expect_table_columns_to_match_set",
    "expect_table_columns_to_match_ordered_list",
    "expect_table_row_count_to_be_between",
    "expect_column_values_to_be_of_type",
}
"""Types of a table or a column as a whole. GX gives of_type a mostly, but not for typed pandas columns."""
