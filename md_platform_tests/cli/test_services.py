"""The commands as a user meets them: what is printed where, and with which exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import structlog

from md_platform import cli
from md_platform.cli import services
from md_platform.embedded import doctor
from md_platform.embedded.ports import free_port
from md_platform.errors import MdpError, SourceUnavailable, UserError


@pytest.fixture(autouse=True)
def _empty_home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MDP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MDP_DAGSTER_PORT", str(free_port()))
    monkeypatch.setenv("MDP_API_PORT", str(free_port()))
    monkeypatch.setenv("MDP_GATEWAY_PORT", str(free_port()))
    monkeypatch.setenv("MDP_SANDBOX_PORT", str(free_port()))
    monkeypatch.chdir(tmp_path)


def mdp(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_of:
        cli.main(list(arguments))
    return exit_of.value.code


def fails_with(error: BaseException, monkeypatch) -> None:
    def command() -> None:
        raise error

    app = cli.typer.Typer()
    app.command()(command)
    monkeypatch.setattr(cli, "app", app)


def test_help_lists_the_commands_at_once():
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "md_platform.cli", "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
    )
    took = time.monotonic() - began
    for command in services.COMMANDS:
        assert command.__name__ in result.stdout
    assert took < 2  # about 0.2 s, on a machine that does nothing else


def test_heavy_packages_are_not_imported_for_help():
    program = "import sys; import md_platform.cli; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    heavy = {"dagster", "polars", "pandas", "psycopg", "httpx", "redis", "structlog", "pydantic_settings"}
    assert not heavy & set(result.stdout.split())


@pytest.mark.parametrize(
    ("error", "code"),
    [(MdpError("it broke"), 1), (UserError("you wrote x, was y"), 2)],
)
def test_an_error_is_one_line_on_standard_error(error, code, monkeypatch, capsys):
    fails_with(error, monkeypatch)
    assert mdp() == code
    printed = capsys.readouterr()
    assert printed.err == f"mdp: {error}\n"
    assert printed.out == ""


def test_errors_hide_passwords(monkeypatch, capsys):
    fails_with(MdpError("cannot reach postgresql://u:s3cret@h/d"), monkeypatch)
    mdp()
    assert capsys.readouterr().err == "mdp: cannot reach postgresql://u:***@h/d\n"


def test_errors_are_json_where_json_was_asked_for(monkeypatch, capsys):
    def command(*, as_json: services.Json = False) -> None:
        raise SourceUnavailable("venue does not answer")

    app = cli.typer.Typer()
    app.command()(command)
    monkeypatch.setattr(cli, "app", app)
    assert mdp("--json") == 1
    assert json.loads(capsys.readouterr().err) == {
        "error": {"type": "SourceUnavailable", "message": "venue does not answer", "retryable": True}
    }


def test_what_is_logged_beside_json_goes_to_standard_error(monkeypatch, capsys):
    def findings(_settings) -> list[object]:
        structlog.get_logger("a").warning("the database is slow")
        return []

    monkeypatch.setattr(doctor, "examine", findings)
    assert mdp("doctor", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert "the database is slow" in printed.err


def test_an_interrupt_is_exit_code_130(monkeypatch):
    fails_with(KeyboardInterrupt(), monkeypatch)
    assert mdp() == 130


def test_an_unknown_command_is_exit_code_2(capsys):
    assert mdp("dance") == 2
    assert "dance" in capsys.readouterr().err


def test_a_wrong_setting_is_exit_code_2_and_names_the_variable(monkeypatch, capsys):
    monkeypatch.setenv("MDP_DAGSTER_PORT", "many")
    assert mdp("doctor") == 2
    assert capsys.readouterr().err.startswith("mdp: MDP_DAGSTER_PORT: ")


def test_migrate_says_what_it_applied(database_url, monkeypatch, capsys):
    monkeypatch.setenv("MDP_DATABASE_URL", database_url)
    assert mdp("migrate") == 0
    assert "applied 0001_catalog.sql" in capsys.readouterr().out
    assert mdp("migrate") == 0
    assert capsys.readouterr().out == "applied nothing, the database is up to date\n"
    assert mdp("migrate", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"applied": []}


def test_migrate_without_a_database_says_what_to_do(capsys):
    assert mdp("migrate") == 1
    assert "start the platform with `mdp up`, or set MDP_DATABASE_URL" in capsys.readouterr().err


def findings(capsys) -> dict[str, dict[str, str]]:
    return {finding["part"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_doctor_before_the_first_start_finds_nothing_wrong_and_changes_nothing(capsys, tmp_path):
    assert mdp("doctor", "--json") == 0
    found = findings(capsys)
    assert {found[part]["state"] for part in ("mdp up", "PostgreSQL", "Redis", "Dagster", "sandbox")} == {"off"}
    assert found["Python"]["state"] == found["disk"]["state"] == "ok"
    assert not (tmp_path / "home").exists()


def test_doctor_prints_a_table_with_the_mend(capsys):
    assert mdp("doctor") == 0
    printed = capsys.readouterr().out
    assert "PostgreSQL" in printed
    assert printed.count("start the platform with `make up` or `mdp up`") == 1


def test_doctor_names_who_holds_a_port(capsys):
    with socket.create_server(("127.0.0.1", int(os.environ["MDP_DAGSTER_PORT"]))):
        assert mdp("doctor", "--json") == 1
    found = findings(capsys)["Dagster"]
    assert found["state"] == "wrong"
    assert f"pid {os.getpid()}" in found["problem"]
    assert "MDP_DAGSTER_PORT" in found["mend"]


def test_doctor_looks_at_external_servers_without_telling_passwords(database_url, redis_url, monkeypatch, capsys):
    monkeypatch.setenv("MDP_DATABASE_URL", database_url)
    monkeypatch.setenv("MDP_REDIS_URL", redis_url)
    assert mdp("doctor", "--json") == 1
    found = findings(capsys)
    assert found["PostgreSQL"]["state"] == found["Redis"]["state"] == "ok"
    assert found["Redis"]["version"].startswith("Valkey ")
    assert found["TimescaleDB"]["version"] == "plain PostgreSQL"
    assert found["migrations"]["mend"] == "run `mdp migrate`"
    for part in ("PostgreSQL", "Redis"):
        assert ":***@127.0.0.1" in found[part]["address"]

    mdp("migrate")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE md.migrations SET sha256 = 'x'")
    capsys.readouterr()
    assert mdp("doctor", "--json") == 1
    assert "has changed since it was applied" in findings(capsys)["migrations"]["problem"]


def test_doctor_says_that_external_servers_are_down(monkeypatch, capsys):
    monkeypatch.setenv("MDP_DATABASE_URL", f"postgresql://u:s3cret@127.0.0.1:{free_port()}/d")
    monkeypatch.setenv("MDP_REDIS_URL", f"redis://:s3cret@127.0.0.1:{free_port()}/0")
    assert mdp("doctor", "--json") == 1
    printed = capsys.readouterr().out
    assert "s3cret" not in printed
    found = {finding["part"]: finding for finding in json.loads(printed)}
    assert found["PostgreSQL"]["mend"] == "start it, or mend MDP_DATABASE_URL"
    assert found["Redis"]["mend"] == "start it, or mend MDP_REDIS_URL"


def test_sandbox_runs_alone_until_it_is_stopped(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-m", "md_platform.cli", "sandbox"], env=environment)
    address = f"http://127.0.0.1:{os.environ['MDP_SANDBOX_PORT']}/healthz"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(address).is_success
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
