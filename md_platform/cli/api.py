"""`mdp api`: run the REST API alone."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fastapi import FastAPI


def api(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port.")] = 1,
) -> None:
    """Serve the REST API until Ctrl-C."""
    import uvicorn

    from md_platform.access.binding import require_safe
    from md_platform.settings import load_settings
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    require_safe("MDP_API_HOST", settings.api_host, is_open=settings.auth == "open")
    uvicorn.run(
        "md_platform.cli.api:application",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,  # ours stands
        access_log=False,  # RequestScope writes a line of its own, without secrets
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def application() -> "FastAPI":
    """The application of one process, by its environment."""
    from pathlib import Path

    from md_platform.access.authenticator import Authenticator
    from md_platform.api.app import create_app
    from md_platform.api.config import ApiConfig
    from md_platform.api.stores import Stores, redis_client
    from md_platform.catalog.ledger import Ledger
    from md_platform.catalog.reading import Reader
    from md_platform.embedded.platform import database_url, redis_url
    from md_platform.settings import load_settings, load_universes
    from md_platform.storage.archive import Archive
    from md_platform.storage.lake import Lake
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    is_open = settings.auth == "open"
    address = database_url(settings)
    lake, archive, ledger = Lake(Path(settings.lake)), Archive(settings.archive), Ledger(address)
    stores = Stores(
        database_url=address,
        redis=redis_client(redis_url(settings)),
        lake=lake,
        archive=archive,
        ledger=ledger,
        reader=Reader(lake, archive, ledger),
        universes=load_universes(settings.universes_file),
        authenticator=Authenticator(is_open=is_open),
    )
    return create_app(stores, ApiConfig(is_open=is_open))


COMMANDS = (api,)
