"""What tests of venues share: the data beside the repository."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def rest_samples() -> Path:
    """Real REST answers, which lie beside the repository on developers' machines."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "rest_ws_samples"
    if not folder.is_dir():
        pytest.skip("real market data (../shared/data beside the repository) is not here")
    return folder
