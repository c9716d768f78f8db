"""`mdp alerts`: rules that people are told by, what they fired, and the process that evaluates them."""

# Imports stand inside of the commands, as the package's docstring explains; typer's flags are booleans with defaults.
# ruff: noqa: PLC0415, FBT002

from typing import TYPE_CHECKING, Annotated

import typer

from md_platform.cli.services import Json

if TYPE_CHECKING:
    from md_platform.alerts.rules import Rules

app = typer.Typer(help="Alerts: rules, what they fired, and the process that evaluates them.", no_args_is_help=True)
_OWNER = "operator"


@app.command("list")
def list_rules(as_json: Json = False) -> None:
    """List the rules of everybody."""
    import json
    from dataclasses import asdict

    from md_platform.cli.tables import cell, console, heading_table

    rules = _rules().all()
    if as_json:
        shown = [{**asdict(each), "condition": each.condition.model_dump(mode="json")} for each in rules]
        typer.echo(json.dumps({"rules": shown}, indent=1, default=str))
        return
    table = heading_table("id", "owner", "name", "instrument", "condition", "severity", "enabled", "last fired")
    for each in rules:
        condition = each.condition.model_dump_json()
        facts = (each.severity, each.is_enabled, each.last_fired_at)
        table.add_row(each.id, each.owner, each.name, cell(each.instrument), condition, *map(cell, facts))
    console().print(table)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    condition: Annotated[str, typer.Argument(help='JSON: {"kind": "price", "compare": "crosses", "value": 100000}.')],
    instrument: Annotated[str | None, typer.Option(help="binance:BTC-USDT, BTC/USDT or BTCUSDT.", metavar="ID")] = None,
    severity: Annotated[str, typer.Option(help="low, medium, high or critical.")] = "medium",
    cooldown: Annotated[int, typer.Option(help="Seconds in which it does not fire again.", min=0)] = 0,
    webhook: Annotated[str | None, typer.Option(help="Where to post what fired.", metavar="URL")] = None,
    secret: Annotated[str | None, typer.Option(help="Signs what the webhook gets.")] = None,
) -> None:
    """Add a rule."""
    from pydantic import TypeAdapter, ValidationError

    from md_platform.alerts.conditions import Condition, require_possible
    from md_platform.alerts.rules import Severity, Wish
    from md_platform.alerts.webhooks import require_webhook
    from md_platform.cli.data import ledger, registered
    from md_platform.errors import UserError
    from md_platform.settings import load_settings

    try:
        wanted = TypeAdapter[Condition](Condition).validate_json(condition)
        how_severe = TypeAdapter[Severity](Severity).validate_python(severity)
    except ValidationError as error:
        raise UserError(f"the rule cannot be read: {error.errors()[0]['msg']}, was {condition} {severity}") from None
    id_ = registered(ledger(), instrument).id if instrument else None
    require_possible(wanted, id_)
    if webhook:
        require_webhook(webhook, allows_private=load_settings().alert_private_webhooks)
    rule = _rules().add(_OWNER, Wish(name, id_, wanted, how_severe, cooldown, webhook, secret))
    typer.echo(rule.id)


@app.command()
def remove(rule: Annotated[str, typer.Argument(help="Id of a rule.")]) -> None:
    """Remove a rule; what it fired stays."""
    _rules().remove(rule, None)


@app.command()
def fired(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Show what fired, newest first."""
    import json
    from dataclasses import asdict

    from md_platform.cli.tables import cell, console, heading_table

    found = _rules().fired(limit=limit)
    if as_json:
        typer.echo(json.dumps({"fired": [asdict(each) for each in found]}, indent=1, default=str))
        return
    table = heading_table("at", "severity", "name", "instrument", "message", "webhook")
    for each in found:
        facts = (each.at, each.severity, each.name, each.instrument, each.message, each.webhook_state)
        table.add_row(*map(cell, facts))
    console().print(table)


@app.command()
def run() -> None:
    """Evaluate the rules until Ctrl-C; `mdp up` does it, too. What fires also goes to the brokers of MDP_SINKS."""
    import signal
    import threading

    from md_platform.alerts.service import serve
    from md_platform.embedded.home import Home
    from md_platform.embedded.platform import database_url, redis_url
    from md_platform.settings import load_settings
    from md_platform.telemetry import configure_logging
    from streaming.alert_relay import brokers, relay
    from streaming.sink_url import sink_urls

    configure_logging()
    settings = load_settings()
    stopping = threading.Event()
    sinks = brokers(sink_urls(settings.sinks.get_secret_value())) if settings.sinks else []
    relaying = threading.Thread(target=relay, args=(redis_url(settings), sinks, stopping), daemon=True)
    relaying.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    beat = Home.at(settings.home).path / "alerts.beat"
    beat.parent.mkdir(parents=True, exist_ok=True)
    serve(
        database_url(settings),
        redis_url(settings),
        stopping,
        allows_private=settings.alert_private_webhooks,
        beat=beat.touch,
    )
    relaying.join()


def _rules() -> "Rules":
    from md_platform.alerts.rules import Rules
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings

    return Rules(database_url(load_settings()))
