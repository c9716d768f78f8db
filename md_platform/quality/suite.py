"""A suite and a partition's rows in, how often each expectation is broken out, in one pass and without GX."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from md_platform.errors import InvalidSetting
from md_platform.quality.contract import SUITES, Check, Expectation, Severity, Suite, Table, parse_suite, suite_text
from md_platform.quality.derived import DERIVED, derive
from md_platform.quality.expectations import Compiled, OnRows, OnSchema, compile_expectation
from md_platform.quality.expected import GRIDS, with_presence


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
    """How the expectations on tables of one schema are measured: known from it, counted, or impossible to ask."""

    known: dict[str, int]
    counted: tuple[tuple[str, OnRows], ...]
    unmeasurable: tuple[str, ...]


class CompiledSuite:
    """A suite compiled once: `measure` a partition, `tables` shows what is measured."""

    def __init__(self, suite: Suite) -> None:
        file = suite.file.name
        if suite.name not in GRIDS:
            raise InvalidSetting(f"{file}: a suite is of one of {' '.join(GRIDS)}, was {suite.name!r}")
        self.suite = suite
        self._compiled: dict[str, Compiled] = {e.id: compile_expectation(file, e) for e in suite.expectations}
        self._by_id: dict[str, Expectation] = {e.id: e for e in suite.expectations}
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
        return {"stored": frame, "rows": self._rows(frame), "expected": with_presence(expected, self._filled(frame))}

    def _rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        floats = [name for name, dtype in frame.schema.items() if name in self._used and dtype.is_float()]
        if any(_has_nan(frame[name]) for name in floats):
            frame = frame.with_columns(pl.col(floats).fill_nan(None))
        derived = []
        for name in self._derived:
            try:
                derived.append(derive(self.suite.name, name, frame))
            except (pl.exceptions.PolarsError, TypeError, ValueError):
                continue  # a column it needs is absent or of another type: its expectations count as broken
        return frame.hstack(derived) if derived else frame

    def _filled(self, frame: pl.DataFrame) -> pl.Series | None:
        try:
            return GRIDS[self.suite.name].slots(frame)
        except pl.exceptions.PolarsError:
            return None

    def measure(self, frame: pl.DataFrame | None, expected: pl.DataFrame) -> Measurement:
        """Count the violations of every expectation in one partition.

        `frame` has the dataset's columns in stored order, or is None where there is no file; `expected` is the
        `expected_table` of the partition. An expectation whose columns are absent, or of a type that it cannot be
        asked of, is broken by every row, and by at least one.
        """
        presence = with_presence(expected, None if frame is None else self._filled(frame))
        violations = dict.fromkeys(self._by_id, 0)
        considered: dict[str, int] = {}
        self._count("expected", presence, violations, considered)
        if frame is not None:
            self._count("stored", frame, violations, considered)
            self._count("rows", self._rows(frame), violations, considered)
        held: dict[str, float] = {}
        broken: dict[str, Severity] = {}
        for id_, count in violations.items():
            expectation = self._by_id[id_]
            if expectation.mostly < 1:
                rows = considered.get(id_, 0)
                held[id_] = (rows - count) / rows if rows else float(not count)  # 1.0 where nothing was to be counted
                kept = held[id_] >= expectation.mostly
            else:
                kept = not count
            if not kept:
                broken[id_] = expectation.severity
        rows = 0 if frame is None else frame.height
        missing = presence["present"].null_count()
        return Measurement(rows, presence.height, missing, violations, held, broken, self._about_expected)

    def _count(self, table: Table, frame: pl.DataFrame, violations: dict[str, int], considered: dict[str, int]) -> None:
        schema = frame.schema
        key = (table, *schema.items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._planned(table, schema)
        violations.update(plan.known)
        for id_ in plan.unmeasurable:
            violations[id_] = max(frame.height, 1)
        doubtful = [(id_, compiled) for id_, compiled in plan.counted if not compiled.surely_kept(frame)]
        if doubtful:
            counts = [
                expression.alias(f"{kind}{id_}")
                for id_, compiled in doubtful
                for kind, expression in (("v", compiled.violations), ("c", compiled.considered))
            ]
            counted = frame.select(counts).row(0, named=True)
            for id_, _ in doubtful:
                violations[id_], considered[id_] = counted[f"v{id_}"], counted[f"c{id_}"]

    def _planned(self, table: Table, schema: pl.Schema) -> _Plan:
        empty = schema.to_frame()
        known: dict[str, int] = {}
        counted: list[tuple[str, OnRows]] = []
        unmeasurable: list[str] = []
        for expectation in self.expectations:
            if expectation.table != table:
                continue
            id_, compiled = expectation.id, self._compiled[expectation.id]
            if not set(compiled.columns) <= set(schema):
                unmeasurable.append(id_)
            elif isinstance(compiled, OnSchema):
                known[id_] = compiled.violations(schema)
            elif _can_count(empty, compiled):
                counted.append((id_, compiled))
            else:
                unmeasurable.append(id_)
        return _Plan(known, tuple(counted), tuple(unmeasurable))


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
