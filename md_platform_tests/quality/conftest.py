"""Great Expectations' own pandas engine, to hold the compiled suites against."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from md_platform.quality import CompiledSuite, load_suite

Outcome = tuple[bool, int | None]
"""Whether the expectation was met, and how many rows broke it where Great Expectations counts any."""


@pytest.fixture(scope="session")
def gx_judge() -> Callable[[CompiledSuite, pl.DataFrame, pl.DataFrame, set[str] | None], dict[str, Outcome]]:
    """Judge tables by (some of) a suite's JSON as it stands, by expectation id."""
    from md_platform.quality.gx import ProgressBarsConfig, gx  # noqa: PLC0415 - with its analytics off

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batches = (
        context.data_sources.add_pandas("tables").add_dataframe_asset("t").add_batch_definition_whole_dataframe("b")
    )

    def judge(
        suite: CompiledSuite, frame: pl.DataFrame, expected: pl.DataFrame, only: set[str] | None = None
    ) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        declared = json.loads(suite.suite.text)
        for name, table in suite.tables(frame, expected).items():
            wanted = [
                item
                for item in declared["expectations"]
                if item["meta"].get("table", "rows") == name and (only is None or item["meta"]["id"] in only)
            ]
            if not wanted:
                continue
            contract = gx.ExpectationSuite(name=name, expectations=wanted)
            assert len(contract.expectations) == len(wanted)
            batch = batches.get_batch(batch_parameters={"dataframe": table.to_pandas()})
            for outcome in batch.validate(contract).results:
                outcomes[outcome.expectation_config.meta["id"]] = (
                    bool(outcome.success),
                    outcome.result.get("unexpected_count"),
                )
        return outcomes

    return judge


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., CompiledSuite]:
    """Load a suite of the given expectations, named like a dataset, from a folder of its own."""

    def write(*expectations: dict[str, Any], dataset: str = "cleaned_bars") -> CompiledSuite:
        complete = [
            {"description": "d", "meta": {"id": f"e{n}", "check": "c", "why": "w"} | item.pop("meta", {})} | item
            for n, item in enumerate(expectations)
        ]
        (tmp_path / f"{dataset}.json").write_text(json.dumps({"name": dataset, "expectations": complete}))
        return load_suite(dataset, tmp_path)

    return write
