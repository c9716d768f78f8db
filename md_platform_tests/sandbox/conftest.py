import pytest

from md_platform_tests.sandbox_server import running_sandbox


@pytest.fixture(scope="session")
def sandbox():
    """A sandbox at wall-clock time and speed, without rate limits."""
    with running_sandbox() as endpoints:
        yield endpoints
