"""`mdp`: arguments in, calls of the platform out. Commands stand in the modules beside; each has a tuple COMMANDS.

Modules import what costs time inside of their commands: `mdp --help` stays instant.
"""

import json
import sys
from typing import NoReturn

import typer

from md_platform.cli import access, alerts, api, data, gateway, load, reconciling, services, stream
from md_platform.errors import MdpError

app = typer.Typer(
    help="The market data platform on one machine. Settings come from the environment (MDP_...) and .env.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _begin() -> None:
    from md_platform.telemetry import configure_logging  # noqa: PLC0415 - structlog is slow to import

    configure_logging("warning")  # on standard error, also of a command that says no more: its output may be JSON


for _command in (
    *services.COMMANDS,
    *load.COMMANDS,
    *data.COMMANDS,
    *reconciling.COMMANDS,
    *api.COMMANDS,
    *gateway.COMMANDS,
):
    app.command(_command.__name__.rstrip("_"))(_command)
app.add_typer(stream.app, name="stream")
app.add_typer(access.app, name="token")
app.add_typer(alerts.app, name="alerts")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 something failed, 2 the request is wrong, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments, prog_name="mdp")
    except MdpError as error:
        _report(error, as_json="--json" in arguments)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)


def _report(error: MdpError, *, as_json: bool) -> None:
    """One clear line on standard error, or one JSON object."""
    from md_platform.telemetry import redact  # noqa: PLC0415 - structlog is slow to import

    message = redact(str(error))
    if as_json:
        content = {"error": {"type": type(error).__name__, "message": message, "retryable": error.retryable}}
        typer.echo(json.dumps(content), err=True)
    else:
        typer.echo(f"mdp: {message}", err=True)
