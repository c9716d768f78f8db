"""The whole OpenAPI under schemathesis: no 5xx, nothing that the description does not say.

In short, with instruments that exist. `python -m md_platform_tests.api.fuzzing` also asks for ones that nobody knows.
"""

from pathlib import Path

from md_platform_tests.api.fuzzing import closed_api, fuzz


def test_no_request_breaks_it_and_every_answer_is_as_described(tmp_path: Path, database_url: str, redis_url: str):
    with closed_api(tmp_path / "stores", database_url, redis_url) as (url, key):
        found = fuzz(url, key, examples=3, folder=tmp_path, known=True, seed=1)
    assert not found.failed, found.report
    assert found.cases > 500, found.report
