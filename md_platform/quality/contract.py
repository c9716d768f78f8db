"""Checked-in Great Expectations suites (JSON) in, what they declare out. Nothing is measured here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from md_platform.errors import InvalidSetting

Severity = Literal["error", "warning"]
Table = Literal["stored", "rows", "expected"]

SUITES = Path(__file__).parent / "suites"

_SEVERITY: dict[str, Severity] = {"critical": "error", "warning": "warning"}
_METRICS = ("instrument", "date", "rows", "expected", "missing")  # columns of the table that GX validates, beside ids
_TABLES: tuple[Table, ...] = ("stored", "rows", "expected")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a suite.

    `id` is its name within the suite, `check` the asset check it belongs to, `table` what it is measured on: the rows
    as stored, the rows with their derived columns, or the table of expected bars. An error blocks, a warning does not.
    """

    id: str
    type: str
    kwargs: dict[str, Any]
    check: str
    severity: Severity
    table: Table
    description: str
    why: str

    @property
    def mostly(self) -> float:
        """Share of rows that must keep the expectation."""
        return float(self.kwargs.get("mostly", 1.0))


@dataclass(frozen=True, slots=True)
class Check:
    """A named check: the expectations of a suite that share `meta.check`; as severe as the severest of them."""

    name: str
    severity: Severity
    description: str


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite as declared: `text` is the JSON of `file`, which Great Expectations loads as it stands."""

    name: str
    file: Path
    text: str
    expectations: tuple[Expectation, ...]

    def checks(self) -> dict[str, Check]:
        """The named checks, in the order in which the suite first mentions them."""
        grouped: dict[str, list[Expectation]] = {}
        for expectation in self.expectations:
            grouped.setdefault(expectation.check, []).append(expectation)
        return {
            name: Check(
                name,
                "error" if any(member.severity == "error" for member in members) else "warning",
                "; ".join(dict.fromkeys(member.description for member in members)),
            )
            for name, members in grouped.items()
        }


def suite_text(file: Path) -> str:
    """The JSON of a suite; InvalidSetting where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = " ".join(sorted(path.stem for path in file.parent.glob("*.json")))
        raise InvalidSetting(f"no expectation suite {file.name}, there are: {known}") from None


def parse_suite(file: Path, text: str) -> Suite:
    """The suite that `text`, the content of `file`, declares; InvalidSetting says what is wrong with it."""
    try:
        declared = json.loads(text)
        expectations = tuple(_expectation(file, item) for item in declared["expectations"])
        name = declared["name"]
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InvalidSetting(
            f"{file.name} must be a Great Expectations suite: {type(error).__name__} {error}"
        ) from None
    if name != file.stem:
        raise InvalidSetting(f"{file.name} must be named {file.stem!r} after its dataset, was {name!r}")
    ids = [expectation.id for expectation in expectations]
    if taken := {id_ for id_ in ids if id_ in _METRICS}:
        raise InvalidSetting(f"{file.name}: meta.id must not be one of {' '.join(_METRICS)}, was {' '.join(taken)}")
    if repeated := {id_ for id_ in ids if ids.count(id_) > 1}:
        raise InvalidSetting(f"{file.name}: meta.id must be unique, was repeated: {' '.join(sorted(repeated))}")
    return Suite(name, file, text, expectations)


def _expectation(file: Path, item: dict[str, Any]) -> Expectation:
    meta = item["meta"]
    expectation = Expectation(
        id=meta["id"],
        type=item["type"],
        kwargs=item["kwargs"],
        check=meta["check"],
        severity=_SEVERITY.get(item.get("severity", "critical"), "warning"),
        table=meta.get("table", "rows"),
        description=item["description"],
        why=meta["why"],
    )
    if item.get("severity", "critical") not in _SEVERITY:
        raise InvalidSetting(
            f"{file.name}: severity of {expectation.id} must be critical or warning, was {item['severity']!r}"
        )
    if expectation.table not in _TABLES:
        raise InvalidSetting(
            f"{file.name}: meta.table of {expectation.id} must be one of {' '.join(_TABLES)}, was {expectation.table!r}"
        )
    mostly = item["kwargs"].get("mostly", 1.0)
    if isinstance(mostly, bool) or not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
        raise InvalidSetting(f"{file.name}: mostly of {expectation.id} must lie in 0 to 1, was {mostly!r}")
    return expectation
