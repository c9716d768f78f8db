"""`mdp stream`: run the live process, its database writer, or look at them."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from md_platform.errors import InvalidSetting, ServiceError

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
    ca_file: Annotated[Path | None, typer.Option(help="PEM of an authority to trust besides the system's.")] = None,
) -> None:
    """Stream until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import external_redis_url
    from md_platform.settings import load_settings, load_universes, universe_of, venue_urls
    from md_platform.storage.lake import Lake
    from md_platform.telemetry import configure_logging
    from streaming.run import StreamConfig, channels_named
    from streaming.run import replay as play
    from streaming.run import stream as run
    from streaming.sink_url import sink_urls

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
        port=settings.stream_port,
        record=record,
        lake=Lake(Path(settings.lake)),
        calendar=lambda id_: universe_of(id_, universes).calendar,
        ca_file=ca_file,
    )
    if replay is not None:
        asyncio.run(play(config, replay, _speed(speed)))
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


@app.command("write")
def write() -> None:
    """Store what the spool holds in the database, until Ctrl-C."""
    import signal

    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings, load_universes, universe_of
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
    spool = Home.at(settings.home).path / "stream" / "spool.db"
    with LiveStore(database_url(settings), universe_of=lambda id_: universe_of(id_, universes).name) as store:
        Writer(spool, store, settings.kept_for, lambda: stopping).run()


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
