"""What operates the platform on behalf of requests: Dagster, jobs and their worker; opened once for each process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from md_platform.alerts.rules import Rules
from md_platform.catalog.reading import Reader
from md_platform.jobs.exports import KEPT_FOR_S, Exports
from md_platform.jobs.queue import Jobs, Kind
from md_platform.jobs.worker import Work, Worker
from md_platform.loading.backfills import Backfills
from md_platform.loading.loader import Loader
from md_platform.loading.naming import Listing
from md_platform.orchestrator import Orchestrator

_BACKFILLS_AT_ONCE = 4
_EXPORTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Operations:
    """What does work that outlasts a request. `close` when the process ends."""

    orchestrator: Orchestrator
    jobs: Jobs
    backfills: Backfills
    exports: Exports
    alerts: Rules
    imports: Path
    stream_url: str | None
    worker: Worker
    link_secret: str

    @classmethod
    def open(
        cls,
        database_url: str,
        orchestrator: Orchestrator,
        loader: Loader,
        listing: Listing,
        reader: Reader,
        exports_folder: Path,
        link_secret: str,
        imports: Path,
        stream_url: str | None = None,
        configured: tuple[str, ...] = (),
    ) -> Self:
        """All of it. Links to files are signed with `link_secret`; what is pushed goes to `imports`.

        Jobs wait until `worker` is started.
        """
        jobs = Jobs(database_url)
        backfills = Backfills(jobs, loader, orchestrator, listing, configured)
        exports = Exports(jobs, reader, exports_folder)
        works: dict[Kind, Work] = {
            "backfill": Work(backfills.do, _BACKFILLS_AT_ONCE),
            "export": Work(exports.do, _EXPORTS_AT_ONCE, KEPT_FOR_S, exports.tidy),
        }
        alerts = Rules(database_url)
        worker = Worker(jobs, works)
        return cls(orchestrator, jobs, backfills, exports, alerts, imports, stream_url, worker, link_secret)

    def close(self) -> None:
        """End the worker; others go on with its jobs."""
        self.worker.close()
