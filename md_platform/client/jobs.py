"""What runs for a while on the platform, as it was last told: backfills."""

import datetime as dt
from typing import Any, Literal

import msgspec


class Backfill(msgspec.Struct, frozen=True):
    """Days of instruments on their way through the chain: `made` of `total` partitions so far.

    `id` is None where everything was there already. `detail` tells the runs, and at the end what each instrument has.
    """

    id: str | None
    state: Literal["queued", "running", "done", "failed", "cancelled", "expired"]
    request: dict[str, Any]
    made: int
    total: int
    detail: dict[str, Any]
    error: str | None = None
    runs_url: str | None = None
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("queued", "running")
