"""TCP ports on loopback: which are free, who holds one that is not, and whether what listens is well."""

import random
import socket
import ssl

import httpx
import psutil

from md_platform.errors import PortTaken

LOOPBACK = "127.0.0.1"
_CHOICE = range(20_000, 32_000)  # below the ephemeral ports of Linux and macOS, which any client may sit on


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, timeout_s: float = 1) -> bool:
    """Whether a server accepts connections on `port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout_s):
            return True
    except OSError:
        return False


def free_port(preferred: int | None = None) -> int:
    """`preferred` where it is free, else another one that is."""
    if preferred is not None and is_free(preferred):
        return preferred
    generator = random.SystemRandom()  # two starts at once must not try the same ones
    for _ in range(200):
        if is_free(port := generator.choice(_CHOICE)):
            return port
    raise PortTaken(f"no free port found between {_CHOICE.start} and {_CHOICE.stop - 1}: end some servers")


def holder(port: int) -> str | None:
    """The process that listens on `port`, as `name (pid 12)`; None where the system does not show it."""
    try:
        for connection in psutil.net_connections("inet"):
            listening = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listening and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None


def require_free(port: int, purpose: str, variable: str) -> None:
    """Raise PortTaken unless `port` is free; the message says who holds it and that `variable` moves it."""
    if not is_free(port):
        who = holder(port) or "another process"
        raise PortTaken(f"port {port} for {purpose} is taken by {who}: end it, or set {variable} to a free port")


def is_healthy(address: str, trusted: ssl.SSLContext | bool = True) -> bool:  # noqa: FBT001, FBT002 - as httpx has it
    """Whether the server at `address` answers /healthz with success; `trusted` is whose certificates to believe."""
    try:
        return httpx.get(f"{address}/healthz", timeout=5, verify=trusted).is_success
    except httpx.HTTPError:
        return False
