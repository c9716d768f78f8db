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
    import os
    import tempfile

    import uvicorn

    from md_platform.access.binding import require_safe, require_tls
    from md_platform.cli.access import access_config
    from md_platform.embedded.home import Home
    from md_platform.settings import load_settings
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    home = Home.at(settings.home)
    home.path.mkdir(parents=True, exist_ok=True)
    home.secret("downloads")  # made once, before several workers ask for it
    require_safe("MDP_API_HOST", settings.api_host, is_open=access_config(settings).is_open)
    tls = require_tls(settings.tls_certificate, settings.tls_key)
    with tempfile.TemporaryDirectory(prefix="mdp-api-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # so that /metrics of one tells of all
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
            access_log=False,  # the middleware writes a line of its own, without secrets
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=10,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )


def application() -> "FastAPI":
    """The application of one process, by its environment."""
    from pathlib import Path

    from md_platform.access.audit import Audit
    from md_platform.access.authenticator import Authenticator
    from md_platform.access.rates import Rates
    from md_platform.api import tracing
    from md_platform.api.app import create_app
    from md_platform.api.config import ApiConfig
    from md_platform.api.operations import Operations
    from md_platform.api.stores import Stores, redis_client
    from md_platform.cli.access import access_config
    from md_platform.cli.load import dagster_url, listing_of
    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import database_url, redis_url
    from md_platform.loading.loader import Loader
    from md_platform.orchestrator import Orchestrator
    from md_platform.serving.market import open_market
    from md_platform.settings import load_settings, load_universes
    from md_platform.storage.archive import Archive
    from md_platform.storage.lake import Lake
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    database, redis = database_url(settings), redis_url(settings)
    lake, archive = Lake(Path(settings.lake)), Archive(settings.archive)
    market = open_market(lake, archive, database, redis)
    access = access_config(settings)
    if settings.otlp_url:
        tracing.send_to(settings.otlp_url)
    universes = load_universes(settings.universes_file)
    # a request must not wait as long for Dagster as a command may
    orchestrator = Orchestrator(dagster_url(settings), timeout_s=10, patience_s=5)
    stores = Stores(
        database_url=database,
        redis=redis_client(redis),
        lake=lake,
        archive=archive,
        ledger=market.ledger,
        reader=market.history,
        universes=universes,
        market=market,
        operations=Operations.open(
            database,
            orchestrator,
            Loader(market.ledger, orchestrator, universes),
            listing_of(settings),
            market.history,
            settings.exports,
            str(Home.at(settings.home).secret("downloads")),
            settings.imports,
            f"http://127.0.0.1:{settings.stream_port}" if settings.stream else None,
            settings.instruments,
        ),
        authenticator=Authenticator(access, database, redis),
        rates=Rates(redis),
        audit=Audit(database, settings.retention_audit),
    )
    config = ApiConfig(
        is_open=access.is_open,
        cors_origins=settings.api_cors_origins,
        max_body_bytes=settings.api_max_body_bytes,
        max_rows=settings.api_max_rows,
        is_traced=settings.otlp_url is not None,
        is_encrypted=settings.tls_certificate is not None,
        allows_private_webhooks=settings.alert_private_webhooks,
        gateway_port=settings.gateway_port,
    )
    return create_app(stores, config)


COMMANDS = (api,)
