"""Findings that need something to be wrong; the healthy platform is examined in test_platform."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from md_platform.embedded import doctor
from md_platform.embedded.home import Home
from md_platform.embedded.ports import free_port
from md_platform.settings import load_settings


@pytest.fixture
def settings(tmp_path):
    ports = {
        name: str(free_port()) for name in ("MDP_DAGSTER_PORT", "MDP_SANDBOX_PORT", "MDP_API_PORT", "MDP_GATEWAY_PORT")
    }
    return load_settings({"MDP_HOME": str(tmp_path / "home"), **ports})


def test_parts_that_do_not_answer_while_mdp_up_runs_are_wrong(settings):
    home = Home.at(settings.home)
    home.prepare()
    for part in ("postgres", "redis"):
        home.secret(part)
        home.remember(f"{part}_port", free_port())
    with home.lock():
        found = {finding.part: finding for finding in doctor.examine(settings)}
    assert found["mdp up"].state == "ok"
    for part in ("PostgreSQL", "Redis", "sandbox", "Dagster webserver"):
        assert found[part].state == "wrong", part
        assert found[part].problem
        assert "log" in found[part].mend


def test_a_disk_that_is_nearly_full(settings, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's own
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 10**8))
    found = doctor._disk(Home.at(settings.home))
    assert (found.state, found.version, found.mend) == ("wrong", "100.0 MB free", "free some, or move MDP_HOME")


def test_a_python_that_is_too_new(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 14, 0))
    assert doctor._python().state == "wrong"
    assert "make the virtual environment" in doctor._python().mend


def test_lake_and_archive(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 2_500)
    assert doctor._folder("lake", str(tmp_path), "MDP_LAKE_URI").version == "2.5 kB"
    assert doctor._folder("lake", str(tmp_path / "none"), "MDP_LAKE_URI").version == "empty"
    remote = doctor._folder("lake", "s3://key:secret@bucket/x", "MDP_LAKE_URI")
    assert (remote.state, remote.address) == ("note", "s3://key:***@bucket/x")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_lake_that_cannot_be_written(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert doctor._folder("lake", str(tmp_path), "MDP_LAKE_URI").state == "wrong"


def test_a_database_that_is_not_utf8_is_wrong(postgres_url: str, settings):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING SQL_ASCII TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        address = postgres_url.rpartition("/")[0] + "/ascii"
        found = list(
            doctor._database(
                settings.model_copy(update={"database_url": SecretStr(address)}), Home.at(settings.home), running=False
            )
        )
        connection.execute("DROP DATABASE ascii WITH (FORCE)")
    assert (found[0].state, found[0].problem) == ("wrong", "the database's encoding is SQL_ASCII, not UTF8")
    assert "createdb" in found[0].mend
