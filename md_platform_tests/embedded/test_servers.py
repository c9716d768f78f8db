import os
from pathlib import Path

import psycopg
import redis


def test_each_test_gets_an_empty_database(database_url):
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        encoding, collation = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert (encoding, collation) == ("UTF8", "C")


def test_redis_keeps_what_it_is_told(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.set("a", "1")
        assert client.get("a") == b"1"


def test_the_database_never_runs_as_root(database_url):
    with psycopg.connect(database_url) as connection:
        pid = connection.info.backend_pid
        with Path(f"/proc/{pid}/status").open() as file:
            uid = next(line.split()[1] for line in file if line.startswith("Uid:"))
    assert int(uid) != 0
    assert os.geteuid() in (0, int(uid))
