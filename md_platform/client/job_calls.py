"""Calls that start, watch and end what runs for a while: loading history, exporting, alerting."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import polars as pl

from md_platform.client.asking import Ids, Pause, Request, Steps, When, given, several, time_text
from md_platform.client.jobs import AlertRule, Backfill, Export, Severity
from md_platform.client.market_calls import rows
from md_platform.errors import PlatformUnavailable, ServiceError

J = TypeVar("J", Backfill, Export)

_TIME = pl.Datetime("us", "UTC")
_FIRED = {
    "id": pl.Int64(),
    **dict.fromkeys(("rule_id", "owner", "name", "instrument", "severity", "message"), pl.String()),
    "value": pl.Float64(),
    **dict.fromkeys(("at", "fired_at"), _TIME),
    "webhook_state": pl.String(),
    "webhook_attempts": pl.Int64(),
    "webhook_error": pl.String(),
}
_LOOK_AGAIN_S = 0.5


def backfill(
    ids: Ids,
    start: dt.date | str,
    end: dt.date | str,
    *,
    stage: Literal["raw", "cleaned", "resampled", "indicators", "archive"] = "archive",
    trades: bool = False,
    refresh: bool = False,
) -> Steps[Backfill]:
    """Load days of instruments from their venues and take them to `stage`; `wait` for it.

    What is there already is left alone, unless `refresh`. Asked again, it is the same backfill that runs.
    """
    body = {"ids": several(ids), "start": str(start), "end": str(end), "stage": stage}
    (reply,) = yield [Request("backfills", body={**body, "trades": trades, "refresh": refresh}, method="POST")]
    return msgspec.convert(reply.json, Backfill)


def backfills(limit: int = 100) -> Steps[list[Backfill]]:
    """Backfills, newest first."""
    (reply,) = yield [Request("backfills", params=given(limit=limit))]
    return msgspec.convert(reply.json, list[Backfill])


def export(
    dataset: str,
    ids: Ids,
    start: When,
    end: When,
    *,
    format: Literal["csv", "json", "parquet", "arrow"] = "parquet",  # noqa: A002 - the API's name for it
    timeframe: str | None = None,
    columns: Sequence[str] | None = None,
    pack: Literal["zip", "files"] = "zip",
) -> Steps[Export]:
    """Export rows of a dataset into files: `wait` for it, then `download`. The bytes are those of `mdp export`."""
    optional = {"timeframe": timeframe, "columns": None if columns is None else list(columns)}
    body = {
        "dataset": dataset,
        "ids": several(ids),
        "start": time_text(start),
        "end": time_text(end),
        "format": format,
        "pack": pack,
        **{name: value for name, value in optional.items() if value is not None},
    }
    (reply,) = yield [Request("exports", body=body, method="POST", is_repeatable=False)]
    return msgspec.convert(reply.json, Export)


def exports(limit: int = 100) -> Steps[list[Export]]:
    """Your exports, newest first."""
    (reply,) = yield [Request("exports", params=given(limit=limit))]
    return msgspec.convert(reply.json, list[Export])


def wait(job: J, timeout_s: float = 3_600.0) -> Steps[J]:
    """The same backfill or export when it is done.

    ServiceError where it failed or was cancelled, PlatformUnavailable where it takes longer than `timeout_s`.
    """
    until = time.monotonic() + timeout_s
    while job.state in ("queued", "running"):
        if time.monotonic() > until:
            raise PlatformUnavailable(f"{job.topic} {job.id}: {job.state} after {timeout_s:g} s")
        yield Pause(_LOOK_AGAIN_S)
        (reply,) = yield [Request(job.topic, job.id or "")]
        job = msgspec.convert(reply.json, type(job))
    if job.state != "done":
        raise ServiceError(f"{job.topic} {job.id}: {job.state}, {job.error or 'see its detail'}")
    return job


def cancel(job: J) -> Steps[J]:
    """Cancel a backfill or an export; of a finished export remove the files."""
    (reply,) = yield [Request(job.topic, job.id or "", method="DELETE")]
    return msgspec.convert(reply.json, type(job))


def add_alert(
    name: str,
    condition: Mapping[str, Any],
    instrument: str | None = None,
    *,
    severity: Severity = "medium",
    cooldown_s: int = 0,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> Steps[AlertRule]:
    """Have an alert fire: `{"kind": "price", "compare": "crosses", "value": 100_000}`; see the API's `NewRule`.

    It comes to `stream(alerts=True)`, to `fired_alerts`, and to `webhook_url` signed with `webhook_secret`.
    """
    webhook = {"webhook_url": webhook_url, "webhook_secret": webhook_secret}
    body = {
        "name": name,
        "instrument": instrument,
        "condition": dict(condition),
        "severity": severity,
        "cooldown_s": cooldown_s,
        **{key: value for key, value in webhook.items() if value is not None},
    }
    (reply,) = yield [Request("alerts", body=body, method="POST", is_repeatable=False)]
    return msgspec.convert(reply.json, AlertRule)


def alerts() -> Steps[list[AlertRule]]:
    """Your rules, oldest first."""
    (reply,) = yield [Request("alerts")]
    return msgspec.convert(reply.json, list[AlertRule])


def remove_alert(rule: AlertRule) -> Steps[None]:
    """Remove a rule. What it fired stays."""
    yield [Request("alerts", rule.id, method="DELETE")]


def fired_alerts(rule: AlertRule | None = None, limit: int = 100) -> Steps[pl.DataFrame]:
    """What fired, newest first, and how its webhook fared."""
    (reply,) = yield [Request("fired-alerts", params=given(rule=rule and rule.id, limit=limit))]
    return rows(reply.json, _FIRED)
