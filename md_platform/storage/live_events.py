"""Frames of stored trades and bars in, the same as events out, to the nanosecond where it is known."""

import polars as pl

from md_platform.domain.events import Bar, Trade


def trades_of(frame: pl.DataFrame, instrument: str) -> list[Trade]:
    """Trades of one instrument: LIVE_TRADE_COLUMNS, or TRADE_COLUMNS alone, which know neither ns nor quality."""
    columns = frame.select(
        _ns("ts_event", frame),
        _ns("ts_received", frame),
        *("trade_id", "price", "size", "taker_side", "trade_count"),
        *(name for name in ("sent_late", "quality") if name in frame.columns),
    )
    return [
        Trade(instrument, at, received, int(id_) if id_.isdigit() else id_, *rest)
        for at, received, id_, *rest in columns.iter_rows()
    ]


def bars_of(frame: pl.DataFrame) -> list[Bar]:
    """Bars, as BAR_COLUMNS."""
    times = ("open_time", "close_time", "known_at")
    columns = frame.with_columns(pl.col(times).dt.epoch("us") * 1_000).select(Bar.__struct_fields__)
    return [Bar(*row) for row in columns.iter_rows()]


def _ns(name: str, frame: pl.DataFrame) -> pl.Expr:
    us = pl.col(name).dt.epoch("us") * 1_000
    return us + pl.col(f"{name}_ns") if f"{name}_ns" in frame.columns else us
