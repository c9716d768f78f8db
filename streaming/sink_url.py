"""The address of a sink, as text in; its parts, and a name that may be logged, out."""

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from md_platform.errors import InvalidSetting

_NEXT = re.compile(r"[\s,]+(?=[a-z+]+://)")


@dataclass(frozen=True, slots=True)
class SinkUrl:
    """`scheme://[user[:password]@]host[,host][/path][#secret]`. Only `name`, `scheme` and `hosts` are no secrets."""

    name: str
    scheme: str
    hosts: tuple[str, ...]
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    secret: str = field(repr=False)
    whole: str = field(repr=False)


def sink_url(text: str) -> SinkUrl:
    """Take `text` apart; InvalidSetting, which repeats no secret, where it is no address."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidSetting("MDP_SINKS: one of its addresses cannot be read") from None
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = tuple(host for host in place.split(",") if host)
    if not parts.scheme or not hosts:
        raise InvalidSetting(f"MDP_SINKS must hold addresses scheme://host, one was {parts.scheme or '...'}://{place}")
    return SinkUrl(
        name=f"{parts.scheme}://{place}{_trace(parts.path, parts.query)}",
        scheme=parts.scheme,
        hosts=hosts,
        user=unquote(user) or None,
        password=unquote(password) or None,
        secret=unquote(parts.fragment),
        whole=parts._replace(fragment="").geturl(),
    )


def sink_urls(text: str) -> list[SinkUrl]:
    """Addresses separated by commas or blanks; an address may have several hosts: `kafka://a:9092,b:9092`."""
    found = [sink_url(each) for each in _NEXT.split(text.strip(" ,")) if each]
    for number, url in enumerate(found):
        if url.name in [other.name for other in found[:number]]:
            raise InvalidSetting(f"MDP_SINKS names {url.name} twice")
    return found


def _trace(path: str, query: str) -> str:
    """Tells two paths of one host apart without showing them: many a webhook's path is its password."""
    told = f"{path}?{query}".strip("/?")
    return f"/~{hashlib.sha256(told.encode()).hexdigest()[:8]}" if told else ""
