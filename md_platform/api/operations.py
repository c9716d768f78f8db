"""What operates the platform on behalf of requests: Dagster, jobs and their worker; opened once for each process."""

from dataclasses import dataclass
from typing import Self

from md_platform.jobs.queue import Jobs
from md_platform.jobs.worker import Work, Worker
from md_platform.loading.backfills import Backfills
from md_platform.loading.loader import Loader
from md_platform.loading.naming import Listing
from md_platform.orchestrator import Orchestrator

_BACKFILLS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Operations:
    """What does work that outlasts a request. `close` when the process ends."""

    orchestrator: Orchestrator
    jobs: Jobs
    backfills: Backfills
    worker: Worker

    @classmethod
    def open(
        cls,
        database_url: str,
        orchestrator: Orchestrator,
        loader: Loader,
        listing: Listing,
        configured: tuple[str, ...] = (),
    ) -> Self:
        """All of it, at work."""
        jobs = Jobs(database_url)
        backfills = Backfills(jobs, loader, orchestrator, listing, configured)
        worker = Worker(jobs, {"backfill": Work(backfills.do, _BACKFILLS_AT_ONCE)})
        worker.start()
        return cls(orchestrator, jobs, backfills, worker)

    def close(self) -> None:
        """End the worker; others go on with its jobs."""
        self.worker.close()
