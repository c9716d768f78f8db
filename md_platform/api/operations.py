"""What operates the platform on behalf of requests: Dagster, jobs; opened once for each process."""

from dataclasses import dataclass

from md_platform.orchestrator import Orchestrator


@dataclass(frozen=True, slots=True)
class Operations:
    """Clients of what does work that outlasts a request."""

    orchestrator: Orchestrator
