"""A suite and partitions' rows in, how often each expectation is broken in each out, in one pass and without GX."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from md_platform.errors import InvalidSetting
from md_platform.quality.contract import SUITES, Check, Expectation, Severity, Suite, Table, parse_suite, suite_text
from md_platform.quality.derived import DERIVED, derive
from md_platform.quality.expectations import Compiled, OnHeight, OnRows, OnSchema, compile_expectation
from md_platform.quality.expected import GRIDS, with_presence
from md_platform.quality.partitions import PARTITION, Partitions

Counts = dict[str, list[int]]
"""Rows of each partition, by expectation id."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One partition against its suite.

    `violations` has every expectation of the suite; `held` the share of rows that keep those that tolerate some
    (`mostly` under 1); `broken` those that are not met, with their severity. `missing` of `expected` have no row.
    `about_expected` are the expectations that count expected bars and not rows.
    """

    rows: int
    expected: int
    missing: int
    violations: Mapping[str, int]
    held: Mapping[str, float]
    broken: Mapping[str, Severity]
    about_expected: frozenset[str]

    def evidence(self) -> dict[str, int]:
        """Violations of what is broken, as JSON for the partition's evidence."""
        return {id_: self.violations[id_] for id_ in self.broken}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the expectations on tables of one schema are measured: known from it or from a height, or counted."""

    known: dict[str, int]
    by_height: dict[str, Callable[[int], int]]
    counted: dict[str, OnRows]


class CompiledSuite:
    """A suite compiled once: `measure_all` partitions or `measure` one, `tables` shows what is measured."""

    def __init__(self, suite: Suite) -> None:
        file = suite.file.name
        if suite.name not in GRIDS:
            raise InvalidSetting(f"{file}: a suite is of one of {' '.join(GRIDS)}, was {suite.name!r}")
        self.suite = suite
        self._compiled: dict[str, Compiled] = {e.id: compile_expectation(file, e) for e in suite.expectations}
        self._by_id: dict[str, Expectation] = {e.id: e for e in suite.expectations}
        self._mostly = {e.id: e.mostly for e in suite.expectations if e.mostly < 1}
        used = {name for e in suite.expectations if e.table == "rows" for name in self._compiled[e.id].columns}
        self._derived = tuple(name for name in DERIVED[suite.name] if name in used)
        self._used = frozenset(used)
        self._about_expected = frozenset(e.id for e in suite.expectations if e.table == "expected")
        self._plans: dict[tuple[object, ...], _Plan] = {}

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What the suite declares, in order."""
        return self.suite.expectations

    def tables(self, frame: pl.DataFrame, expected: pl.DataFrame) -> dict[Table, pl.DataFrame]:
        """What each expectation is measured on: rows as stored, rows with derived columns, expected bars.

        Great Expectations' own engines agree with `measure` on these tables.
        """
        tables = self._tables(Partitions.of([frame]), Partitions.of([expected]))
        return {name: parts.rows for name, parts in tables.items()}

    def _tables(self, stored: Partitions | None, expected: Partitions) -> dict[Table, Partitions]:
        tables: dict[Table, Partitions] = {"expected": with_presence(expected, stored, GRIDS[self.suite.name])}
        if stored is not None:
            tables |= {"stored": stored, "rows": self._with_derived(stored)}
        return tables

    def _with_derived(self, stored: Partitions) -> Partitions:
        frame = stored.rows
        floats = [name for name, dtype in frame.schema.items() if name in self._used and dtype.is_float()]
        if any(_has_nan(frame[name]) for name in floats):
            frame = frame.with_columns(pl.col(floats).fill_nan(None))
        derived = []
        for name in self._derived:
            try:
                derived.append(derive(self.suite.name, name, stored))
            except (pl.exceptions.PolarsError, TypeError):
                continue  # a column it needs is absent or of another type: its expectations count as broken
        return Partitions(frame.hstack(derived), stored.heights)

    def measure(self, frame: pl.DataFrame | None, expected: pl.DataFrame) -> Measurement:
        """Count the violations of every expectation in one partition: `measure_all` of it alone."""
        return self.measure_all([frame], [expected])[0]

    def measure_all(self, frames: Sequence[pl.DataFrame | None], expected: Sequence[pl.DataFrame]) -> list[Measurement]:
        """Count the violations of every expectation in each partition, in the order given.

        A frame has the dataset's columns in stored order, or is None where there is no file; `expected` has the
        `expected_table` of each partition. An expectation whose columns are absent, or of a type that it cannot be
        asked of, is broken by every row, and by at least one. All frames are in memory at once, and once more in part.
        """
        alike: dict[Hashable, list[int]] = {}
        for n, frame in enumerate(frames):
            alike.setdefault(None if frame is None else (*frame.columns, *frame.dtypes), []).append(n)
        measured: dict[int, Measurement] = {}
        for members in alike.values():
            there = [frame for n in members if (frame := frames[n]) is not None]
            wanted = Partitions.of([expected[n] for n in members])
            measured.update(zip(members, self._measured(Partitions.of(there) if there else None, wanted), strict=True))
        return [measured[n] for n in range(len(frames))]

    def _measured(self, stored: Partitions | None, expected: Partitions) -> list[Measurement]:
        partitions = expected.heights.size
        violations: Counts = {id_: [0] * partitions for id_ in self._by_id}
        considered: Counts = {}
        tables = self._tables(stored, expected)
        for table, parts in tables.items():
            self._count(table, parts, violations, considered)
        rows = [0] * partitions if stored is None else stored.heights.tolist()
        missing = tables["expected"].count(tables["expected"].rows["present"].is_null())
        return [
            self._measurement(rows[n], int(expected.heights[n]), missing[n], _of(violations, n), _of(considered, n))
            for n in range(partitions)
        ]

    def _measurement(
        self, rows: int, expected: int, missing: int, violations: dict[str, int], considered: dict[str, int]
    ) -> Measurement:
        held: dict[str, float] = {}
        broken: dict[str, Severity] = {}
        for id_, count in violations.items():
            kept = not count
            if id_ in self._mostly:
                asked = considered.get(id_, 0)
                held[id_] = (asked - count) / asked if asked else float(not count)  # 1.0 where nothing was counted
                kept = held[id_] >= self._mostly[id_]
            if not kept:
                broken[id_] = self._by_id[id_].severity
        return Measurement(rows, expected, missing, violations, held, broken, self._about_expected)

    def _count(self, table: Table, parts: Partitions, violations: Counts, considered: Counts) -> None:
        schema = parts.rows.schema
        key = (table, *schema.items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._planned(table, schema)
        heights: list[int] = parts.heights.tolist()
        violations.update({id_: [count] * len(heights) for id_, count in plan.known.items()})
        violations.update({id_: [of(height) for height in heights] for id_, of in plan.by_height.items()})
        doubtful = [(id_, compiled) for id_, compiled in plan.counted.items() if not compiled.surely_kept(parts.rows)]
        if doubtful:
            flagged = (
                expression.alias(f"{kind}{id_}")
                for id_, compiled in doubtful
                for kind, expression in (("v", compiled.violations), ("c", compiled.considered))
            )
            flags = parts.numbered().lazy().select(flagged).collect()  # lazy, to leave the other columns untouched
            for id_, _ in doubtful:
                violations[id_], considered[id_] = parts.count(flags[f"v{id_}"]), parts.count(flags[f"c{id_}"])

    def _planned(self, table: Table, schema: pl.Schema) -> _Plan:
        empty = schema.to_frame().with_columns(pl.lit(0).alias(PARTITION))
        plan = _Plan({}, {}, {})
        for expectation in self.expectations:
            if expectation.table != table:
                continue
            id_, compiled = expectation.id, self._compiled[expectation.id]
            if not set(compiled.columns) <= set(schema):
                plan.by_height[id_] = _every_row
            elif isinstance(compiled, OnSchema):
                plan.known[id_] = compiled.violations(schema)
            elif isinstance(compiled, OnHeight):
                plan.by_height[id_] = compiled.violations
            elif _can_count(empty, compiled):
                plan.counted[id_] = compiled
            else:
                plan.by_height[id_] = _every_row
        return plan


def _of(counts: Counts, partition: int) -> dict[str, int]:
    return {id_: rows[partition] for id_, rows in counts.items()}


def _every_row(height: int) -> int:
    """Violations of what cannot be asked of a partition's columns."""
    return max(height, 1)


def _can_count(empty: pl.DataFrame, compiled: OnRows) -> bool:
    try:
        empty.select(compiled.violations)
    except (pl.exceptions.PolarsError, TypeError):
        return False
    return True


def _has_nan(values: pl.Series) -> bool:
    total = values.sum()
    return total != total  # noqa: PLR0124 - NaN alone differs from itself, and any NaN makes the sum one


@lru_cache(maxsize=64)
def _compiled(file: Path, text: str) -> CompiledSuite:
    return CompiledSuite(parse_suite(file, text))


def load_suite(dataset: str, folder: Path = SUITES) -> CompiledSuite:
    """The suite of `dataset`, compiled; the JSON is read again at each call, and compiled again when it changed.

    InvalidSetting names the file and the expectation that cannot be understood.
    """
    file = folder / f"{dataset}.json"
    return _compiled(file, suite_text(file))


def own_checks(dataset: str) -> list[str]:
    """Names of the checks that the asset of `dataset` itself yields; empty for one without a suite, as `raw_bars`."""
    return list(check_names(dataset)) if dataset in GRIDS else []


def check_names(dataset: str, folder: Path = SUITES) -> dict[str, Check]:
    """The named checks of a dataset with severity and description, to declare asset checks from."""
    return load_suite(dataset, folder).suite.checks()
