"""Fetched rows meet stored rows: identical content keeps its revision and known_at, different content is appended."""

import polars as pl

_BOOKKEEPING = ("revision", "known_at")


def merge_bars(stored: pl.DataFrame | None, fetched: pl.DataFrame) -> pl.DataFrame:
    """Raw bars of one source, instrument and day after a fetch, in the order in which they became known.

    Both frames have BAR_COLUMNS; `stored` holds every revision so far. What was fetched of an open_time, one row or
    several, is left out where it is the newest stored revision, and becomes the next revision where it is not.
    """
    if stored is None or stored.is_empty():
        return fetched
    content = [name for name in fetched.columns if name not in _BOOKKEEPING]
    newest = stored.filter(pl.col("revision") == pl.col("revision").max().over("open_time"))
    again = newest.join(fetched, on="open_time", how="semi", nulls_equal=True)
    news = fetched.join(newest, on=content, how="anti", nulls_equal=True)
    gone = again.join(fetched, on=content, how="anti", nulls_equal=True)
    changed = pl.concat([news.select("open_time"), gone.select("open_time")])
    if changed.is_empty():
        return stored
    last = newest.group_by("open_time").agg(last=pl.col("revision").first())
    revised = (
        fetched.join(changed, on="open_time", how="semi", nulls_equal=True, maintain_order="left")
        .join(last, on="open_time", how="left", nulls_equal=True, maintain_order="left")
        .with_columns(revision=pl.col("last").fill_null(-1) + 1)
    )
    return pl.concat([stored, revised.select(stored.columns)])


def merge_trades(stored: pl.DataFrame | None, fetched: pl.DataFrame) -> pl.DataFrame:
    """Raw trades of one source, instrument and day after a fetch: stored rows, then rows not seen before.

    Both frames have TRADE_COLUMNS. A trade already stored with the same content keeps its ts_received.
    """
    if stored is None or stored.is_empty():
        return fetched
    content = [name for name in fetched.columns if name != "ts_received"]
    fresh = fetched.join(stored, on=content, how="anti", nulls_equal=True, maintain_order="left")
    return pl.concat([stored, fresh.select(stored.columns)])
