"""Where a server is and how patiently it is asked; what the network does to a request, as errors of ours."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import urllib3.exceptions

from md_platform.client.asking import Request
from md_platform.errors import InvalidSetting, MdpError, PlatformUnavailable, TooManyRequests

_LONGEST_PAUSE_S = 60.0
_NEAR = ("127.0.0.1", "localhost", "::1")


class NotReached(PlatformUnavailable):
    """No connection was made: nothing was done, so that anything may be tried again."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API is, who asks, and how patiently: `attempts` of one request, `timeout_s` of each."""

    url: str
    api_key: str | None = None
    timeout_s: float = 30.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InvalidSetting(
                f"url must begin with http:// or https://, was {self.url!r}: files are opened by `open`"
            )

    @property
    def headers(self) -> dict[str, str]:
        """Sent with every request. On this machine compression costs more than it saves."""
        headers = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return {**headers, "accept-encoding": "identity"} if httpx.URL(self.url).host in _NEAR else headers


_NOT_REACHED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn what the network does to a request into PlatformUnavailable."""
    try:
        yield
    except _NOT_REACHED as error:
        raise NotReached(f"{url} cannot be reached: {error}") from error
    except (httpx.TransportError, urllib3.exceptions.HTTPError) as error:
        raise PlatformUnavailable(f"{url} broke off or gave no answer in time: {error!r}") from error


def pause_s(request: Request, error: Exception) -> bool | float:
    """Whether to try again, and after how long where the server said so."""
    if not isinstance(error, MdpError) or not error.retryable:
        return False
    if not request.is_repeatable and not isinstance(error, NotReached | TooManyRequests):
        return False
    told_s: float | None = getattr(error, "retry_after_s", None)
    if told_s is None:
        return True
    return told_s if told_s <= _LONGEST_PAUSE_S else False
