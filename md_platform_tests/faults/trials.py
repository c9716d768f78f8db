"""The faults by name: each does something bad to a rig and returns when that is over; what must be said of it.

A trial's end is the moment at which everything is as it should be again, except for what the fault did.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from md_platform.storage.spool import Spool
from md_platform_tests.faults.rig import Rig, kill, until
from md_platform_tests.small_disk import filled

_HITS_WITHIN_S = 60.0
_STALL_S = 35.0
_AWAY_S = 5.0
_FULL_S = 6.0


@dataclass(frozen=True)
class Trial:
    """`commit` does it; each of `reports` must be said: a notice's kind, quarantined, or a part of a /readyz complaint.

    A report "log:NAME TEXT" is looked for in the log of that process.
    """

    name: str
    commit: Callable[[Rig], None]
    reports: tuple[str, ...] = ()
    needs_root: bool = False


def by_venue(count: int = 0, seconds: float = 0.0, **fault: Any) -> Callable[[Rig], None]:
    """Have the venue commit `fault` so often, or for so long."""
    asked = {"surface": "live", **fault}

    def commit(rig: Rig) -> None:
        if count:
            rig.faults({**asked, "count": count})
            until(lambda: rig.hits() >= count, _HITS_WITHIN_S, f"{count} hits of {fault['kind']}")
        else:
            rig.faults({**asked, "duration_s": seconds})
            time.sleep(seconds)
        rig.no_faults()

    return commit


def _database_away(rig: Rig) -> None:
    rig.database.kill()
    time.sleep(_AWAY_S)
    rig.database.start()


def _redis_away(rig: Rig) -> None:
    rig.redis.kill()
    time.sleep(_AWAY_S)
    rig.redis.start()


def _disk_full(rig: Rig) -> None:
    """The file system of the spool has nothing left; then it has again."""
    with filled(rig.home / "stream"):
        time.sleep(_FULL_S)


TRIALS = (
    Trial("disconnect", by_venue(count=3, kind="disconnect"), ("disconnected", "connected", "gap", "repaired")),
    Trial("stall", by_venue(seconds=_STALL_S, kind="stall"), ("stalled", "connected", "gap", "repaired")),
    Trial("sequence gap", by_venue(count=60, kind="gap", every=10), ("gap", "repaired", "book_resync")),
    Trial("duplicates", by_venue(seconds=5, kind="duplicate", every=2), ("duplicates",)),
    Trial("disorder", by_venue(seconds=5, kind="out_of_order", every=3), ("book_resync",)),
    Trial("late trades", by_venue(seconds=5, kind="late_trade", every=3, delay_s=4.0), ("gap", "repaired")),
    Trial("malformed frames", by_venue(count=60, kind="malformed", every=10), ("quarantined", "book_resync", "gap")),
    Trial("bad checksum", by_venue(count=3, kind="bad_checksum", protocol="kraken", every=20), ("book_resync",)),
    Trial("slow server", by_venue(seconds=6, kind="slow", delay_s=0.03), ("lagging", "caught_up")),
    Trial("database killed", _database_away, ("log:writer database is away", "log:writer database is back")),
    Trial("Redis killed", _redis_away, ("redis is away", "log:stream sink is back")),
    Trial("disk full", _disk_full, ("shed",), needs_root=True),
)


def kill_at(rig: Rig, moment: str, chance: random.Random) -> None:
    """kill -9 at a random moment of the life of the process, and start it again.

    `after commit`: the writer is stopped as soon as the database tells of a commit, and killed while its rows still
    stand in the spool, which has not heard of it.
    """
    if moment == "after commit":
        _kill_after_commit(rig)
    else:
        time.sleep(chance.uniform(0.3, 7.0))
        if moment in ("writer", "both"):
            kill(rig.writer)
        if moment in ("live process", "both"):
            kill(rig.stream)
    if moment in ("writer", "both", "after commit"):
        rig.start_writer()
    if moment in ("live process", "both"):
        rig.start_stream(tls=chance.random() < 0.5)


def _kill_after_commit(rig: Rig) -> None:
    writer = rig.writer
    if writer is None:
        raise AssertionError("the writer was started")
    before = rig.committed()
    until(lambda: rig.committed() > before, 30, "a commit")
    os.kill(writer.pid, signal.SIGSTOP)
    committed = rig.committed()
    rows = [row.id for row in Spool(rig.home / "stream" / "spool.db").read(before, 1 << 30) if row.id <= committed]
    if not rows:
        raise AssertionError("what was committed is in the spool no more")
    kill(writer)


MOMENTS = ("live process", "live process", "after commit", "live process", "both", "writer")
"""Who is killed, in turn."""
