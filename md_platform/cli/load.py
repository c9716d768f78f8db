"""Commands that bring data in, through Dagster: backfill and import."""

# Imports stand inside of the commands, as the package's docstring explains; typer's flags are booleans with defaults.
# ruff: noqa: PLC0415, FBT002

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from md_platform.cli.services import Json

if TYPE_CHECKING:
    from md_platform.catalog.backfill import Launch
    from md_platform.cli.load_report import Screen
    from md_platform.domain.instruments import Instrument
    from md_platform.embedded.platform import Running
    from md_platform.loading.loader import FinishedRun, Load, Loader
    from md_platform.loading.naming import Listing
    from md_platform.settings import Settings, Universe
    from md_platform.sources.files import FilePlan

_STAGES = "raw, cleaned, resampled, indicators or archive"
Stage = Annotated[str, typer.Option("--to", help=f"How far to go: {_STAGES}.", metavar="STAGE")]
CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C cancels the runs; else they go on in Dagster.")
]
_INTERRUPTED = 130


def backfill(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="binance:BTC-USDT, BTC/USDT or BTCUSDT.")],
    start: Annotated[str, typer.Option(help="First day, UTC.", metavar="DATE")],
    end: Annotated[str, typer.Option(help="Day after the last, UTC.", metavar="DATE")],
    stage: Stage = "archive",
    trades: Annotated[bool, typer.Option("--trades", help="Fetch trades too, and bars made from them.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Make again what is there.")] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    as_json: Json = False,
) -> None:
    """Fetch days of instruments and take them through to the archive; what is there already is left alone."""
    from md_platform.catalog.backfill import Chain
    from md_platform.cli.load_report import Screen
    from md_platform.domain.intervals import UTC, parse_interval
    from md_platform.loading.loader import Load
    from md_platform.loading.naming import resolve
    from md_platform.settings import load_settings

    _quiet()
    settings = load_settings()
    now = dt.datetime.now(UTC)
    days = parse_interval(start, end, now=now).days()
    chain = Chain(stage, trades=trades)
    chain.assets  # noqa: B018 - raises for an unknown stage
    registered, loader, listing = _open(settings)
    instruments = resolve(ids, registered, listing, settings.instruments)
    loader.require_days(instruments, days, now.date())
    loader.register(instruments)
    load = Load(tuple(instruments), tuple(days), chain)
    with Screen(dagster_url(settings), load, as_json=as_json) as screen:
        try:
            for earlier in loader.under_way(load):
                screen.say(f"load {earlier} is still making some of these partitions: waiting for it")
                loader.wait_for(earlier, screen.progress)
            launches = loader.plan(load, refresh=refresh)
            is_whole = _run(loader, load, launches, screen)
        except KeyboardInterrupt:
            _interrupted(loader, load, screen, cancel=cancel_on_interrupt)
    raise typer.Exit(0 if is_whole else 1)


def first_load(running: "Running") -> None:
    """Load the last full days of the configured instruments, for a platform that has just become ready.

    Trades come too where they cost nothing (the sandbox) or where older bars can only be made of them (Kraken).
    """
    from md_platform.catalog.backfill import Chain
    from md_platform.cli.load_report import Screen
    from md_platform.domain.intervals import DAY, UTC
    from md_platform.loading.loader import Load
    from md_platform.loading.naming import resolve

    settings = running.settings
    registered, loader, listing = _open(settings)
    instruments = resolve(settings.instruments, registered, listing, settings.instruments)
    loader.register(instruments)
    today = dt.datetime.now(UTC).date()
    days = tuple(today - n * DAY for n in range(settings.first_load_days, 0, -1))
    for trades in (True, False):
        members = tuple(each for each in instruments if _needs_trades(each.venue) == trades)
        if members:
            load = Load(members, days, Chain("archive", trades=trades))
            with Screen(dagster_url(settings), load, as_json=False) as screen:
                _run(loader, load, loader.plan(load), screen)


def _needs_trades(venue: str) -> bool:
    from md_platform.venues import VENUES

    return any(spec.id == venue and (spec.is_simulated or spec.bars_back is not None) for spec in VENUES)


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files or folders: CSV, Parquet, JSON, zip, gz.")
    ],
    instrument: Annotated[
        str, typer.Option(help="Whose rows these are: binance:BTC-USDT, file:BTC-USD.", metavar="ID")
    ],
    kind: Annotated[Literal["bars", "trades"] | None, typer.Option(help="What the rows are; detected.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="s, ms, us, ns or iso; detected.", metavar="UNIT")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Which column is which: close=last_price; detected.", metavar="OURS=THEIRS")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the files are understood as, and stop.")
    ] = False,
    stage: Stage = "archive",
    cancel_on_interrupt: CancelOnInterrupt = False,
    as_json: Json = False,
) -> None:
    """Import bars or trades from files and take them through to the archive."""
    from md_platform.catalog.backfill import Chain
    from md_platform.cli.load_report import Screen, show_plans
    from md_platform.domain.intervals import UTC
    from md_platform.errors import InvalidFile
    from md_platform.loading.loader import Load
    from md_platform.loading.naming import resolve
    from md_platform.settings import load_settings, load_universes

    _quiet()
    settings = load_settings()
    columns = _columns(column or [])
    if dry_run:
        show_plans(_understood(paths, _named_alone(settings, instrument), kind, time_unit, columns), as_json=as_json)
        return
    today = dt.datetime.now(UTC).date()
    registered, loader, listing = _open(settings)
    found = resolve([instrument], registered, listing, settings.instruments, offline=True)
    _require_quote(found[0], load_universes(settings.universes_file))
    plans = _understood(paths, found[0], kind, time_unit, columns)
    days = sorted({day for plan in plans for day in plan.days})
    finished = [day for day in days if day < today]
    if not finished:
        raise InvalidFile(f"{paths[0]} holds only {days[0]}, a day that is not over yet: import it tomorrow")
    chain = Chain(stage, bars=plans[0].kind == "bars", trades=plans[0].kind == "trades")
    loader.require_days(found, finished, today)
    loader.register(found)
    load = Load(tuple(found), tuple(finished), chain)
    with Screen(dagster_url(settings), load, as_json=as_json) as screen:
        for warning in dict.fromkeys(warning for plan in plans for warning in plan.warnings):
            screen.say(warning)
        if len(finished) < len(days):
            screen.say(f"{today} is not over yet: its rows are not imported")
        try:
            is_whole = _run(loader, load, loader.plan_files(load, plans, time_unit, columns), screen)
        except KeyboardInterrupt:
            _interrupted(loader, load, screen, cancel=cancel_on_interrupt)
    raise typer.Exit(0 if is_whole else 1)


def _run(loader: "Loader", load: "Load", launches: "Sequence[Launch]", screen: "Screen") -> bool:
    """Run `launches` and what follows from them, show what came of it; whether all of it is there now."""
    runs: list[FinishedRun] = []
    if launches:
        screen.launching(launches)
        runs += loader.run(load, launches, screen.progress)
    if following := loader.plan_following(load):
        screen.say("indicators of later days, weeks and months follow")
        runs += loader.run(load, following, screen.progress)
    summaries = loader.summaries(load)
    screen.finish(runs, summaries, is_done_already=not runs)
    is_made = all(not each.statuses["failed"] and not each.statuses["pending"] for each in summaries)
    return is_made and all(run.status == "SUCCESS" for run in runs)


def _interrupted(loader: "Loader", load: "Load", screen: "Screen", *, cancel: bool) -> NoReturn:
    if cancel:
        screen.say(f"interrupted: cancelled {len(loader.cancel(load))} runs; what they had made stays")
    else:
        screen.say(
            f"interrupted: the runs of load {load.id} go on in Dagster, see {screen.runs_url}. Run the same command"
            " again to wait for them and finish the rest; cancel them there, or use --cancel-on-interrupt"
        )
    raise typer.Exit(_INTERRUPTED)


def _columns(pairs: "Sequence[str]") -> dict[str, str]:
    from md_platform.errors import UserError

    columns = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"--column must be OURS=THEIRS, as close=last_price, was {pair!r}")
        columns[ours] = theirs
    return columns


def _understood(
    paths: "Sequence[Path]",
    instrument: "Instrument",
    kind: Literal["bars", "trades"] | None,
    time_unit: str | None,
    columns: dict[str, str],
) -> "list[FilePlan]":
    """What each file holds, all of one kind."""
    from md_platform.errors import InvalidFile
    from md_platform.sources.file_tables import files_in
    from md_platform.sources.files import understand

    files = dict.fromkeys(file for path in paths for file in files_in(path))
    plans = [understand(file, instrument, kind, time_unit, columns) for file in files]
    if len({plan.kind for plan in plans}) > 1:
        held = ", ".join(f"{plan.path.name}: {plan.kind}" for plan in plans[:5])
        raise InvalidFile(f"files must all hold bars or all trades, were {held}: import them apart, or use --kind")
    return plans


def _named_alone(settings: "Settings", text: str) -> "Instrument":
    """The instrument as the platform knows it, where it runs; else what its canonical id says."""
    from md_platform.domain.instruments import Instrument
    from md_platform.errors import ServiceError, SourceUnavailable, StorageError
    from md_platform.loading.naming import resolve

    try:
        registered, _, _ = _open(settings)
    except (ServiceError, StorageError):
        return Instrument.parse(text)

    def unasked(venue: str) -> "list[Instrument]":
        raise SourceUnavailable(f"{venue} is not asked in a dry run")

    return resolve([text], registered, unasked, offline=True)[0]


def _require_quote(instrument: "Instrument", universes: "tuple[Universe, ...]") -> None:
    """Raise UnknownInstrument for what reads like a native symbol (binance:BTCUSDT) that no venue could map."""
    from md_platform.domain.calendars import ALWAYS_OPEN
    from md_platform.errors import UnknownInstrument
    from md_platform.settings import universe_of

    universe = universe_of(instrument.id, universes)
    if not instrument.quote and universe.calendar == ALWAYS_OPEN:
        raise UnknownInstrument(
            f"instruments of universe {universe.name} are pairs, as {instrument.venue}:BTC-USDT, was {instrument.id!r}"
        )


def _quiet() -> None:
    from md_platform.telemetry import configure_logging

    configure_logging("error")  # what went wrong is told once, by the command


def _open(settings: "Settings") -> "tuple[list[Instrument], Loader, Listing]":
    """Registered instruments, what loads, and what asks a venue for its instruments."""
    from md_platform.catalog.ledger import Ledger
    from md_platform.embedded.platform import database_url
    from md_platform.loading.loader import Loader
    from md_platform.orchestrator import Orchestrator
    from md_platform.settings import load_universes

    ledger = Ledger(database_url(settings))
    orchestrator = Orchestrator(dagster_url(settings))
    registered = [instrument for instrument, _ in ledger.instruments()]
    loader = Loader(ledger, orchestrator, load_universes(settings.universes_file))
    return registered, loader, listing_of(settings)


def listing_of(settings: "Settings") -> "Listing":
    """What asks a venue for its instruments."""
    import os

    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import child_environment
    from md_platform.settings import venue_urls

    home = Home.at(settings.home)

    def listing(venue: str) -> "list[Instrument]":
        from md_platform.sources.fetch import RetryPolicy
        from md_platform.sources.history import HistorySources

        urls = venue_urls({**os.environ, **child_environment(home, settings, "", "")})
        retry = RetryPolicy(attempts=2, connect_timeout_s=5)
        return HistorySources(urls, home.path / "downloads", retry=retry).instruments(venue)

    return listing


def dagster_url(settings: "Settings") -> str:
    """Where Dagster's webserver is."""
    return f"http://127.0.0.1:{settings.dagster_port}"


COMMANDS = (backfill, import_)
"""`import_` is the command `import`, which Python keeps for itself."""
