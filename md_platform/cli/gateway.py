"""`mdp gateway`: run the WebSocket gateway alone."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415


def gateway() -> None:
    """Serve live data and replays by WebSocket until Ctrl-C. Several share one port: start it again."""
    import asyncio
    import contextlib
    from pathlib import Path

    from md_platform.access.audit import Audit
    from md_platform.access.authenticator import Authenticator
    from md_platform.access.binding import require_safe, require_tls
    from md_platform.cli.access import access_config
    from md_platform.embedded.platform import database_url, redis_url
    from md_platform.gateway.server import GatewayConfig, serve
    from md_platform.serving.market import open_market
    from md_platform.settings import load_settings
    from md_platform.storage.archive import Archive
    from md_platform.storage.lake import Lake
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    access, redis, database = access_config(settings), redis_url(settings), database_url(settings)
    require_safe("MDP_GATEWAY_HOST", settings.gateway_host, is_open=access.is_open)
    tls = require_tls(settings.tls_certificate, settings.tls_key)
    market = open_market(Lake(Path(settings.lake)), Archive(settings.archive), database, redis)
    with (
        contextlib.closing(market),
        Authenticator(access, database, redis) as authenticator,
        Audit(database, settings.retention_audit) as audit,
    ):
        config = GatewayConfig(
            redis_url=redis,
            authenticator=authenticator,
            host=settings.gateway_host,
            port=settings.gateway_port,
            database_url=database,
            market=market,
            audit=audit,
            tls=tls.context() if tls else None,
        )
        asyncio.run(serve(config))


COMMANDS = (gateway,)
