"""`python -m md_platform.assets.code_server`: Dagster's code server, `dagster api grpc`, whose runs begin sooner.

It starts each run in a new process, which would spend three to four seconds of CPU on importing Dagster and Great
Expectations. Here the process of a run is forked from one that has imported both, and polars not: that starts threads
as it is imported, which no fork survives.
"""

import multiprocessing
import sys
from multiprocessing import forkserver
from typing import Any

from dagster._cli import main
from dagster._grpc import server

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["dagster._cli", "dagster._grpc.impl", "great_expectations"])


class ForkingServer(server.DagsterApiServer):
    """The servicer with another way to start processes: Dagster has no setting for it."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Dagster's own
        super().__init__(*args, **options)
        self._mp_ctx = _FORKED  # type: ignore[assignment] # of another kind, used alike
        forkserver.ensure_running()  # the definitions are loaded: it imports before the first run comes


if __name__ == "__main__":
    server.DagsterApiServer = ForkingServer  # type: ignore[misc] # what `dagster api grpc` takes
    sys.argv[1:1] = ["api", "grpc"]
    main()  # type: ignore[no-untyped-call] # Dagster's
