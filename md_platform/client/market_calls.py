"""Calls for market data: what instruments there are, what they cost and did. Each a generator, see `asking`.

Ranges are [start, end). Without an end they reach until now; without a start a call gives the last bars or trades.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from md_platform.client.asking import Ids, Pages, Reply, Request, Steps, When, given, several, time_text
from md_platform.domain.intervals import Timeframe

Fill = Literal["none", "previous"]

_TIME = pl.Datetime("us", "UTC")
_TEXT, _NUMBER, _FLAG = pl.String(), pl.Float64(), pl.Boolean()
_INSTRUMENT = {
    **dict.fromkeys(("id", "venue", "native", "universe", "base", "quote", "name", "asset_class"), _TEXT),
    "tags": pl.List(pl.String()),
    "status": _TEXT,
    **dict.fromkeys(("listed_at", "delisted_at"), _TIME),
    **dict.fromkeys(("tick_size", "lot_size"), _NUMBER),
    "registered_at": _TIME,
}
_QUOTE = {"instrument": _TEXT, **dict.fromkeys(("bid", "bid_size", "ask", "ask_size"), _NUMBER)}
_DAY = {
    "until": _TIME,
    **dict.fromkeys(("open", "high", "low", "volume", "quote_volume", "change"), _NUMBER),
    "is_whole": _FLAG,
}
_LATEST = {
    "instrument": _TEXT,
    **dict.fromkeys(("price", "size"), _NUMBER),
    "time": _TIME,
    **dict.fromkeys(("bid", "bid_size", "ask", "ask_size"), _NUMBER),
    "age_ms": pl.Int64(),
    "is_stale": _FLAG,
    **{f"day_{name}": dtype for name, dtype in _DAY.items()},
}
_BOOK = {"instrument": _TEXT, "time": _TIME, "side": _TEXT, "level": pl.Int64(), "price": _NUMBER, "size": _NUMBER}
_RANKED = {"quote": _TEXT, "ranking": _TEXT, "rank": pl.Int64(), "instrument": _TEXT, "value": _NUMBER}
_DRAWDOWN = {"depth": _NUMBER, **dict.fromkeys(("peak_at", "trough_at", "recovered_at"), _TIME)}
_STATISTICS = {
    **dict.fromkeys(("instrument", "timeframe", "benchmark"), _TEXT),
    "bars": pl.Int64(),
    **dict.fromkeys(("start", "end"), _TIME),
    **dict.fromkeys(("total_return", "mean_return", "volatility", "beta", "var_historical", "var_parametric"), _NUMBER),
    **dict.fromkeys(("sharpe", "sortino"), _NUMBER),
    **{f"drawdown_{name}": dtype for name, dtype in _DRAWDOWN.items()},
}
_ACTION = {"ex_date": pl.Date(), "kind": _TEXT, "value": _NUMBER, "known_at": _TIME}
_MOST_INSTRUMENTS = 1_000


def instruments(
    search: str = "",
    *,
    venue: str = "",
    asset_class: str = "",
    tag: str = "",
    status: Literal["active", "delisted"] | None = None,
) -> Steps[pl.DataFrame]:
    """Registered instruments, in order of their ids: those that match everything given. Columns as `_INSTRUMENT`."""
    asked = given(search=search, venue=venue, asset_class=asset_class, tag=tag, status=status, limit=_MOST_INSTRUMENTS)
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        (reply,) = yield [Request("instruments", params={**asked, "after": after})]
        found += reply.json["instruments"]
        after = reply.json["next_after"]
        if after is None:
            return rows(found, _INSTRUMENT)


def search(text: str) -> Steps[pl.DataFrame]:
    """Instruments with `text` in their id, native symbol or name."""
    return instruments(text)


def latest(ids: Ids) -> Steps[pl.DataFrame]:
    """Last trade and quote of each instrument and its last 24 hours (`day_...`), with its age.

    Of instruments of which nothing is known there is no row.
    """
    (reply,) = yield [Request("latest", params={"ids": ",".join(several(ids))})]
    return rows([_flat(each, "day", _DAY) for each in reply.json], _LATEST)


def quotes(ids: Ids) -> Steps[pl.DataFrame]:
    """Best bid and ask of each instrument that has them."""
    (reply,) = yield [Request("quotes", params={"ids": ",".join(several(ids))})]
    return rows(reply.json, _QUOTE)


def orderbook(instrument: str, depth: int = 20) -> Steps[pl.DataFrame]:
    """The newest book, a row for each `level` of each `side` (bid, ask), from the best, 1, on."""
    (reply,) = yield [Request("orderbook", instrument, params={"depth": str(depth)})]
    book = reply.json
    levels = [
        {"instrument": book["instrument"], "time": book["time"], "side": side, "level": n, "price": price, "size": size}
        for side, found in (("bid", book["bids"]), ("ask", book["asks"]))
        for n, (price, size) in enumerate(found, 1)
    ]
    return rows(levels, _BOOK)


def trades(
    ids: Ids, start: When | None = None, end: When | None = None, *, limit: int | None = None
) -> Steps[pl.DataFrame]:
    """Trades from `start` to before `end`, each once, or the first `limit` of them.

    Without a start the last `limit` (100), if they lie within a day of the end. All are held in memory: `history` is
    for more.
    """
    names = several(ids)
    if start is None or limit is not None:
        asked = given(start=time_text(start), end=time_text(end), limit=limit)
        replies = yield [Request("trades", name, params=asked, is_table=True) for name in names]
        return _together(replies)
    found: list[Reply] = []
    for name in names:
        page = history(name, start=start, end=end, kind="trades")
        request = next(page)
        while True:
            (reply,) = yield [request]
            found.append(reply)
            try:
                request = page.send(reply)
            except StopIteration:
                break
    return _together(found)


def bars(
    ids: Ids,
    timeframe: str = "1m",
    start: When | None = None,
    end: When | None = None,
    *,
    limit: int | None = None,
    as_of: When | None = None,
    fill: Fill = "none",
    adjusted: bool = False,
    indicators: Sequence[str] = (),
) -> Steps[pl.DataFrame]:
    """Bars that open from `start` to before `end`, the running one among them (`is_closed` false).

    Without `start` the last `limit` (500), with it the first `limit` from there. `as_of`: as they were known then.
    `fill` "previous": periods without a bar repeat the last close (`is_filled`). `adjusted`: for splits and dividends.
    `indicators` as ema(20) or macd add a column for each output, by prices as they were paid. A year of minutes is
    about what one call may ask for: `history` has more.
    """
    names = several(ids)
    known = time_text(as_of)
    span = given(start=time_text(start), end=time_text(end), limit=limit)
    asked = {**given(timeframe=timeframe, as_of=known, fill=fill, adjusted=adjusted or None), **span}
    replies = yield [Request("bars", name, params=asked, is_table=True) for name in names]
    if not indicators:
        return _together(replies)
    shown = [(name, reply.frame) for name, reply in zip(names, replies, strict=True) if not reply.frame.is_empty()]
    if not shown:
        return _together(replies)
    length = Timeframe.parse(timeframe)
    values = yield [
        _batch(name, indicators, timeframe, _first(frame), length.close_time(frame["open_time"][-1]).isoformat(), known)
        for name, frame in shown
    ]
    return pl.concat(
        frame.join(found.frame.drop("is_closed"), on="open_time", how="left", maintain_order="left")
        for (_, frame), found in zip(shown, values, strict=True)
    )


def history(
    instrument: str,
    timeframe: str = "1m",
    start: When | None = None,
    end: When | None = None,
    *,
    kind: Literal["bars", "trades"] = "bars",
    rows: int = 50_000,
) -> Pages:
    """Any range, a frame of at most so many `rows` at a time: years of trades in the memory of one frame."""
    asked = given(kind=kind, timeframe=timeframe, start=time_text(start), end=time_text(end), limit=rows)
    reply = yield Request("history", instrument, params=asked, is_table=True)
    while reply.cursor is not None:
        asked = given(kind=kind, timeframe=timeframe, limit=rows, cursor=reply.cursor)
        reply = yield Request("history", instrument, params=asked, is_table=True)


def indicators(
    ids: Ids,
    names: str | Sequence[str],
    timeframe: str = "1m",
    start: When | None = None,
    end: When | None = None,
    *,
    as_of: When | None = None,
) -> Steps[pl.DataFrame]:
    """Indicators as ema(20) at each bar, a column for each output; null while they warm up."""
    wanted = [names] if isinstance(names, str) else names
    span = (timeframe, time_text(start), time_text(end), time_text(as_of))
    asked = several(ids)
    replies = yield [_batch(name, wanted, *span) for name in asked]
    return pl.concat(
        reply.frame.select(pl.lit(name).alias("instrument"), pl.all())
        for name, reply in zip(asked, replies, strict=True)
    )


def custom(
    instrument: str, expression: str, timeframe: str = "1m", start: When | None = None, end: When | None = None
) -> Steps[pl.DataFrame]:
    """A formula at each bar, as `(close - sma(20)) / atr(14) > 1`: column `value`, 1 or 0 where it compares."""
    span = given(start=time_text(start), end=time_text(end))
    body = {"instrument": instrument, "expression": expression, "timeframe": timeframe, **span}
    (reply,) = yield [Request("indicators/custom", body=body, method="POST", is_table=True)]
    return reply.frame


def stats(
    ids: Ids,
    timeframe: str = "1d",
    start: When | None = None,
    end: When | None = None,
    *,
    benchmark: str | None = None,
    confidence: float = 0.95,
    risk_free: float = 0.0,
    adjusted: bool = False,
) -> Steps[pl.DataFrame]:
    """Return, volatility, value at risk, ratios and drawdown of each instrument, of its last 365 bars by default."""
    asked = given(
        timeframe=timeframe,
        start=time_text(start),
        end=time_text(end),
        benchmark=benchmark,
        confidence=confidence,
        risk_free=risk_free,
        adjusted=adjusted or None,
    )
    replies = yield [Request("stats", name, params=asked) for name in several(ids)]
    found = [_flat(each.json, "max_drawdown", _DRAWDOWN, "drawdown") for each in replies]
    return rows(found, _STATISTICS)


def corporate_actions(instrument: str, as_of: When | None = None) -> Steps[pl.DataFrame]:
    """Splits and dividends in order of their ex-dates, those to come among them. Columns as `_ACTION`."""
    (reply,) = yield [Request("corporate-actions", instrument, params=given(as_of=time_text(as_of)))]
    return rows(reply.json, _ACTION)


def add_corporate_action(
    instrument: str, ex_date: dt.date | str, kind: Literal["split", "dividend"], value: float
) -> Steps[pl.DataFrame]:
    """Record or correct one (admin): `value` is new shares for an old one, or cash for a share. All that there are."""
    body = {"ex_date": str(ex_date), "kind": kind, "value": value}
    (reply,) = yield [Request("corporate-actions", instrument, body=body, method="POST", is_repeatable=False)]
    return rows(reply.json, _ACTION)


def remove_corporate_action(
    instrument: str, ex_date: dt.date | str, kind: Literal["split", "dividend"]
) -> Steps[pl.DataFrame]:
    """Withdraw one (admin); those that are left. Who asks as of before still gets it."""
    (reply,) = yield [
        Request("corporate-actions", instrument, params=given(ex_date=ex_date, kind=kind), method="DELETE")
    ]
    return rows(reply.json, _ACTION)


def correlation(
    ids: Sequence[str], timeframe: str = "1d", start: When | None = None, end: When | None = None
) -> Steps[pl.DataFrame]:
    """Correlation of log returns of each pair of instruments, at the times that both have."""
    asked = given(ids=",".join(several(ids)), timeframe=timeframe, start=time_text(start), end=time_text(end))
    (reply,) = yield [Request("correlation", params=asked, is_table=True)]
    return reply.frame


def market_summary(quote: str | None = None, limit: int = 10) -> Steps[pl.DataFrame]:
    """Gainers, losers and volume leaders of 24 hours, by the currency they are quoted in: `ranking` says which."""
    (reply,) = yield [Request("market-summary", params=given(quote=quote, limit=limit))]
    ranked = [
        {"quote": summary["quote"], "ranking": ranking, "rank": n, **each}
        for summary in reply.json
        for ranking in ("gainers", "losers", "volume_leaders")
        for n, each in enumerate(summary[ranking], 1)
    ]
    return rows(ranked, _RANKED)


def rows(found: Sequence[dict[str, Any]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """JSON objects as a table; times and dates in them are text, or what they mean already."""
    texts = [name for name, dtype in schema.items() if dtype.is_temporal()]
    raw = {**schema, **dict.fromkeys(texts, pl.String())}
    told = [{name: _text(each.get(name)) if name in texts else each.get(name) for name in schema} for each in found]
    return pl.DataFrame(told, schema=raw, orient="row").with_columns(_meant(name, schema[name]) for name in texts)


def _meant(name: str, dtype: pl.DataType) -> pl.Expr:
    text = pl.col(name).str
    return text.to_date() if dtype == pl.Date else text.to_datetime(time_unit="us", time_zone="UTC")


def _text(time: object) -> object:
    return time.isoformat() if isinstance(time, dt.date) else time


def _flat(found: dict[str, Any], part: str, schema: dict[str, pl.DataType], prefix: str = "") -> dict[str, Any]:
    """`found` with what stands under `part` beside the rest."""
    inner = found.get(part) or dict.fromkeys(schema)
    return {**found, **{f"{prefix or part}_{name}": inner[name] for name in schema}}


def _batch(
    name: str, indicators: Sequence[str], timeframe: str, start: str | None, end: str | None, as_of: str | None
) -> Request:
    span = {key: value for key, value in (("start", start), ("end", end), ("as_of", as_of)) if value is not None}
    body = {"indicators": list(indicators), "timeframe": timeframe, **span}
    return Request("indicators", name, "batch", body=body, method="POST", is_table=True)


def _first(frame: pl.DataFrame) -> str:
    first: dt.datetime = frame["open_time"][0]
    return first.isoformat()


def _together(replies: Sequence[Reply]) -> pl.DataFrame:
    return pl.concat([reply.frame for reply in replies])
