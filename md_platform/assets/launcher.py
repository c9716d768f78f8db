"""Runs as processes on this machine, as Dagster launches them by default, and whether the process of a run still lives.

Dagster's own launcher cannot tell: a run whose process was killed together with the code server stays "started" for
ever, keeps its place in the queue's limits, and whoever waits for it waits for ever.
"""

import dagster as dg
import psutil
from dagster._core.events import DagsterEventType
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

_CLOCK_SLACK_S = 5


class LocalRunLauncher(DefaultRunLauncher):
    """For a daemon on the machine that the runs are on; named in dagster.yaml, asked by its run monitoring."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Always."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED where the process that reported the run's start is gone, so that the run is tried again."""
        for entry in self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event else None
            if pid is not None and not _lives(int(str(pid.value)), entry.timestamp):
                return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {pid.value} is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _lives(pid: int, reported_at: float) -> bool:
    """Whether `pid` is a process that existed at `reported_at`: pids are reused."""
    try:
        process = psutil.Process(pid)
        is_ours = process.create_time() < reported_at + _CLOCK_SLACK_S
        return is_ours and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
