"""`mdp stream`: run the live process, its database writer, or look at them."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415

import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from md_platform.errors import InvalidSetting, ServiceError

if TYPE_CHECKING:
    from md_platform.settings import Universe

app = typer.Typer(help="The live process: exchange feeds into the spool, Redis and the database.")


@app.callback(invoke_without_command=True)
def stream(
    context: typer.Context,
    instruments: Annotated[
        str | None, typer.Option(help="Instruments, separated by commas; default MDP_INSTRUMENTS.")
    ] = None,
    channels: Annotated[str, typer.Option(help="Of trades, quotes, book, bars.")] = "trades,quotes,book",
    record: Annotated[Path | None, typer.Option(help="Folder to record raw frames to.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Play this capture, or folder of them, instead.")] = None,
    speed: Annotated[str, typer.Option(help="Of a replay: 1 as recorded, 10 ten times as fast, or max.")] = "1",
    shard: Annotated[
        str | None,
        typer.Option(help="i/n, such as 0/3: that part of MDP_INSTRUMENTS, or just --instruments."),
    ] = None,
    standby: Annotated[bool, typer.Option(help="Wait for a shard that nobody serves, and serve it.")] = False,  # noqa: FBT002
    shards: Annotated[int, typer.Option(min=1, max=9_999, help="Of --standby: how many shards there are.")] = 1,
    port: Annotated[
        int | None, typer.Option(help="Of health; default MDP_STREAM_PORT plus the shard's number.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="PEM of an authority to trust besides the system's.")] = None,
) -> None:
    """Stream until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    import asyncio
    from dataclasses import replace as replaced

    from md_platform.domain.calendars import ALWAYS_OPEN
    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import external_database_url, external_redis_url
    from md_platform.settings import load_settings, load_universes, venue_urls
    from md_platform.storage.lake import Lake
    from md_platform.telemetry import configure_logging
    from streaming.assignment import Shard, assigned
    from streaming.run import StreamConfig, channels_named
    from streaming.run import replay as play
    from streaming.run import stream as run
    from streaming.sink_url import sink_urls
    from streaming.standby import stream_shard

    configure_logging()
    settings = load_settings()
    home = Home.at(settings.home)
    universes = load_universes(settings.universes_file)
    config = StreamConfig(
        instruments=[name.strip() for name in instruments.split(",")] if instruments else settings.instruments,
        spool=home.path / "stream" / "spool.db",
        redis_url=external_redis_url(settings),
        sinks=sink_urls(settings.sinks.get_secret_value()) if settings.sinks else (),
        urls=venue_urls(),
        channels=channels_named(channels),
        cache=home.path / "cache",
        port=port or settings.stream_port,
        record=record,
        lake=Lake(Path(settings.lake)),
        calendar=lambda id_: universe.calendar if (universe := _universe(id_, universes)) else ALWAYS_OPEN,
        ca_file=ca_file,
        database_url=external_database_url(settings),
        book_levels=settings.book_levels,
    )
    if replay is not None:
        asyncio.run(play(config, replay, _speed(speed)))
    elif standby or shard is not None:
        if standby and (config.redis_url is None or shard is not None or instruments is not None):
            raise InvalidSetting(
                "--standby needs MDP_REDIS_URL, and takes --shards instead of --shard or --instruments"
            )
        of = [Shard.parse(shard)] if shard else [Shard(index, shards) for index in range(shards)]
        configs = [
            replaced(
                config,
                shard=each,
                instruments=config.instruments if instruments else assigned(config.instruments, each),
                spool=config.spool.parent / f"shard-{each.index}" / config.spool.name,
                port=port or settings.stream_port + (shards if standby else each.index),
            )
            for each in of
        ]
        asyncio.run(stream_shard(configs, is_standby=standby))
    else:
        asyncio.run(run(config))


def _speed(text: str) -> float | None:
    try:
        speed = None if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidSetting(f"--speed must be a positive number or max, was {text!r}")
    return speed


def _universe(instrument_id: str, universes: "tuple[Universe, ...]") -> "Universe | None":
    """The universe that claims an instrument; any exchange of ccxt's may be streamed without one."""
    from md_platform.settings import universe_of

    try:
        return universe_of(instrument_id, universes)
    except InvalidSetting:
        return None


@app.command("write")
def write() -> None:
    """Store what the spools of this machine hold in the database, until Ctrl-C."""
    import signal

    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings, load_universes
    from md_platform.storage.live_store import LiveStore
    from md_platform.telemetry import configure_logging
    from streaming.writer import Writer

    configure_logging()
    settings = load_settings()
    universes = load_universes(settings.universes_file)
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    def universe_name(instrument_id: str) -> str:
        universe = _universe(instrument_id, universes)
        return universe.name if universe else ""

    with LiveStore(database_url(settings), universe_of=universe_name) as store:
        Writer(Home.at(settings.home).stream, store, settings.kept_for, lambda: stopping).run()


@app.command("status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON once.")] = False,  # noqa: FBT002 - typer's flag
    watch: Annotated[bool, typer.Option(help="Refresh each second until Ctrl-C.")] = False,  # noqa: FBT002
) -> None:
    """Show connections, rates, gaps and stores of the running live process."""
    import httpx
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from md_platform.settings import load_settings

    address = f"http://127.0.0.1:{load_settings().stream_port}/status"

    def asked() -> dict[str, object]:
        try:
            return dict(httpx.get(address, timeout=5).json())
        except httpx.HTTPError as error:
            raise ServiceError(f"no live process answers at {address} ({error}): start it with `mdp stream`") from None

    def table(found: dict[str, object]) -> Table:
        shown = Table(box=None, pad_edge=False, show_header=False)
        for name, value in found.items():
            shown.add_row(name, json.dumps(value) if isinstance(value, dict | list) else str(value))
        return shown

    if as_json:
        typer.echo(json.dumps(asked(), indent=1))
    elif not watch:
        Console().print(table(asked()))
    else:
        with Live(table(asked()), refresh_per_second=2) as live:
            while True:
                time.sleep(1)
                live.update(table(asked()))


@app.command("book")
def book(
    instrument: Annotated[str, typer.Argument(help="Instrument, such as binance:BTC-USDT.")],
    depth: Annotated[str, typer.Option(help="Levels a side, or all.")] = "10",
    port: Annotated[int | None, typer.Option(help="Of the process that streams it; default MDP_STREAM_PORT.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - typer's flag
) -> None:
    """Show the order book of an instrument as the running live process has it now."""
    import httpx
    from rich.console import Console
    from rich.table import Table

    from md_platform.domain.instruments import Instrument
    from md_platform.settings import load_settings

    address = f"http://127.0.0.1:{port or load_settings().stream_port}"
    try:
        answer = httpx.get(f"{address}/book/{Instrument.parse(instrument).id}", params={"depth": depth}, timeout=5)
        found = dict(answer.json())
    except (httpx.HTTPError, ValueError) as error:
        raise ServiceError(f"no live process answers at {address} ({error}): start it with `mdp stream`") from None
    if answer.is_error:
        raise ServiceError(f"{found['error']}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    shown = Table("bid size", "bid", "ask", "ask size", box=None, pad_edge=False)
    for bid, ask in itertools.zip_longest(found["bids"], found["asks"], fillvalue=("", "")):
        shown.add_row(str(bid[1]), str(bid[0]), str(ask[0]), str(ask[1]))
    Console().print(shown)
