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


def api_address(settings: Settings) -> str:
    """Where the REST API is reached from this machine."""
    host = LOOPBACK if settings.api_host in ("0.0.0.0", "::") else settings.api_host
    return f"http://{host}:{settings.api_port}"
