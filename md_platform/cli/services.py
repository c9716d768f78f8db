"""Commands that run the platform's parts or look after them: up, doctor, sandbox, migrate."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from md_platform.embedded.doctor import Finding
    from md_platform.embedded.platform import Running

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_COLOURS = {"ok": "green", "note": "cyan", "wrong": "red", "off": "dim"}


def up(
    definitions: Annotated[
        str, typer.Option(hidden=True, help="Module or .py file with the Dagster definitions.")
    ] = "md_platform.definitions",
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from md_platform.cli.load import first_load
    from md_platform.embedded import platform
    from md_platform.settings import load_settings
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    load = first_load if settings.first_load_days and definitions == platform.DEFINITIONS else None
    platform.up(settings, progress=_line, ready=_print_ready, first_load=load, definitions=definitions)
    _line("stopped")


def doctor(as_json: Json = False) -> None:  # noqa: FBT002 - typer's flag
    """List each part with version and address, what is wrong with it, and how to mend it."""
    import json
    from dataclasses import asdict

    from md_platform.embedded.doctor import examine
    from md_platform.settings import load_settings

    findings = examine(load_settings())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _print_findings(findings)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def sandbox(
    faults: Annotated[Path | None, typer.Option(help="JSON file of faults to commit.")] = None,
    speed: Annotated[float, typer.Option(help="Simulated seconds per second.", min=0.001)] = 1.0,
) -> None:
    """Run the sandbox venue alone, until Ctrl-C."""
    from md_platform.sandbox.server import SandboxConfig, run
    from md_platform.settings import load_settings
    from md_platform.telemetry import configure_logging

    configure_logging()
    settings = load_settings()
    run(SandboxConfig(port=settings.sandbox_port, seed=settings.sandbox_seed, faults=faults, speed=speed))


def migrate(as_json: Json = False) -> None:  # noqa: FBT002 - typer's flag
    """Bring the database's tables up to date and print what was applied."""
    import json

    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings
    from md_platform.storage.migrate import migrate as apply

    applied = apply(database_url(load_settings()))
    if as_json:
        typer.echo(json.dumps({"applied": applied}))
        return
    for name in applied or ["nothing, the database is up to date"]:
        _line(f"applied {name}")


def _line(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


def _print_ready(running: "Running") -> None:
    from rich.console import Console
    from rich.table import Table

    from md_platform.telemetry import redact

    addresses = running.addresses
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, address in (
        ("Page", addresses.api_url),
        ("REST API", f"{addresses.api_url}/api/v1"),
        ("WebSocket", (addresses.gateway_url or "").replace("http", "ws", 1)),
        ("Dagster", addresses.dagster_url),
        ("PostgreSQL", redact(addresses.database_url)),
        ("Redis", redact(addresses.redis_url)),
        ("sandbox venue", addresses.sandbox_url),
        ("credentials", f"{running.home.path}/secrets.json"),
        ("logs", str(running.home.logs)),
    ):
        if address:
            table.add_row(name, address)
    Console(soft_wrap=True).print(table)
    _line(f"ready after {running.seconds:.0f} s; open {addresses.dagster_url}, try `mdp doctor`, stop with Ctrl-C")


def _print_findings(findings: list["Finding"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("part", "version", "address", "state"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        state = f"[{_COLOURS[finding.state]}]{finding.state}[/]"
        table.add_row(finding.part, finding.version, finding.address, state)
    console = Console()
    console.print(table)
    for finding in findings:
        if finding.problem:
            mend = f" → {finding.mend}" if finding.mend else ""
            console.print(f"{finding.part}: {finding.problem}{mend}", markup=False, soft_wrap=True)
    for mend in dict.fromkeys(finding.mend for finding in findings if finding.mend and not finding.problem):
        console.print(f"→ {mend}", markup=False, soft_wrap=True)


COMMANDS = (up, doctor, sandbox, migrate)
