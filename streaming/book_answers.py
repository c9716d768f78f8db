"""Books on demand: an instrument and a depth asked over HTTP in, its book as it is out, never one known to be wrong.

    GET /book/binance:BTC-USDT?depth=50     depth 10 unless given, all levels with depth=all

404: the instrument's book is not streamed. 503: it is, and there is no right book at this moment; ask again.
"""

from aiohttp import web

from md_platform.domain.events import Book
from streaming.pipeline import Pipeline

_DEPTH = 10
_DEEPEST = 1_000_000


def book_route(pipeline: Pipeline) -> web.RouteDef:
    """The route that answers from the books of `pipeline`."""

    async def answer(request: web.Request) -> web.Response:
        instrument, text = request.match_info["instrument"], request.query.get("depth", str(_DEPTH))
        depth = _DEEPEST if text == "all" else int(text) if text.isdecimal() and len(text) < len(str(_DEEPEST)) else 0
        if depth < 1:
            return _problem(400, f"depth must be a number from 1 to 999999 or all, was {text!r}")
        if not pipeline.streams_book(instrument):
            return _problem(404, f"the book of {instrument} is not streamed here")
        book = pipeline.book(instrument)
        top = book.top(instrument, depth) if book is not None else None
        return web.json_response(_shown(top)) if top is not None else _problem(503, _reason(instrument, pipeline))

    return web.get("/book/{instrument}", answer)


def _reason(instrument: str, pipeline: Pipeline) -> str:
    book = pipeline.book(instrument)
    if book is None:
        return f"no connection serves the book of {instrument} at this moment"
    if book.is_crossed:
        return f"the book of {instrument} is crossed"
    return f"the book of {instrument} went wrong and is asked anew" if not book.is_right else "the book is empty"


def _shown(book: Book) -> dict[str, object]:
    return {name: getattr(book, name) for name in Book.__struct_fields__}


def _problem(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
