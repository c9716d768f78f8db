"""A sandbox in a thread of its own, on free ports: what tests of any package that needs a venue start."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from md_platform.sandbox.server import Endpoints, SandboxConfig, serve


@contextlib.contextmanager
def running_sandbox(config: SandboxConfig | None = None, **changes: object) -> Iterator[Endpoints]:
    """A sandbox that listens while the context is open; `changes` are SandboxConfig fields. Its port is free's choice.

    Rate limits are lifted unless asked for, as tests make more requests from one address than a venue allows.
    """
    config = dataclasses.replace(config or SandboxConfig(port=0, rate_limits=False), **changes)
    ready, stopped = threading.Event(), threading.Event()
    found: list[Endpoints] = []
    failures: list[BaseException] = []
    loop = asyncio.new_event_loop()
    tasks: list[asyncio.Task[None]] = []

    def told(endpoints: Endpoints) -> None:
        found.append(endpoints)
        ready.set()

    async def main() -> None:
        tasks.append(asyncio.ensure_future(serve(config, told)))
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]

    def body() -> None:
        try:
            loop.run_until_complete(main())
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as failure:  # noqa: BLE001  shown to the test that started it
            failures.append(failure)
        finally:
            loop.close()
            ready.set()
            stopped.set()

    thread = threading.Thread(target=body, name="sandbox", daemon=True)
    thread.start()
    ready.wait(20)
    if not found:
        raise RuntimeError(f"the sandbox did not start: {failures}")
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        stopped.wait(10)
        thread.join(10)
