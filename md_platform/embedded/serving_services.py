"""The processes that serve data as services."""

import ssl
import sys
import time
from collections.abc import Mapping

from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, is_healthy
from md_platform.embedded.processes import Service
from md_platform.settings import Settings

_FRESH_S = 30


def api(environment: Mapping[str, str], settings: Settings) -> Service:
    """The REST API."""
    address = api_address(settings)
    return Service(
        name="api",
        argv=(sys.executable, "-m", "md_platform.cli", "api"),
        probe=lambda: is_healthy(address, trusted(settings)),
        address=address,
        environment=environment,
    )


def gateway(environment: Mapping[str, str], settings: Settings) -> Service:
    """The WebSocket gateway."""
    address = gateway_address(settings)
    return Service(
        name="gateway",
        argv=(sys.executable, "-m", "md_platform.cli", "gateway"),
        probe=lambda: is_healthy(address, trusted(settings)),
        address=address,
        environment=environment,
    )


def alerts(home: Home, environment: Mapping[str, str]) -> Service:
    """The process that evaluates the rules of alerts."""
    beat = home.path / "alerts.beat"
    return Service(
        name="alerts",
        argv=(sys.executable, "-m", "md_platform.cli", "alerts", "run"),
        probe=lambda: beat.exists() and time.time() - beat.stat().st_mtime < _FRESH_S,
        address=str(beat),
        environment=environment,
    )


def api_address(settings: Settings) -> str:
    """Where the REST API is reached from this machine."""
    return _address(settings, settings.api_host, settings.api_port)


def gateway_address(settings: Settings) -> str:
    """Where the gateway is reached from this machine, for health; clients say ws:// instead."""
    return _address(settings, settings.gateway_host, settings.gateway_port)


def trusted(settings: Settings) -> ssl.SSLContext | bool:
    """Whom to believe when asking our own servers: the certificate that they were given, for whatever name it is."""
    if settings.tls_certificate is None:
        return True
    context = ssl.create_default_context(cafile=settings.tls_certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _address(settings: Settings, host: str, port: int) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{LOOPBACK if host in ('0.0.0.0', '::') else host}:{port}"
