"""The processes that serve data as services."""

import sys
from collections.abc import Mapping

from md_platform.embedded.ports import LOOPBACK, is_healthy
from md_platform.embedded.processes import Service
from md_platform.settings import Settings


def api(environment: Mapping[str, str], settings: Settings) -> Service:
    """The REST API."""
    address = api_address(settings)
    return Service(
        name="api",
        argv=(sys.executable, "-m", "md_platform.cli", "api"),
        probe=lambda: is_healthy(address),
        address=address,
        environment=environment,
    )


def gateway(environment: Mapping[str, str], settings: Settings) -> Service:
    """The WebSocket gateway."""
    address = gateway_address(settings)
    return Service(
        name="gateway",
        argv=(sys.executable, "-m", "md_platform.cli", "gateway"),
        probe=lambda: is_healthy(address),
        address=address,
        environment=environment,
    )


def api_address(settings: Settings) -> str:
    """Where the REST API is reached from this machine."""
    return _address(settings.api_host, settings.api_port)


def gateway_address(settings: Settings) -> str:
    """Where the gateway is reached from this machine, for health; clients say ws:// instead."""
    return _address(settings.gateway_host, settings.gateway_port)


def _address(host: str, port: int) -> str:
    return f"http://{LOOPBACK if host in ('0.0.0.0', '::') else host}:{port}"
