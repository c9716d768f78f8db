"""What tests of sources share: local HTTP servers, the data beside the repository, impatient retries."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from md_platform.sources.fetch import RetryPolicy
from md_platform_tests.local_server import Answer, Asked, Server, serving


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Asked], Answer]], Server]]:
    """Start a server that answers by the function given."""
    with contextlib.ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data, which lies beside the repository on developers' machines."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real market data (../shared/data beside the repository) is not here")
    return folder


@pytest.fixture
def impatient() -> RetryPolicy:
    return RetryPolicy(attempts=3, wait_initial_s=0.01, wait_max_s=0.02, connect_timeout_s=2, read_timeout_s=2)


@pytest.fixture
def now() -> dt.datetime:
    return dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
