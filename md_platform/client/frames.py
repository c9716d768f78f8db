"""Polars frames in, the frames that a client was asked for out: polars, pandas or Arrow."""

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, assert_never

import polars as pl

if TYPE_CHECKING:  # pandas and pyarrow are imported by who asks for them: a second in all
    import pandas as pd
    import pyarrow as pa

As: TypeAlias = Literal["polars", "pandas", "arrow"]
F = TypeVar("F")


def shaped(frame: pl.DataFrame, as_: As) -> "pl.DataFrame | pd.DataFrame | pa.Table":
    """`frame` as `as_` says; without a copy where the columns allow it."""
    match as_:
        case "polars":
            return frame
        case "pandas":
            return frame.to_pandas()
        case "arrow":
            return frame.to_arrow()
        case _:
            assert_never(as_)
