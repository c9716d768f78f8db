"""The shape of one HTTP exchange, free of any server: a request in, a response out."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from md_platform.sandbox.history import Aggregate, Bar, History, Trade
from md_platform.sandbox.listings import Listing

Row = TypeVar("Row", Bar, Trade, Aggregate)


class Distortion(Protocol):
    """What may be done to rows before they are rendered: requested faults, in tests and drills."""

    def __call__(self, listing: Listing, channel: str, rows: list[Row], now_us: int) -> list[Row]:
        """The rows as the venue shall show them."""
        ...


def undistorted(listing: Listing, channel: str, rows: list[Row], now_us: int) -> list[Row]:  # noqa: ARG001
    """The rows as they are."""
    return rows


class Request(msgspec.Struct, frozen=True):
    """A GET: path below the protocol's prefix, parameters, simulated time and the client's address."""

    path: str
    params: Mapping[str, str]
    now_us: int
    client: str = "127.0.0.1"
    distort: Distortion = undistorted


class Response(msgspec.Struct, frozen=True):
    """Status, JSON body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class Refused(Exception):
    """A request that the venue answers with an error body of its own."""

    def __init__(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body}")
        self.response = Response(status, msgspec.json.encode(body), headers or {})


def json_response(body: object, headers: dict[str, str] | None = None) -> Response:
    """A 200 with `body` as JSON."""
    return Response(200, msgspec.json.encode(body), headers or {})


Json = dict[str, Any]


class RestApi(Protocol):
    """A venue's REST API over the simulation: no socket in it."""

    def __init__(self, history: History) -> None: ...

    def respond(self, request: Request) -> Response:
        """The venue's answer, errors included."""
        ...

    def failure(self, status: int, retry_after_s: int, now_us: int) -> Response:
        """What the venue answers when it limits (429), bans (418) or breaks (5xx)."""
        ...
