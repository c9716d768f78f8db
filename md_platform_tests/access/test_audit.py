"""The audit log on a real database: whole, bounded, kept for so long, and not in anybody's way."""

import datetime as dt
import time
from dataclasses import replace

import psycopg

from md_platform.access.audit import Access, Audit
from md_platform.storage.migrate import migrate

DAY = dt.timedelta(days=1)
ACCESS = Access(
    dt.datetime.now(dt.UTC), "bot", "127.0.0.1", "api", "GET", "/api/v1/x/{id}", "/api/v1/x/1", 200, 10, 1.5, "ab" * 16
)


def stored(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT principal, target, status, bytes FROM md.audit_log ORDER BY target"
        ).fetchall()


def test_every_access_is_written_also_those_of_the_last_moment(database_url: str):
    migrate(database_url)
    with Audit(database_url, DAY) as audit:
        for n in range(2_000):
            audit.record(replace(ACCESS, target=f"/{n:05}"))
        began = time.perf_counter()
        audit.record(replace(ACCESS, principal=None, target="/last"))
        assert time.perf_counter() - began < 0.01
    rows = stored(database_url)
    assert len(rows) == 2_001
    assert rows[-1] == (None, "/last", 200, 10)


def test_while_the_database_is_away_the_newest_are_dropped_and_counted(database_url: str):
    migrate(database_url)
    with Audit("postgresql://nobody@127.0.0.1:1/x?connect_timeout=1", DAY, capacity=3) as audit:
        for n in range(5):
            audit.record(replace(ACCESS, target=f"/{n}"))
        assert audit.dropped == 2
        time.sleep(1.5)
        assert len(audit._queue) == 3
        audit._url = database_url
    assert [target for _, target, *_ in stored(database_url)] == ["/0", "/1", "/2"]


def test_what_is_older_than_it_is_kept_for_is_removed(database_url: str):
    migrate(database_url)
    with Audit(database_url, DAY) as audit:
        audit.record(replace(ACCESS, at=ACCESS.at - 2 * DAY, target="/old"))
        audit.record(replace(ACCESS, target="/new"))
    assert [target for _, target, *_ in stored(database_url)] == ["/new"]
