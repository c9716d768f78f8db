"""The spool keeps what it was given, in order, and gives up only what its policy names."""

import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from md_platform.errors import StorageError, StorageFull
from md_platform.storage.spool import Message, Spool
from md_platform_tests.small_disk import MAY_MOUNT, small_disk

APPENDER = """
import sys
from pathlib import Path
from md_platform.storage.spool import Message, Spool

spool = Spool(Path(sys.argv[1]))
for n in range(1_000_000):
    last = spool.append([Message("trades", "md:trades:x", 1, b"%d" % n), Message("book", "md:book:x", 1, b"%d" % n)])
    print(last, flush=True)
"""


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db")


def message(n: int, kind: str = "trades", events: int = 1) -> Message:
    return Message(kind, f"md:{kind}:x", events, str(n).encode())  # type: ignore[arg-type]


def test_messages_come_back_in_order_and_as_many_events_as_asked(spool: Spool) -> None:
    last = spool.append([message(n, events=10) for n in range(10)])
    found = spool.read(0, events=35)
    assert [row.message for row in found] == [message(n, events=10) for n in range(3)]
    assert [row.message for row in spool.read(found[-1].id, events=1)] == [message(3, events=10)]
    assert spool.read(last) == []
    assert spool.depth(found[-1].id) == (7, 70)


def test_it_is_the_same_spool_when_it_is_opened_again(spool: Spool) -> None:
    spool.append([message(1)])
    again = Spool(spool.path)
    assert again.id == spool.id
    assert [row.message for row in again.read(0)] == [message(1)]


def test_only_what_is_stored_and_old_is_forgotten(spool: Spool) -> None:
    last = spool.append([message(n) for n in range(4)])
    assert spool.forget(last, 0) == 0
    assert spool.forget(2, time.time_ns() + 1) == 2
    assert [row.message for row in spool.read(0)] == [message(2), message(3)]
    assert spool.append([message(4)]) == last + 1


def test_books_go_first_then_quotes_the_oldest_of_them_and_never_trades(spool: Spool) -> None:
    spool.append([message(n, kind, 5) for n in range(4) for kind in ("trades", "quotes", "book")])
    assert spool.shed(0, 8) == ("book", 10)
    assert [row.message.payload for row in spool.read(0, 1_000) if row.message.kind == "book"] == [b"2", b"3"]
    assert spool.shed(0, 1_000) == ("book", 10)
    assert spool.shed(0, 1_000) == ("quotes", 20)
    assert spool.shed(0, 1_000) is None
    assert [row.message.kind for row in spool.read(0, 1_000)] == ["trades"] * 4


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(50)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout.read().splitlines() if line]
        ids = [row.id for row in Spool(path).read(0, 10**9)]
        assert ids == list(range(1, len(ids) + 1))
        assert ids[-1] >= acknowledged[-1]
        assert len(ids) % 2 == 0


def test_a_file_that_is_no_spool_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(os.urandom(8_192))
    with pytest.raises(StorageError, match="move it aside"):
        Spool(tmp_path / "spool.db")


@pytest.mark.skipif(not MAY_MOUNT, reason="only root may mount a small disk")
@pytest.mark.parametrize("give_up", ["shed", "forget", "overrun"])
def test_a_spool_that_fills_its_disk_can_still_give_up_what_it_may_and_then_takes_more(
    give_up: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 48) as disk:
        spool = Spool(disk / "spool.db")
        spool.keep_for({"redis": "*"})
        with suppress(StorageFull):
            for n in itertools.count():
                kinds = ("book", "trades") if n % 2 else ("quotes", "trades")
                spool.append([Message(kind, "md:x", 1, os.urandom(5_000)) for kind in kinds for _ in range(20)])
        with pytest.raises(StorageFull):
            spool.append([Message("trades", "md:x", 1, os.urandom(500_000))])
        if give_up == "shed":
            assert spool.shed(0, 100) == ("book", 100)
        elif give_up == "forget":
            spool.remember("redis", 1_000)
            assert spool.forget(400, time.time_ns() + 1) == 400
        else:
            assert spool.overrun(400, time.time_ns() + 1) == {"redis": 400}
        last = spool.append([Message("trades", "md:x", 1, os.urandom(5_000)) for _ in range(20)])
        assert spool.read(last - 1)[0].message.kind == "trades"
        spool.close()
