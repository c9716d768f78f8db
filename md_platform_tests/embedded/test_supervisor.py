"""The supervisor on toy services: small Python programs that live, crash, grow or refuse to end."""

import contextlib
import itertools
import signal
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from md_platform.embedded import postgres
from md_platform.embedded import supervisor as supervising
from md_platform.embedded.home import Home
from md_platform.embedded.processes import Service, last_words, left_over, log_path
from md_platform.embedded.supervisor import Supervisor
from md_platform.errors import ServiceError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


def service(program: str, *, name: str = "toy", ready=lambda: True, **changes) -> Service:
    return Service(name=name, argv=(sys.executable, "-c", program), probe=ready, address="", **changes)


SLEEP = "import time; time.sleep(600)"


def pid_of(running: Supervisor, index: int = 0) -> int:
    return running.children[index].process.pid


def watch(running: Supervisor, until, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    running.watch(lambda: until() or time.monotonic() > deadline)
    assert until()


def test_a_crashed_child_is_restarted_with_growing_delay(home, tmp_path):
    starts = tmp_path / "starts"
    program = f"import time; open({str(starts)!r}, 'a').write(f'{{time.time()}}\\n')"
    with Supervisor(home) as running:
        running.start(service(program))
        watch(running, lambda: starts.exists() and len(starts.read_text().split()) == 4)
    times = [float(line) for line in starts.read_text().split()]
    delays = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert delays[0] >= 0.5
    assert delays[1] >= 1.0
    assert delays[2] >= 2.0


def test_a_child_that_keeps_crashing_stops_the_platform_with_its_last_words(home, monkeypatch):
    monkeypatch.setattr(supervising, "_BACK_OFF_S", (0.01, 0.01))
    with Supervisor(home) as running:
        running.start(service("print('all is well'); raise SystemExit('but not for long')"))
        with pytest.raises(ServiceError, match="toy ended 10 times in a row, at last with exit code 1") as caught:
            running.watch(lambda: False)
    assert "but not for long" in str(caught.value)


def test_a_long_healthy_child_starts_counting_anew(home, monkeypatch):
    monkeypatch.setattr(supervising, "_BACK_OFF_S", (0.01, 0.01))
    monkeypatch.setattr(supervising, "HEALTHY_AFTER_S", 0.05)
    with Supervisor(home) as running:
        running.start(service("import time; time.sleep(0.2)"))
        watch(running, lambda: running.children[0].restarts >= 11)


def test_a_child_that_never_was_ready_stops_the_start(home, monkeypatch):
    monkeypatch.setattr(supervising, "_BACK_OFF_S", (0.01, 0.01))
    with Supervisor(home) as running, pytest.raises(ServiceError, match="ended 3 times in a row"):
        running.start(service("raise ValueError('x')", ready=lambda: False))


def test_a_child_that_does_not_answer_in_time_is_named(home):
    with Supervisor(home) as running, pytest.raises(ServiceError, match="toy did not answer within 0 s"):
        running.start(service(SLEEP, ready=lambda: False, start_timeout_s=0.2))


def test_ends_children_last_started_first_and_kills_the_stubborn(home):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    log = log_path(home, "stubborn")
    with Supervisor(home) as running:
        running.start(
            service(
                stubborn,
                name="stubborn",
                stop_timeout_s=0.3,
                ready=lambda: log.exists() and "up\n" in log.read_text(),
            )
        )
        running.start(service(SLEEP, name="polite"))
        processes = [child.process for child in running.children]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, -signal.SIGTERM]
    assert list(home.run.iterdir()) == []


def test_what_a_child_started_ends_with_it(home):
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(600)"
    with Supervisor(home) as running:
        running.start(service(program))
        watch(running, lambda: len(psutil.Process(pid_of(running)).children()) == 1)
        grandchild = psutil.Process(pid_of(running)).children()[0]
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_grows_past_its_limit_is_restarted(home, monkeypatch):
    monkeypatch.setattr(supervising, "_HOUSEKEEPING_S", 0.1)
    with Supervisor(home) as running:
        running.start(service(SLEEP, rss_limit=2**20))
        before = pid_of(running)
        watch(running, lambda: pid_of(running) != before)
        assert running.children[0].crashes == 0


def test_logs_stay_small(home, monkeypatch):
    monkeypatch.setattr(supervising, "_HOUSEKEEPING_S", 0.05)
    monkeypatch.setattr(supervising, "LOG_BYTES", 10_000)
    program = "import time\nwhile True: print('x' * 100, flush=True); time.sleep(0.001)"
    path = log_path(home, "toy")
    with Supervisor(home) as running:
        running.start(service(program))
        watch(running, lambda: path.with_suffix(".log.1").exists())
        watch(running, lambda: path.stat().st_size > 1_000)
    assert path.stat().st_size < 100_000


def test_the_next_start_ends_what_a_killed_supervisor_left(home):
    killed = Supervisor(home)  # never left, as after kill -9
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(600)"
    killed.start(service(program))
    left = killed.children[0].process
    watch(killed, lambda: len(left_over(home)) == 2)
    with Supervisor(home):
        assert left.poll() is not None
        assert left_over(home) == {}


def test_a_reused_pid_is_nobodys_business(home):
    (home.run / "toy.json").write_text(f'{{"pid": {psutil.Process().pid}, "started": 1.0}}')
    (home.run / "torn.json").write_text("{")
    assert left_over(home) == {}
    assert list(home.run.iterdir()) == []


def test_never_two_servers_on_one_cluster(open_folder, monkeypatch):
    home = Home.at(open_folder / "twice")
    home.prepare()
    killed = Supervisor(home)
    server = postgres.service(home, durable=False)
    killed.start(server)
    first = killed.children[0].process
    with psycopg.connect(server.address) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    monkeypatch.setattr(supervising, "left_over", lambda _: {})  # killed before it wrote down what it had started
    with Supervisor(home) as running:
        again = postgres.service(home, durable=False)
        running.start(again)
        assert first.poll() is not None
        with psycopg.connect(again.address) as connection:
            assert connection.execute("SELECT x FROM kept").fetchone() == (1,)


def test_a_stop_is_heeded_while_a_start_waits(home):
    running = Supervisor(home)

    def never_ready() -> bool:
        running.request_stop()
        return False

    with running, pytest.raises(supervising.StopRequested):
        running.start(service(SLEEP, ready=never_ready))
    assert running.children == []
    assert left_over(home) == {}


def test_last_words_are_the_errors_of_the_last_start(tmp_path):
    path = tmp_path / "x.log"
    path.write_text(
        "--- started x at 1\nTraceback (most recent call last):\nOldError: gone\n"
        "--- started x at 2\nnoise\nTraceback (most recent call last):\n  File x\nInvalidSetting: A must be set\n\n"
        "The above exception was the direct cause\n\nTraceback (most recent call last):\n  File y\nLoadError: in x\nmore\n"
    )
    assert last_words(path) == "InvalidSetting: A must be set\nLoadError: in x"
    path.write_text("--- started x at 1\n" + "".join(f"{n}\n" for n in range(30)))
    assert last_words(path, 2) == "28\n29"
    assert last_words(tmp_path / "absent.log") == ""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
