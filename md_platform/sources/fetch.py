"""The one engine that talks to venues: requests in, pages out, within the rate limit, tried again only where it helps.

Nothing here knows a venue by name: addresses, limits, parsers and the meaning of errors come from its VenueSpec. A
fetcher may be used by several threads, which then share its rate limit and connections.
"""

import contextlib
import datetime as dt
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import httpx
import stamina

from md_platform.domain.intervals import UTC
from md_platform.errors import MalformedPayload, RateLimited, SourceError, SourceRejected, SourceUnavailable
from md_platform.venues.spec import Page, ParsePage, Query, RateLimit, Request, VenueSpec, error_of_status

T = TypeVar("T")
USER_AGENT = "md-platform/0.1"


def utc_now() -> dt.datetime:
    """The system's time, UTC."""
    return dt.datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is tried, how long between, and how long to wait for an answer (seconds).

    The wait doubles from `wait_initial_s` to `wait_max_s` with jitter. A venue's own Retry-After is obeyed instead; one
    longer than `patience_s` ends the attempt, so that another source may serve.
    """

    attempts: int = 5
    wait_initial_s: float = 0.5
    wait_max_s: float = 20.0
    patience_s: float = 120.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0

    def backoff(self, error: Exception) -> bool | float:
        """What stamina asks: whether to try again after `error`, or how long to wait before."""
        if not isinstance(error, SourceError) or not error.retryable:
            return False
        if isinstance(error, RateLimited) and error.retry_after_s is not None:
            jitter = random.uniform(0, min(1.0, self.wait_initial_s))  # noqa: S311 - spreads callers, hides nothing
            return error.retry_after_s + jitter if error.retry_after_s <= self.patience_s else False
        return True

    def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, tried up to `attempts` times while it raises retryable SourceErrors."""
        for attempt in stamina.retry_context(
            on=self.backoff,
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.wait_initial_s,
            wait_max=self.wait_max_s,
            wait_jitter=self.wait_initial_s,
        ):
            with attempt:
                return call()
        raise AssertionError("retry_context ends by returning or raising")


class RateLimiter:
    """Holds callers back so that no window of the limit sees more than its weight. Safe for threads."""

    def __init__(
        self,
        limit: RateLimit,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._spent: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def acquire(self, weight: float) -> None:
        """Wait until `weight` more fits into the window, and spend it. More than the limit counts as all of it."""
        weight = min(weight, self._limit.weight)
        while (wait := self._spend(weight)) > 0:
            self._sleep(wait)

    def _spend(self, weight: float) -> float:
        """Seconds to wait before trying again; 0 where `weight` has been spent."""
        with self._lock:
            now = self._clock()
            used = self._used(now)
            if used + weight <= self._limit.weight:
                self._spent.append((now, weight))
                return 0.0
            for moment, spent in self._spent:
                expires = moment + self._limit.window_s
                used -= spent
                if used + weight <= self._limit.weight:
                    break
            return max(expires - now, 0.001)

    def _used(self, now: float) -> float:
        while self._spent and self._spent[0][0] <= now - self._limit.window_s:
            self._spent.popleft()
        return sum(spent for _, spent in self._spent)

    def observe(self, used: float) -> None:
        """Take the venue's own count of the weight used: others may spend from the same address."""
        with self._lock:
            now = self._clock()
            if (unknown := used - self._used(now)) > 0:
                self._spent.append((now, unknown))


@dataclass(slots=True)
class Meter:
    """What a fetch has cost so far."""

    requests: int = 0
    bytes: int = 0


class Fetcher:
    """Requests to one venue at `rest_url` (the venue's own by default), as parsed values."""

    def __init__(
        self,
        spec: VenueSpec,
        rest_url: str | None = None,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
        retry: RetryPolicy | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        url = rest_url or spec.rest_url
        if url is None:
            raise SourceRejected(f"{spec.id} serves nothing over the network: import its data from files")
        self.spec = spec
        self.clock = clock
        self._url = url.rstrip("/")
        self._retry = retry or RetryPolicy()
        self._limiter = limiter or RateLimiter(spec.rate_limit)
        self._client = httpx.Client(
            timeout=httpx.Timeout(self._retry.read_timeout_s, connect=self._retry.connect_timeout_s),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            follow_redirects=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, request: Request, parse: Callable[[bytes], T], meter: Meter) -> T:
        """What `parse` makes of the answer to `request`; SourceError where the venue does not deliver."""

        def attempt() -> T:
            self._limiter.acquire(request.weight)
            meter.requests += 1
            with transport_errors(self.spec.id, self._url):
                answer = self._client.request(request.method, self._url + request.path, params=dict(request.params))
            meter.bytes += answer.num_bytes_downloaded
            self._observe(answer)
            if not answer.is_success:
                raise self._error(answer)
            return parse(answer.content)

        return self._retry.run(attempt)

    def _error(self, answer: httpx.Response) -> SourceError:
        headers = dict(answer.headers)
        if self.spec.history is not None:
            return self.spec.history.parse_error(answer.status_code, headers, answer.content)
        return error_of_status(self.spec.id, answer.status_code, headers, answer.text[:200])

    def _observe(self, answer: httpx.Response) -> None:
        header = self.spec.rate_limit.used_header
        if header is not None:
            with contextlib.suppress(ValueError):
                self._limiter.observe(float(answer.headers.get(header, "0")))

    def pages(self, first: Request, parse: ParsePage, query: Query, meter: Meter) -> Iterator[Page]:
        """Pages from `first` on; MalformedPayload where a venue's paging runs in a circle."""
        request: Request | None = first
        asked: set[tuple[str, str]] = set()
        while request is not None:
            key = (request.path, repr(sorted(request.params.items())))
            if key in asked:
                raise MalformedPayload(f"{self.spec.id} pages in a circle: {request.path} {dict(request.params)}")
            asked.add(key)
            page = self._page(request, parse, query, meter)
            yield page
            request = page.following

    def _page(self, request: Request, parse: ParsePage, query: Query, meter: Meter) -> Page:
        def read(payload: bytes) -> Page:
            now = Query(query.instrument, query.interval, query.source, self.clock(), query.timeframe)
            return parse(payload, request, now)

        return self.get(request, read, meter)


@contextlib.contextmanager
def transport_errors(name: str, url: str) -> Iterator[None]:
    """Turn httpx's errors on the way to `url` into SourceUnavailable, or SourceRejected where trying again is vain."""
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise SourceRejected(f"{name} cannot be asked at {url}: {error}") from error
    except httpx.TimeoutException as error:
        raise SourceUnavailable(f"{name} did not answer in time at {url} ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise SourceUnavailable(f"{name} cannot be reached at {url}: {error or type(error).__name__}") from error
