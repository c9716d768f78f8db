"""What every dataset holds: columns with type, unit and meaning, and the key that makes a row unique."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from md_platform.errors import UnknownDataset

INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: polars type, unit ("" where it has none) and meaning."""

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    nullable: bool = False


def _columns(*rows: tuple[str, pl.DataType | type[pl.DataType], str, str] | Column) -> tuple[Column, ...]:
    return tuple(
        row
        if isinstance(row, Column)
        else Column(row[0], row[1] if isinstance(row[1], pl.DataType) else row[1](), row[2], row[3])
        for row in rows
    )


BAR_COLUMNS = _columns(
    ("instrument", pl.String, "", "canonical id, venue:BASE-QUOTE"),
    ("timeframe", pl.String, "", "length of the bar, 1m to 1M"),
    ("open_time", INSTANT, "UTC", "start of the bar, inclusive"),
    ("close_time", INSTANT, "UTC", "end of the bar, exclusive"),
    ("open", pl.Float64, "quote", "price of the first trade"),
    ("high", pl.Float64, "quote", "highest price"),
    ("low", pl.Float64, "quote", "lowest price"),
    ("close", pl.Float64, "quote", "price of the last trade"),
    ("volume", pl.Float64, "base", "amount traded"),
    Column("quote_volume", pl.Float64(), "quote", "value traded; null where the source does not say", nullable=True),
    Column("vwap", pl.Float64(), "quote", "quote_volume / volume; null without volume or quote_volume", nullable=True),
    Column("trade_count", pl.Int64(), "trades", "number of trades; null where the source does not say", nullable=True),
    Column(
        "taker_buy_volume", pl.Float64(), "base", "volume whose aggressor bought; null where unknown", nullable=True
    ),
    Column(
        "taker_buy_quote_volume",
        pl.Float64(),
        "quote",
        "value whose aggressor bought; null where unknown",
        nullable=True,
    ),
    ("is_closed", pl.Boolean, "", "false while the period still runs"),
    ("source", pl.String, "", "where the row came from"),
    ("revision", pl.Int64, "", "0 at first sight, +1 for every change of content"),
    ("known_at", INSTANT, "UTC", "when this content was first received"),
)

TRADE_COLUMNS = _columns(
    ("instrument", pl.String, "", "canonical id, venue:BASE-QUOTE"),
    ("ts_event", INSTANT, "UTC", "when the venue says the trade happened"),
    ("ts_received", INSTANT, "UTC", "when this platform first received it"),
    ("trade_id", pl.String, "", "the venue's id, unique per instrument and source"),
    ("price", pl.Float64, "quote", "price"),
    ("size", pl.Float64, "base", "amount"),
    Column(
        "taker_side",
        pl.String(),
        "",
        "buy or sell: the aggressor's side, not the resting order's; null where unknown",
        nullable=True,
    ),
    ("trade_count", pl.Int64, "trades", "fills in this row: 1, or more for a venue's aggregated trades"),
    ("source", pl.String, "", "where the row came from"),
)

INDICATOR_KEY_COLUMNS = _columns(
    ("instrument", pl.String, "", "canonical id, venue:BASE-QUOTE"),
    ("timeframe", pl.String, "", "length of the bars the values are computed on"),
    ("open_time", INSTANT, "UTC", "open time of the bar the values belong to"),
)

REJECT_COLUMNS = _columns(
    ("rule", pl.String, "", "name of the validation rule that the row broke"),
)

Layer = Literal["raw", "cleaned", "resampled", "indicators", "quarantine"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of the lake: one Parquet file per instrument and period (and per source in the raw layer)."""

    name: str
    layer: Layer
    folder: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time: str
    meaning: str

    @property
    def schema(self) -> pl.Schema:
        """Column names and polars types, in stored order. Indicator datasets add one column per output."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def by_source(self) -> bool:
        """Whether sources stand side by side, each in its own file."""
        return self.layer == "raw"


_BAR_KEY = ("source", "instrument", "timeframe", "open_time", "revision")
_TRADE_KEY = ("source", "instrument", "trade_id")
_INDICATOR_KEY = ("instrument", "timeframe", "open_time")

RAW_BARS = Dataset(
    "raw_bars", "raw", "bars", BAR_COLUMNS, _BAR_KEY, "open_time", "1m bars as a source gave them, every revision"
)
RAW_TRADES = Dataset(
    "raw_trades", "raw", "trades", TRADE_COLUMNS, _TRADE_KEY, "ts_event", "trades as a source gave them"
)
LIVE_TRADES = Dataset(
    "live_trades",
    "raw",
    "live_trades",
    TRADE_COLUMNS,
    _TRADE_KEY,
    "ts_event",
    "trades as they were streamed, from the live store",
)
CLEANED_BARS = Dataset(
    "cleaned_bars",
    "cleaned",
    "bars",
    BAR_COLUMNS,
    _BAR_KEY,
    "open_time",
    "valid, unique, ordered 1m bars of the chosen source",
)
CLEANED_TRADES = Dataset(
    "cleaned_trades",
    "cleaned",
    "trades",
    TRADE_COLUMNS,
    _TRADE_KEY,
    "ts_event",
    "valid, unique, ordered trades of the chosen source",
)
TRADE_BARS = Dataset(
    "trade_bars", "cleaned", "trade_bars", BAR_COLUMNS, _BAR_KEY, "open_time", "1m bars aggregated from cleaned trades"
)
RESAMPLED_BARS = Dataset(
    "resampled_bars",
    "resampled",
    "bars",
    BAR_COLUMNS,
    _BAR_KEY,
    "open_time",
    "5m 15m 30m 1h 4h 1d bars rolled up from cleaned 1m bars",
)
WEEKLY_BARS = Dataset(
    "weekly_bars",
    "resampled",
    "weekly_bars",
    BAR_COLUMNS,
    _BAR_KEY,
    "open_time",
    "1w bars rolled up from 1d bars, Monday to Sunday",
)
MONTHLY_BARS = Dataset(
    "monthly_bars", "resampled", "monthly_bars", BAR_COLUMNS, _BAR_KEY, "open_time", "1M bars rolled up from 1d bars"
)
INDICATORS = Dataset(
    "indicators",
    "indicators",
    "indicators",
    INDICATOR_KEY_COLUMNS,
    _INDICATOR_KEY,
    "open_time",
    "indicator values on 1m to 1d bars, a column per output",
)
QUARANTINED_BARS = Dataset(
    "quarantined_bars",
    "quarantine",
    "bars",
    BAR_COLUMNS + REJECT_COLUMNS,
    (),
    "open_time",
    "raw bars that broke a rule, with its name",
)
QUARANTINED_TRADES = Dataset(
    "quarantined_trades",
    "quarantine",
    "trades",
    TRADE_COLUMNS + REJECT_COLUMNS,
    (),
    "ts_event",
    "raw trades that broke a rule, with its name",
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        RAW_BARS,
        RAW_TRADES,
        LIVE_TRADES,
        CLEANED_BARS,
        CLEANED_TRADES,
        TRADE_BARS,
        RESAMPLED_BARS,
        WEEKLY_BARS,
        MONTHLY_BARS,
        INDICATORS,
        QUARANTINED_BARS,
        QUARANTINED_TRADES,
    )
}


def dataset_named(name: str) -> Dataset:
    """Dataset called `name`; UnknownDataset otherwise."""
    try:
        return DATASETS[name]
    except KeyError:
        raise UnknownDataset(f"dataset must be one of {' '.join(DATASETS)}, was {name!r}") from None
