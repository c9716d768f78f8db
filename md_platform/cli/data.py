"""Commands that show what is there: datasets, status, show, export."""

# Imports stand inside of the commands, as the package's docstring explains; typer's flags are booleans with defaults.
# ruff: noqa: PLC0415, FBT002

import datetime as dt
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from md_platform.cli.services import Json

if TYPE_CHECKING:
    import polars as pl

    from md_platform.catalog.ledger import Ledger
    from md_platform.catalog.reading import Reader, Selection
    from md_platform.domain.instruments import Instrument

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="One of `mdp datasets`, as cleaned_bars.")]
InstrumentName = Annotated[str, typer.Argument(metavar="ID", help="binance:BTC-USDT, BTC/USDT or BTCUSDT.")]
Start = Annotated[str, typer.Option(help="From this UTC date or time on.", metavar="TIME")]
End = Annotated[str, typer.Option(help="Up to this UTC date or time, which is not included.", metavar="TIME")]
TimeframeName = Annotated[str | None, typer.Option(help="Only bars of this length: 1m, 5m, 1h, 1d.", metavar="TF")]
Form = Literal["csv", "json", "parquet", "arrow"]
ColumnNames = Annotated[str | None, typer.Option(help="Only these, separated by commas.", metavar="NAMES")]
_STATUSES = ("ok", "degraded", "closed", "missing", "failed", "pending")
_SHOWN_REASONS = 4
_FORMS: dict[str, Form] = {
    "parquet": "parquet",
    "pq": "parquet",
    "arrow": "arrow",
    "arrows": "arrow",
    **dict.fromkeys(("json", "jsonl", "ndjson"), "json"),
}
"""Formats by the endings of files."""


def datasets(as_json: Json = False) -> None:
    """List the datasets with instruments, partitions by status, rows, bytes, first and last day."""
    import json

    from md_platform.cli.tables import cell, console, heading_table
    from md_platform.domain.schemas import DATASETS

    totals = ledger().totals()
    if as_json:
        meanings = {name: dataset.meaning for name, dataset in DATASETS.items()}
        rows = [{**row, "meaning": meanings.get(row["dataset"])} for row in totals.to_dicts()]
        typer.echo(json.dumps({"datasets": rows}, indent=1, default=str))
        return
    counts = ("instruments", "partitions", *_STATUSES, "rows", "bytes")
    table = heading_table("dataset", *counts, "first day", "last day", right=range(1, len(counts) + 1))
    for row in totals.iter_rows(named=True):
        numbers = [cell(row[name] if name not in _STATUSES else row[name] or None) for name in counts]
        table.add_row(row["dataset"], *numbers, cell(row["first_day"]), cell(row["last_day"]))
    console().print(table)
    if totals.is_empty():
        _say("nothing is loaded yet: `mdp backfill --help` and `mdp import --help` say how")


def status(
    dataset: DatasetName,
    instrument: InstrumentName,
    start: Annotated[str | None, typer.Option(help="From this day on; the first by default.", metavar="DATE")] = None,
    end: Annotated[str | None, typer.Option(help="Day after the last; all by default.", metavar="DATE")] = None,
    as_json: Json = False,
) -> None:
    """Show each day (or week, or month) of a dataset: status, score, rows, what is missing and why."""
    import json

    from md_platform.cli.tables import cell, console, heading_table
    from md_platform.domain.intervals import parse_time
    from md_platform.domain.schemas import dataset_named
    from md_platform.errors import InvalidRange

    dataset_named(dataset.removeprefix("archive_"))
    dataset = _recorded(dataset)
    records = ledger()
    found = registered(records, instrument)
    first = parse_time(start, name="start").date() if start else None
    last = parse_time(end, name="end").date() if end else None
    if first and last and last <= first:
        raise InvalidRange(f"end must be after start, was start {first} and end {last}")
    partitions = records.partitions(dataset, [found.id], first, last)
    rows = [{**row, "evidence": json.loads(row["evidence"])} for row in partitions.iter_rows(named=True)]
    if as_json:
        typer.echo(json.dumps({"partitions": rows}, indent=1, default=_json_value))
        return
    table = heading_table("date", "status", "score", "rows", "source", "gaps", "why", right=(2, 3))
    for row in rows:
        score = None if row["score"] is None else round(row["score"], 4)
        facts = (row["date"], row["status"], score, row["rows"], row["source"])
        table.add_row(*map(cell, facts), _gaps(row["evidence"]), _reasons(row["evidence"]))
    console().print(table)
    if not rows:
        _say(f"{dataset} of {found.id} has no partitions there: `mdp backfill {found.id} --start … --end …` makes them")


def show(
    dataset: DatasetName,
    instrument: InstrumentName,
    start: Start,
    end: End,
    timeframe: TimeframeName = None,
    columns: ColumnNames = None,
    limit: Annotated[int, typer.Option(help="At most so many rows; 0 for all.", min=0)] = 50,
    as_json: Json = False,
) -> None:
    """Show rows of a dataset, as a table or as JSON lines."""
    from md_platform.catalog.exporting import json_lines
    from md_platform.cli.tables import cell, console, heading_table

    stored, selection, names = _selected(dataset, instrument, start, end, timeframe, columns)
    left, is_cut = limit, False
    table = None
    for frame in stored.frames(selection, stored.chunks(selection)):
        is_cut = bool(limit) and frame.height > left
        rows = (frame.head(left) if limit else frame).select(names)
        left -= rows.height
        if as_json:
            sys.stdout.buffer.write(json_lines(rows))
        else:
            table = table or heading_table(*names)
            for row in rows.iter_rows():
                table.add_row(*map(cell, row))
        if is_cut:
            break
    if table is not None and table.row_count:
        console(wide=True).print(table)
    elif not as_json:
        _say(_nothing(selection))
    if is_cut:
        _say(f"the first {limit} rows; --limit 0 shows all, `mdp export` writes them to a file")


def export(
    dataset: DatasetName,
    instrument: InstrumentName,
    start: Start,
    end: End,
    timeframe: TimeframeName = None,
    columns: ColumnNames = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="json is one object a line; by the output's name, else csv.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write, whole or not at all; else standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write rows of a dataset as CSV, JSON lines, Parquet or Arrow; times are ISO 8601, UTC."""
    import json

    from md_platform.catalog.exporting import export_rows, open_output

    chosen = _form(form, output, as_json=as_json)
    stored, selection, names = _selected(dataset, instrument, start, end, timeframe, columns)
    chunks = stored.chunks(selection)
    with open_output(output) as stream:
        frames = _with_progress((frame.select(names) for frame in stored.frames(selection, chunks)), len(chunks))
        rows = export_rows(frames, chosen, stream)
    if not rows:
        _say(_nothing(selection))
    if output is None:
        return
    written = {"path": str(output.resolve()), "format": chosen, "rows": rows, "bytes": output.stat().st_size}
    if as_json:
        typer.echo(json.dumps(written, indent=1))
    else:
        _say(f"{rows:,} rows, {written['bytes']:,} bytes in {output}")


def ledger() -> "Ledger":
    """The ledger of the platform that settings name."""
    from md_platform.catalog.ledger import Ledger
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings

    return Ledger(database_url(load_settings()))


def reader() -> "Reader":
    """What reads the lake and the archive that settings name."""
    from md_platform.catalog.reading import Reader
    from md_platform.settings import load_settings
    from md_platform.storage.archive import Archive
    from md_platform.storage.lake import Lake

    settings = load_settings()
    return Reader(Lake(Path(settings.lake)), Archive(settings.archive), ledger())


def registered(records: "Ledger", text: str) -> "Instrument":
    """The registered instrument that `text` names; UnknownInstrument."""
    from md_platform.domain.instruments import SymbolMap

    return SymbolMap(instrument for instrument, _ in records.instruments()).resolve(text)


def _selected(
    dataset: str, instrument: str, start: str, end: str, timeframe: str | None, columns: str | None
) -> "tuple[Reader, Selection, list[str]]":
    """What reads, what is to be read, and the columns of it that are wanted."""
    from md_platform.catalog.exporting import columns_of
    from md_platform.catalog.reading import Selection
    from md_platform.domain.intervals import UTC, Timeframe, parse_interval
    from md_platform.domain.schemas import dataset_named

    wanted = dataset_named(dataset)
    interval = parse_interval(start, end, now=dt.datetime.now(UTC))
    length = Timeframe.parse(timeframe) if timeframe else None
    selection = Selection(wanted, registered(ledger(), instrument).id, interval, length)
    return reader(), selection, columns_of(selection, columns.split(",") if columns else None)


def _form(form: Form | None, output: Path | None, *, as_json: bool) -> Form:
    """The format asked for, or meant by --json or the output's name."""
    from md_platform.errors import UserError

    if output is None and as_json:
        if form not in (None, "json"):
            raise UserError(f"--json writes JSON lines, was --format {form}: leave one out, or name an --output")
        return "json"
    if form is None:
        named = output.suffix.lstrip(".") if output else ""
        form = _FORMS.get(named, "csv")
    if form in ("parquet", "arrow") and output is None and sys.stdout.isatty():
        raise UserError(f"{form} is no text: name a file with --output, or pipe it")
    return form


def _with_progress(frames: "Iterator[pl.DataFrame]", total: int) -> "Iterator[pl.DataFrame]":
    from rich.console import Console
    from rich.progress import track

    screen = Console(stderr=True)
    yield from track(frames, "reading", total, console=screen, transient=True, disable=not screen.is_terminal)


def _recorded(dataset: str) -> str:
    """The dataset whose partitions tell of `dataset`: what is in quarantine was kept out of the cleaned layer."""
    return dataset.replace("quarantined_", "cleaned_")


def _nothing(selection: "Selection") -> str:
    name, instrument = selection.dataset.name, selection.instrument
    return f"{name} of {instrument} has no rows there, `mdp status {_recorded(name)} {instrument}` tells what there is"


def _gaps(evidence: Mapping[str, Any]) -> str:
    from md_platform.cli.tables import cell

    gaps = evidence.get("gaps", [])
    if not gaps:
        return f"{missing} missing" if (missing := evidence.get("missing")) else "-"
    missing = sum(gap["bars"] for gap in gaps)
    longest = max(gaps, key=lambda gap: gap["bars"])
    times = [dt.datetime.fromisoformat(longest[name]) for name in ("start", "end")]
    return f"{cell(missing)} missing in {len(gaps)}, longest {times[0]:%H:%M} to {times[1]:%H:%M}"


def _reasons(evidence: Mapping[str, Any]) -> str:
    """Why a partition is what it is, in short; `--json` has it all."""
    found = [evidence[name] for name in ("error", "reason", "empty", "kept") if evidence.get(name)]
    found += [f"lacks {what}" for what in evidence.get("lacks", [])]
    found += [_agreement(source, told) for source, told in evidence.get("history", {}).items()]
    found += [f"{count} rows in quarantine: {rule}" for rule, count in evidence.get("quarantined", {}).items()]
    found += [f"{count} rows against {name}" for name, count in evidence.get("violations", {}).items()]
    more = f", and {len(found) - _SHOWN_REASONS} more" if len(found) > _SHOWN_REASONS else ""
    return "; ".join(found[:_SHOWN_REASONS]) + more or "-"


def _agreement(source: str, told: Mapping[str, Any]) -> str:
    """How history compares with what was streamed of the same day."""
    here, there, differing = (told[name]["count"] for name in ("only_live", "only_history", "differing"))
    return f"{source}: {told['shared']:,} trades shared, {there:,} only there, {here:,} only live, {differing:,} differ"


def _json_value(value: dt.date) -> str:
    from md_platform.cli.tables import iso

    return iso(value)


def _say(text: str) -> None:
    typer.echo(text, err=True)


COMMANDS = (datasets, status, show, export)
