"""A table of metrics and a suite over it in, the rows that Great Expectations finds wanting out.

The one module that imports Great Expectations, with `data_docs`. Its analytics are off before it is imported.
"""

import os

os.environ["GX_ANALYTICS_ENABLED"] = "false"

from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import polars as pl
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)


@dataclass(frozen=True, slots=True)
class Validation:
    """Failing (instrument, date) of each expectation by `meta.id`, in the table's order, and GX's own result."""

    failing: dict[str, list[tuple[str, str]]]
    result: Any


def run_validation(dataset: str, over_partitions: dict[str, Any], table: pl.DataFrame, run_id: str) -> Validation:
    """Validate the metrics table of a run with the suite `over_partitions`, in memory: nothing is stored or sent."""
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    suite = context.suites.add(gx.ExpectationSuite(**over_partitions))
    batches = context.data_sources.add_pandas("lake").add_dataframe_asset(dataset)
    definition = gx.ValidationDefinition(
        name=dataset, data=batches.add_batch_definition_whole_dataframe("partitions"), suite=suite
    )
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table.to_pandas()},
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["instrument", "date"],
            "include_unexpected_rows": False,
        },
        run_id=gx.RunIdentifier(run_name=run_id),
    )
    failing = {outcome.expectation_config.meta["id"]: _partitions(outcome) for outcome in result.results}
    return Validation(failing, result)


def _partitions(outcome: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - untyped in Great Expectations
    failing = [(row["instrument"], row["date"]) for row in outcome.result.get("unexpected_index_list") or []]
    if outcome.success == bool(failing):
        raise AssertionError(f"Great Expectations could not judge {outcome.expectation_config}")
    return failing
