"""A partition at a glance for Dagster's UI: a line of the prices and its first and last rows, as Markdown."""

import math

import dagster as dg
import polars as pl

_BLOCKS = "▁▂▃▄▅▆▇█"
_POINTS = 48
_ROWS = 3
_SHOWN = (
    "timeframe",
    "open_time",
    "ts_event",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "price",
    "size",
    "trade_count",
)


def preview(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Sparkline of close or price over the partition, then its first and last three rows."""
    shown = frame.select([name for name in _SHOWN if name in frame.columns] or frame.columns[:8])
    rows = shown if frame.height <= 2 * _ROWS else pl.concat([shown.head(_ROWS), shown.tail(_ROWS)])
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
    ):
        table = str(rows)
    prices = next((frame[name] for name in ("close", "price") if name in frame.columns), None)
    line = f"`{sparkline(prices)}`\n\n" if prices is not None and frame.height else ""
    return dg.MetadataValue.md(line + table)


def sparkline(prices: pl.Series) -> str:
    """At most 48 characters, one for each equal slice of the rows, its height the slice's last price."""
    step = max(1, math.ceil(len(prices) / _POINTS))
    points = prices.reverse().gather_every(step).reverse().drop_nulls().to_list()
    low, high = min(points, default=0.0), max(points, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((point - low) * scale)] for point in points)
