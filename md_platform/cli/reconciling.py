"""The command that holds what was streamed against what the batch chain made of the same day: reconcile."""

# Imports stand inside of the commands, as the package's docstring explains; typer's flags are booleans with defaults.
# ruff: noqa: PLC0415, FBT002

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from md_platform.cli.data import InstrumentName
from md_platform.cli.services import Json

if TYPE_CHECKING:
    import polars as pl

    from md_platform.catalog.reading import Reader
    from md_platform.domain.intervals import Interval, Timeframe
    from md_platform.quality.reconcile import BarsCompared
    from md_platform.storage.live_reading import LiveReader

_SHOWN = 20
_HEADINGS = ("timeframe", "live", "batch", "compared", "equal", "differing", "only live", "only batch")


def reconcile(
    instrument: InstrumentName,
    date: Annotated[str, typer.Option(help="UTC day to compare.", metavar="DATE")],
    as_json: Json = False,
) -> None:
    """Compare the live bars of a day with the batch chain's, bar by bar; exit code 1 where they do not agree.

    1m with trade_bars, 5m to 1d with resampled_bars: prices and counts exactly, sums to 1e-9. JSON names every value.
    """
    import json

    from md_platform.cli.data import ledger, reader, registered
    from md_platform.cli.tables import cell, console, heading_table
    from md_platform.domain.intervals import Interval, parse_time
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings
    from md_platform.storage.live_reading import LiveReader

    day = Interval.day(parse_time(date, name="date").date())
    found = registered(ledger(), instrument).id
    with LiveReader(database_url(load_settings())) as live:
        results = list(_results(live, reader(), found, day))
    if as_json:
        typer.echo(json.dumps({"instrument": found, "timeframes": [_told(*result) for result in results]}, indent=1))
    else:
        table = heading_table(*_HEADINGS, right=range(3, len(_HEADINGS)))
        for *names, compared in results:
            table.add_row(*map(str, names), *map(cell, _counts(compared).values()))
        console().print(table)
        values = heading_table("timeframe", "open_time", "column", "live", "batch", right=(3, 4))
        for timeframe, _, _, compared in results:
            for row in compared.differing.head(_SHOWN).iter_rows():
                values.add_row(timeframe, *map(cell, row))
        if values.row_count:
            console(wide=True).print(values)
    if not all(compared.agrees for *_, compared in results):
        raise typer.Exit(1)


def _results(
    live: "LiveReader", batch: "Reader", instrument: str, day: "Interval"
) -> "Iterator[tuple[str, str, str, BarsCompared]]":
    """Of each timeframe and each source of its live bars: timeframe, source, batch dataset and source, comparison."""
    import polars as pl

    from md_platform.domain.intervals import INTRADAY_ROLL_UPS, Timeframe
    from md_platform.quality.reconcile import compare_bars

    for timeframe in (Timeframe.M1, *INTRADAY_ROLL_UPS):
        bars = live.bars(instrument, timeframe, day)
        made = bars.filter("is_closed", pl.col("source").str.split("@").list.first() == "trades")
        stored = _batch(batch, instrument, timeframe, day)
        where = " ".join(["trade_bars" if timeframe is Timeframe.M1 else "resampled_bars", *stored["source"].unique()])
        for source in sorted(made["source"].unique()) or ["trades"]:
            yield timeframe.value, source, where, compare_bars(made.filter(pl.col("source") == source), stored)


def _batch(reader: "Reader", instrument: str, timeframe: "Timeframe", day: "Interval") -> "pl.DataFrame":
    import polars as pl

    from md_platform.catalog.reading import Selection
    from md_platform.domain.intervals import Timeframe
    from md_platform.domain.schemas import RESAMPLED_BARS, TRADE_BARS

    dataset = TRADE_BARS if timeframe is Timeframe.M1 else RESAMPLED_BARS
    selection = Selection(dataset, instrument, day, timeframe)
    return pl.concat(reader.frames(selection, reader.chunks(selection)))


def _counts(compared: "BarsCompared") -> dict[str, int]:
    return {
        "compared": compared.compared,
        "equal": compared.equal,
        "differing": compared.differing_bars,
        "only_live": compared.only_live.len(),
        "only_batch": compared.only_batch.len(),
    }


def _told(timeframe: str, source: str, where: str, compared: "BarsCompared") -> dict[str, object]:
    from md_platform.cli.tables import iso

    values = [{**row, "open_time": iso(row["open_time"])} for row in compared.differing.iter_rows(named=True)]
    missing = {
        "missing_in_batch": [iso(at) for at in compared.only_live],
        "missing_in_live": [iso(at) for at in compared.only_batch],
    }
    return {"timeframe": timeframe, "live": source, "batch": where, **_counts(compared), "values": values, **missing}


COMMANDS = (reconcile,)
