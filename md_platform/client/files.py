"""Requests in, what a lake or an archive holds out: the answers of the API, by the same readers, without a server."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import polars as pl

from md_platform.client.asking import Reply, Request
from md_platform.client.jobs import Export
from md_platform.domain.expressions import parse_expression
from md_platform.domain.indicators import parse_spec
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.errors import InvalidParameter, NeedsServer, TooLarge
from md_platform.serving.bars import BarQuery, Fill
from md_platform.serving.computed import Computed
from md_platform.serving.files import open_files
from md_platform.serving.last_bars import completed
from md_platform.serving.paging import bar_page, trade_page
from md_platform.serving.ranges import interval, moment
from md_platform.serving.returns import correlations, figures
from md_platform.settings import load_universes, universe_of

_BARS, _CLOSES, _TRADES, _PAGE = 500, 365, 100, 10_000
"""What the API gives where nothing is said."""

_NOTHING = pl.DataFrame()


class Files:
    """Answers from the files at `root`. For any number of threads."""

    def __init__(self, root: str) -> None:
        self._market = open_files(root)
        self._universes = load_universes()
        self._answers: Mapping[str, Callable[[Request], Reply]] = {
            "instruments": self._instruments,
            "latest": self._latest,
            "bars": self._bars,
            "history": self._history,
            "trades": self._trades,
            "indicators": self._indicators,
            "indicators/custom": self._custom,
            "stats": self._stats,
            "correlation": self._correlation,
        }

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each, in order; NeedsServer where files cannot answer."""
        return [self._answer(request) for request in requests]

    def download(self, export: Export, folder: str | Path) -> list[Path]:
        """NeedsServer."""
        raise NeedsServer(f"{export.id} is on the platform that made it, not in files for {folder}")

    def close(self) -> None:
        """Nothing is held open."""

    def _answer(self, request: Request) -> Reply:
        answer = self._answers.get(request.topic)
        if answer is None:
            raise NeedsServer(f"{request.topic} is not in files: connect to a running platform by MarketData(url)")
        return answer(request)

    def _id(self, name: str) -> str:
        return self._market.names.resolve(name).id

    def _calendar(self, id_: str) -> str:
        return universe_of(id_, self._universes).calendar

    def _instruments(self, request: Request) -> Reply:
        """Those of which there are files, by what their ids tell."""
        asked = request.params
        found = [
            each
            for each in self._market.names.known()
            if asked["search"].lower() in each.id.lower()
            and asked["venue"] in ("", each.venue)
            and asked["asset_class"] in ("", _asset_class(each))
            and not asked["tag"]
            and asked.get("status", "active") == "active"
        ]
        return Reply(_NOTHING, {"instruments": [self._told(each) for each in found], "next_after": None})

    def _told(self, each: Instrument) -> dict[str, Any]:
        return {
            "id": each.id,
            "venue": each.venue,
            "native": each.native,
            "universe": universe_of(each.id, self._universes).name,
            "base": each.base,
            "quote": each.quote or None,
            "name": "",
            "asset_class": _asset_class(each),
            "tags": [],
            "status": "active",
        }

    def _latest(self, request: Request) -> Reply:
        ids = [self._id(name) for name in request.params["ids"].split(",")]
        found = [completed(self._market.bars, self._market.cache, id_, None) for id_ in ids]
        return Reply(_NOTHING, msgspec.to_builtins([each for each in found if each is not None]))

    def _bars(self, request: Request) -> Reply:
        asked = request.params
        limit = int(asked["limit"]) if "limit" in asked else None
        query = self._query(request.target, asked, limit or _BARS)
        query = dataclasses.replace(query, fill=_fill(asked["fill"]))
        if limit is not None and "start" in asked:
            return Reply(self._market.bars.first(query, limit).rows)
        rows = self._market.bars.read(query).rows
        return Reply(rows if limit is None else rows.tail(limit))

    def _query(self, name: str, asked: Mapping[str, str], bars: int) -> BarQuery:
        if "adjusted" in asked:
            raise NeedsServer("splits and dividends are in the platform's database: connect to it by MarketData(url)")
        length = Timeframe.parse(asked["timeframe"])
        span = interval(asked.get("start"), asked.get("end"), length, bars)
        known = moment(asked["as_of"], "as_of", span.end) if "as_of" in asked else None
        return BarQuery(self._id(name), length, span, known)

    def _history(self, request: Request) -> Reply:
        asked, id_, now = request.params, self._id(request.target), dt.datetime.now(UTC)
        cursor, limit = asked.get("cursor"), int(asked.get("limit", _PAGE))
        until = min(moment(asked.get("end"), "end", now), now)
        span = None if cursor else Interval(moment(asked.get("start"), "start", until - DAY), until)
        if asked["kind"] == "trades":
            page = trade_page(self._market.trades, id_, span, limit, cursor)
        else:
            page = bar_page(self._market.bars, id_, Timeframe.parse(asked["timeframe"]), span, limit, cursor)
        return Reply(page.rows, cursor=page.next_cursor)

    def _trades(self, request: Request) -> Reply:
        asked, id_, now = request.params, self._id(request.target), dt.datetime.now(UTC)
        limit, until = int(asked.get("limit", _TRADES)), min(moment(asked.get("end"), "end", now), now)
        if "start" not in asked:
            return Reply(self._market.trades.newest(id_, limit, until).rows)
        span = Interval(moment(asked["start"], "start", now), until)
        if span.end - span.start > DAY:
            raise TooLarge(f"trades are given for a day at most, was {span.end - span.start}: use history")
        return Reply(self._market.trades.read(id_, span).rows.head(limit))

    def _indicators(self, request: Request) -> Reply:
        query = self._query(request.target, request.body, _BARS)
        specs = [parse_spec(text) for text in dict.fromkeys(request.body["indicators"])]
        return _computed(self._market.indicators.values(query, specs, self._calendar(query.instrument)))

    def _custom(self, request: Request) -> Reply:
        query = self._query(request.body["instrument"], request.body, _BARS)
        expression = parse_expression(request.body["expression"])
        return _computed(self._market.indicators.expression(query, expression, self._calendar(query.instrument)))

    def _stats(self, request: Request) -> Reply:
        asked = request.params
        query = self._query(request.target, asked, _CLOSES)
        benchmark = self._id(asked["benchmark"]) if "benchmark" in asked else None
        found, slope = figures(
            self._market.bars,
            query,
            self._calendar(query.instrument),
            benchmark=None if benchmark is None else dataclasses.replace(query, instrument=benchmark),
            confidence=float(asked["confidence"]),
            risk_free=float(asked["risk_free"]),
        )
        named = {"instrument": query.instrument, "timeframe": query.timeframe.value, "benchmark": benchmark}
        return Reply(_NOTHING, {**named, "beta": slope, **dataclasses.asdict(found)})

    def _correlation(self, request: Request) -> Reply:
        ids = list(dict.fromkeys(self._id(name) for name in request.params["ids"].split(",")))
        query = self._query(ids[0], request.params, _CLOSES)
        return Reply(correlations(self._market.bars, ids, query.timeframe, query.interval))


class AsyncFiles:
    """The same, awaited: files are read by threads."""

    def __init__(self, root: str) -> None:
        self._files = Files(root)

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each, in order; NeedsServer where files cannot answer."""
        return await asyncio.to_thread(self._files.ask, requests)

    async def download(self, export: Export, folder: str | Path) -> list[Path]:
        """NeedsServer."""
        return self._files.download(export, folder)

    async def close(self) -> None:
        """Nothing is held open."""


def _fill(text: str) -> Fill:
    if text not in get_args(Fill):
        raise InvalidParameter(f"fill must be one of {' '.join(get_args(Fill))}, was {text!r}")
    return cast("Fill", text)


def _computed(found: Computed) -> Reply:
    return Reply(found.rows)


def _asset_class(instrument: Instrument) -> str:
    if instrument.is_perpetual:
        return "perpetual"
    return "crypto" if instrument.quote else "stock"
