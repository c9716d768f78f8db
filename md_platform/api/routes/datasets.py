"""What datasets there are, what they hold of each instrument, and all that is known of one partition."""

import datetime as dt
import json
from typing import Annotated, Any

import orjson
import polars as pl
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from md_platform.api.dependencies import StoresOf, reader
from md_platform.api.routes.asking import InstrumentName, TimeText, named
from md_platform.api.stores import Stores
from md_platform.catalog.chain import INPUTS, outputs_of
from md_platform.catalog.coverage import LETTERS, Link, coverages, downstream, period_of, span_of, upstream
from md_platform.catalog.reading import Selection, schema_of, timeframes_of
from md_platform.domain.intervals import UTC, Interval
from md_platform.domain.schemas import DATASETS, QUARANTINED_BARS, QUARANTINED_TRADES, Dataset, dataset_named
from md_platform.errors import NotFound, UnknownDataset
from md_platform.quality import load_suite
from md_platform.quality.contract import SUITES
from md_platform.serving.ranges import moment

router = APIRouter(tags=["datasets"], dependencies=[reader()])

DatasetName = Annotated[
    str, Path(description="as `datasets` lists them", examples=["cleaned_bars"], max_length=50, pattern=r"^[^\x00]*$")
]
_ARCHIVE = "archive_"
_REJECTS_SHOWN = 100


class DatasetTotals(BaseModel):
    """What the ledger has recorded of a dataset: `ok` to `closed` count partitions by status."""

    instruments: int = 0
    partitions: int = 0
    ok: int = 0
    degraded: int = 0
    failed: int = 0
    missing: int = 0
    pending: int = 0
    closed: int = 0
    rows: int = 0
    bytes: int = 0
    first_day: dt.date | None = None
    last_day: dt.date | None = None


class DatasetInfo(BaseModel):
    """A dataset with its totals; those called `archive_…` are Delta tables, the others Parquet files."""

    name: str = Field(examples=["cleaned_bars"])
    layer: str = Field(examples=["cleaned"])
    meaning: str
    period: str = Field(description="length of a partition: 1d, 1w or 1M", examples=["1d"])
    timeframes: list[str]
    upstream: list[str] = Field(description="datasets that it is made of", examples=[["raw_bars", "trade_bars"]])
    downstream: list[str] = Field(examples=[["resampled_bars", "indicators", "archive_cleaned_bars"]])
    totals: DatasetTotals


class ColumnInfo(BaseModel):
    """A column."""

    name: str = Field(examples=["close"])
    type: str = Field(examples=["Float64"])
    unit: str = Field(description="empty where it has none", examples=["quote"])
    meaning: str = Field(examples=["price of the last trade"])
    nullable: bool


class DatasetDetail(DatasetInfo):
    """A dataset with its columns; `time` is the one that ranges are about, `key` makes a row unique."""

    time: str
    key: list[str]
    columns: list[ColumnInfo]


class InstrumentCoverage(BaseModel):
    """What there is of one instrument: letter n of `calendar` is the n-th day (week, month) from `first` on."""

    instrument: str = Field(examples=["sandbox:BTC-USDT"])
    first: dt.date
    last: dt.date
    rows: int
    bytes: int
    score: float | None = Field(description="mean of the partitions that were measured")
    statuses: dict[str, int] = Field(examples=[{"ok": 29, "degraded": 1}])
    calendar: str = Field(examples=["ooooodoo-o"])


class CoveragePage(BaseModel):
    """Instruments in order of their ids."""

    dataset: str
    period: str = Field(description="what a letter stands for: 1d, 1w or 1M", examples=["1d"])
    legend: dict[str, str] = Field(examples=[{"o": "ok", "-": "never made"}])
    instruments: list[InstrumentCoverage]
    next_after: str | None = Field(description="`after` of the next page; null: this is the last")


class CheckInfo(BaseModel):
    """An expectation of the dataset, and how many rows of the partition broke it."""

    id: str
    check: str
    severity: str
    description: str
    violations: int


class LineageInfo(BaseModel):
    """A partition up- or downstream. Hashes are the input's: when it was used, and now; null: not recorded."""

    dataset: str
    date: dt.date
    sha256_used: str | None
    sha256: str | None
    is_current: bool | None


class PartitionDetail(BaseModel):
    """All that is known of one partition; `evidence` is as it was recorded."""

    dataset: str
    instrument: str
    date: dt.date
    status: str
    score: float | None
    rows: int
    bytes: int
    first_time: dt.datetime | None
    last_time: dt.datetime | None
    source: str | None = Field(description="the source that was chosen; evidence tells why")
    sha256: str | None
    run_id: str | None
    run_url: str | None = Field(description="page of the run in Dagster's UI")
    revised_rows: int | None = Field(description="rows that replaced others; null where rows have no revisions")
    checks: list[CheckInfo]
    gaps: list[dict[str, Any]] = Field(description="ranges in which bars are missing")
    quarantined: dict[str, int] = Field(description="rows set aside, by the rule that they broke")
    quarantined_rows: list[dict[str, Any]] = Field(description=f"the first {_REJECTS_SHOWN} of them")
    evidence: dict[str, Any]
    upstream: list[LineageInfo]
    downstream: list[LineageInfo]


@router.get("/datasets")
def datasets(stores: StoresOf) -> list[DatasetInfo]:
    """Every dataset, with what is recorded of it."""
    totals = {row.pop("dataset"): row for row in stores.ledger.totals().iter_rows(named=True)}
    names = dict.fromkeys([*INPUTS, *DATASETS])
    return [DatasetInfo(**_facts(name), totals=DatasetTotals(**totals.get(name, {}))) for name in names]


@router.get("/datasets/{dataset}")
def dataset_detail(dataset: DatasetName, stores: StoresOf) -> DatasetDetail:
    """One dataset, with its columns: types, units and meanings."""
    schema = _recorded(dataset)
    totals = stores.ledger.totals().filter(pl.col("dataset") == dataset).drop("dataset").to_dicts()
    described = {column.name: column for column in schema.columns}
    columns = [
        ColumnInfo(name=name, type=str(dtype), unit=known.unit, meaning=known.meaning, nullable=known.nullable)
        if (known := described.get(name))
        else ColumnInfo(name=name, type=str(dtype), unit="", meaning="output of the indicator", nullable=True)
        for name, dtype in schema_of(schema).items()
    ]
    return DatasetDetail(
        **_facts(dataset),
        totals=DatasetTotals(**(totals[0] if totals else {})),
        time=schema.time,
        key=list(schema.key),
        columns=columns,
    )


@router.get("/datasets/{dataset}/coverage")
def coverage(
    dataset: DatasetName,
    stores: StoresOf,
    ids: Annotated[str, Query(description="names of instruments, separated by commas; all by default")] = "",
    start: TimeText = None,
    end: TimeText = None,
    limit: Annotated[int, Query(ge=1, le=500, description="instruments of a page")] = 100,
    after: Annotated[str, Query(max_length=100, description="`next_after` of the page before")] = "",
) -> CoveragePage:
    """What there is of each instrument, a letter a day (week, month)."""
    _recorded(dataset)
    names = stores.market.names
    chosen = sorted(names.resolve(name).id for name in named(ids)) if ids else sorted(i.id for i in names.known())
    page = [name for name in chosen if name > after]
    found = coverages(dataset, stores.ledger.scores(dataset, page[:limit], *_days(start, end)))
    return CoveragePage(
        dataset=dataset,
        period=period_of(dataset).value,
        legend={**{letter: status for status, letter in LETTERS.items()}, "-": "never made"},
        instruments=[InstrumentCoverage.model_validate(each, from_attributes=True) for each in found],
        next_after=page[limit - 1] if len(page) > limit else None,
    )


@router.get("/datasets/{dataset}/days/{date}/{instrument:path}")
def partition(
    dataset: DatasetName,
    date: Annotated[
        dt.date,
        Path(
            description="first day of the partition",
            examples=["2026-11-19"],
            ge=dt.date(1970, 1, 1),
            le=dt.date(2200, 1, 1),
        ),
    ],
    instrument: InstrumentName,
    stores: StoresOf,
) -> PartitionDetail:
    """All that is known of a day (week, month) of an instrument: checks, gaps, rejects, source, run, lineage."""
    schema = _recorded(dataset)
    id_ = stores.market.names.resolve(instrument).id
    around = stores.ledger.partitions(None, [id_], *span_of(dataset, date))
    made = around.filter((pl.col("dataset") == dataset) & (pl.col("date") == date)).to_dicts()
    if not made:
        raise NotFound(f"{dataset} of {id_} has no partition {date}: see /api/v1/datasets/{dataset}/coverage")
    row = made[0]
    evidence = json.loads(row.pop("evidence"))
    return PartitionDetail(
        **row,
        run_url=row["run_id"] and stores.operations.orchestrator.run_url(row["run_id"]),
        revised_rows=_revised(stores, schema, id_, date),
        checks=_checks(schema, evidence.get("violations", {})),
        gaps=evidence.get("gaps", []),
        quarantined=evidence.get("quarantined", {}),
        quarantined_rows=_rejected(stores, id_, date, schema) if "quarantined" in evidence else [],
        evidence=evidence,
        upstream=[_link(each) for each in upstream(dataset, date, around)],
        downstream=[_link(each) for each in downstream(dataset, date, around)],
    )


def _facts(name: str) -> dict[str, Any]:
    dataset = _recorded(name)
    return {
        "name": name,
        "layer": "archive" if name.startswith(_ARCHIVE) else dataset.layer,
        "meaning": dataset.meaning,
        "period": period_of(name).value,
        "timeframes": [each.value for each in timeframes_of(dataset)],
        "upstream": list(INPUTS.get(name, ())),
        "downstream": list(outputs_of(name)),
    }


def _recorded(name: str) -> Dataset:
    """The dataset whose partitions the ledger knows as `name`: one of the lake, or a table of the archive."""
    if name.startswith(_ARCHIVE) and name not in INPUTS:
        raise UnknownDataset(f"dataset must be one of {' '.join([*INPUTS, *DATASETS])}, was {name!r}")
    return dataset_named(name.removeprefix(_ARCHIVE))


def _days(start: str | None, end: str | None) -> tuple[dt.date | None, dt.date | None]:
    now = dt.datetime.now(UTC)
    return (
        None if start is None else moment(start, "start", now).date(),
        None if end is None else moment(end, "end", now).date(),
    )


def _link(link: Link) -> LineageInfo:
    return LineageInfo.model_validate(link, from_attributes=True)


def _checks(dataset: Dataset, violations: dict[str, int]) -> list[CheckInfo]:
    if not (SUITES / f"{dataset.name}.json").exists():
        return []
    return [
        CheckInfo(
            id=each.id,
            check=each.check,
            severity=each.severity,
            description=each.description,
            violations=violations.get(each.id, 0),
        )
        for each in load_suite(dataset.name).expectations
    ]


def _revised(stores: Stores, dataset: Dataset, instrument: str, date: dt.date) -> int | None:
    """How many rows of the partition are a revision of an earlier one."""
    if "revision" not in dataset.schema:
        return None
    lake = stores.lake
    sources: list[str | None] = [*lake.sources(dataset, instrument, date)] if dataset.by_source else [None]
    rows = lake.read([lake.path(dataset, instrument, date, source) for source in sources], columns=["revision"])
    return 0 if rows is None else int((rows["revision"] > 0).sum())


def _rejected(stores: Stores, instrument: str, date: dt.date, dataset: Dataset) -> list[dict[str, Any]]:
    rejects = QUARANTINED_BARS if "timeframe" in dataset.schema else QUARANTINED_TRADES
    selection = Selection(rejects, instrument, Interval.day(date))
    (rows,) = stores.reader.frames(selection, stores.reader.chunks(selection))
    # NaN is no JSON: orjson writes null instead, as every answer has it
    shown: list[dict[str, Any]] = orjson.loads(orjson.dumps(rows.head(_REJECTS_SHOWN).to_dicts()))
    return shown
