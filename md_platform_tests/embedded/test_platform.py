"""`mdp up` itself, on real servers: what must hold when it is stopped, killed, or run where something is in the way."""

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from md_platform.embedded import postgres, valkey
from md_platform.embedded.home import Home
from md_platform_tests.waiting import eventually


def count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT count(*) FROM kept").fetchone()[0]


def count_keys(redis_url: str) -> int:
    """Keys of the test alone: parts of the platform write others."""
    with redis.Redis.from_url(redis_url) as client:
        return len(client.keys("kept:*"))


def test_it_survives_kill_9_of_every_part_and_of_itself(mdp):
    platform = mdp().start().ready()
    home = Home(platform.home)
    database_url, redis_url = postgres.url(home), valkey.url(home)
    assert {path.stat().st_mode & 0o777 for path in (home.path / "secrets.json", home.path / "redis/valkey.conf")} == {
        0o600
    }
    for command in (psutil.Process(pid).cmdline() for pid in platform.children.values()):
        assert home.secret("postgres") not in " ".join(command)
        assert home.secret("redis") not in " ".join(command)

    examined = platform.run("doctor", "--json")
    findings = {finding["part"]: finding for finding in json.loads(examined.stdout)}
    assert examined.returncode == 0, examined.stdout
    assert {
        part: findings[part]["state"] for part in ("PostgreSQL", "Redis", "Dagster daemon", "migrations")
    } == dict.fromkeys(("PostgreSQL", "Redis", "Dagster daemon", "migrations"), "ok")
    assert findings["Dagster definitions"]["state"] == "ok"
    assert home.secret("postgres") not in examined.stdout

    second = platform.run("up")
    assert second.returncode == 1
    assert f"process {platform.process.pid} already runs the platform in {home.path}" in second.stderr

    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept (x integer)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"kept:{n}": n for n in range(1000)})

    before = platform.children
    os.kill(before["postgres"], signal.SIGKILL)
    os.kill(before["redis"], signal.SIGKILL)
    eventually(lambda: platform.children.get("postgres", before["postgres"]) != before["postgres"], 40)
    eventually(lambda: platform.children.get("redis", before["redis"]) != before["redis"], 40)
    eventually(lambda: postgres.answers(database_url) and valkey.answers(redis_url), 40)
    assert count(database_url) == count_keys(redis_url) == 1000

    platform.process.kill()
    platform.process.wait()
    platform.start().ready()
    servers = [p for p in psutil.process_iter(["cmdline"]) if f"{home.path}/postgres/data" in (p.info["cmdline"] or [])]
    assert len(servers) == 1
    assert count(postgres.url(home)) == count_keys(valkey.url(home)) == 1000

    assert platform.stop(signal.SIGTERM) == 0
    assert platform.left() == []
    assert platform.children == {}
    assert "was not properly shut down" not in (home.logs / "postgres.log").read_text().rpartition("starting")[2]


def test_ctrl_c_while_it_starts_ends_what_has_started(mdp):
    platform = mdp().start()
    platform.wait_for("redis: ready")
    assert platform.stop(signal.SIGINT) == 0
    assert platform.left() == []


def test_a_taken_port_is_named_with_the_variable_that_moves_it(mdp):
    platform = mdp()
    with socket.create_server(("127.0.0.1", int(platform.environment["MDP_DAGSTER_PORT"]))):
        result = platform.run("up")
    port = platform.environment["MDP_DAGSTER_PORT"]
    assert result.returncode == 1
    assert result.stderr.startswith(f"mdp: port {port} for Dagster's webserver is taken by ")
    assert f"pid {os.getpid()}" in result.stderr
    assert "set MDP_DAGSTER_PORT to a free port" in result.stderr
    assert "Traceback" not in result.stderr


def test_external_servers_are_used_and_left_alone(mdp, database_url, redis_url):
    platform = mdp(
        MDP_DATABASE_URL=database_url.replace("postgresql://", "postgresql+psycopg://"), MDP_REDIS_URL=redis_url
    )
    platform.start().ready()
    assert not {"postgres", "redis"} & platform.children.keys()
    assert not (platform.home / "postgres").exists()
    findings = {finding["part"]: finding for finding in json.loads(platform.run("doctor", "--json").stdout)}
    assert findings["PostgreSQL"]["state"] == findings["Redis"]["state"] == "ok"
    platform.stop()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM md.migrations").fetchone()[0] > 0
        assert connection.execute("SELECT to_regclass('public.runs') IS NOT NULL").fetchone()[0]
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


def test_definitions_that_cannot_be_loaded_stop_the_start_with_the_reason(mdp):
    platform = mdp()
    platform.definitions.write_text("raise RuntimeError('no such venue')\n")
    result = platform.run("up", "--definitions", str(platform.definitions))
    assert result.returncode == 1
    assert "mdp: code-server ended 3 times in a row" in result.stderr
    assert "RuntimeError: no such venue" in result.stderr
    assert platform.left() == []


def python_for(account: pwd.struct_passwd) -> list[str] | None:
    """An interpreter of our version that `account` may run, with our packages."""
    packages = [path for path in sys.path if path.endswith("-packages")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        program = f"import sys; sys.path.extend({packages!r}); import psycopg, md_platform, dagster"
        with contextlib.suppress(OSError):
            result = subprocess.run(
                [candidate, "-c", program],
                check=False,
                cwd=Path(__file__).parents[2],
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=(),
            )
            if result.returncode == 0:
                return [candidate]
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="run as an ordinary user, every other test here shows it")
def test_an_ordinary_user_can_run_it(mdp):
    account = pwd.getpwnam("nobody")
    python = python_for(account)
    if python is None:
        pytest.skip("no interpreter of this version that user nobody may run")
    packages = next(path for path in sys.path if path.endswith("-packages"))
    platform = mdp(python=python, HOME="/nonexistent")
    shims = platform.home.parent / "shims"
    shims.mkdir()
    (shims / "async_timeout.py").write_text("from asyncio import timeout\n")  # redis wants it before Python 3.11.3
    platform.environment["PYTHONPATH"] += os.pathsep + packages + os.pathsep + str(shims)
    os.chown(platform.home.parent, account.pw_uid, account.pw_gid)
    platform.start(user=account.pw_uid, group=account.pw_gid, extra_groups=()).ready()
    assert {psutil.Process(pid).uids().real for pid in platform.children.values()} == {account.pw_uid}
    assert platform.stop(signal.SIGINT) == 0
    assert platform.left() == []
