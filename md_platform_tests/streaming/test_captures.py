"""Every real capture through the live process: the database and Redis hold what others worked out from it."""

from pathlib import Path

import pytest

from md_platform_tests.streaming.captures import shown
from md_platform_tests.venues.recordings import Recording, recordings

if not recordings():
    pytest.skip("captures are not here (../shared/data)", allow_module_level=True)


@pytest.mark.parametrize("recording", recordings(), ids=lambda each: each.name)
def test_a_capture_leaves_in_the_stores_what_others_counted_in_it(
    recording: Recording, tmp_path: Path, redis_url: str, database_url: str
) -> None:
    result = shown(recording, tmp_path, redis_url, database_url)

    assert result.differing == []
    assert result.trades + result.books + result.links + result.checksums > 0 or result.frames > 0
