"""What runs for a while on the platform, as it was last told: backfills, exports; and rules of alerts."""

import datetime as dt
from typing import Any, Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
Severity: TypeAlias = Literal["low", "medium", "high", "critical"]


class Backfill(msgspec.Struct, frozen=True):
    """Days of instruments on their way through the chain: `made` of `total` partitions so far.

    `id` is None where everything was there already. `detail` tells the runs, and at the end what each instrument has.
    """

    id: str | None
    state: State
    request: dict[str, Any]
    made: int
    total: int
    detail: dict[str, Any]
    error: str | None = None
    runs_url: str | None = None
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None

    topic = "backfills"


class ExportFile(msgspec.Struct, frozen=True):
    """A finished file."""

    name: str
    rows: int
    bytes: int
    sha256: str


class Export(msgspec.Struct, frozen=True):
    """Rows on their way into files: `done` of `total` parts so far. Files are kept until `expires_at`."""

    id: str
    state: State
    request: dict[str, Any]
    done: int
    total: int
    files: list[ExportFile]
    error: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None

    topic = "exports"


class AlertRule(msgspec.Struct, frozen=True):
    """When its condition begins to hold, it fires, and not again within the cooldown."""

    id: str
    owner: str
    name: str
    instrument: str | None
    condition: dict[str, Any]
    severity: Severity
    cooldown_s: int
    webhook_url: str | None
    is_enabled: bool
    last_fired_at: dt.datetime | None
    created_at: dt.datetime
