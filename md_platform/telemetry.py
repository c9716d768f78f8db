"""Log events in, a redacted line each out: for people on a terminal, JSON anywhere else. Floods are thinned."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

_URL_PASSWORD = re.compile(r"""(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^:/@\s"'<>]*):[^\s"'<>]*@""", re.IGNORECASE)
_PARAMETER = re.compile(
    r"""(?P<name>(?:password|passwd|secret|token|api[-_]?key|signature)["']?\s*[=:]\s*["']?)[^\s"'&,;}]+""",
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(r"mdp_[0-9a-f]{12}_\w+|mdt_\w+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|(?<=[Bb]earer )[^\s\"',]+")
_SECRET_NAME = re.compile(r"password|passwd|secret|token|api_?key|authorization|credential", re.IGNORECASE)
_HIDDEN = "***"
_SAID_AT_MOST = 5
_SAID_WITHIN_S = 60.0
_REMEMBERED = 1_000


def redact(text: str) -> str:
    """`text` without passwords of URLs, values of parameters that are named like secrets, API keys and tokens."""
    text = _URL_PASSWORD.sub(rf"\g<scheme>\g<user>:{_HIDDEN}@", text)
    return _CREDENTIAL.sub(_HIDDEN, _PARAMETER.sub(rf"\g<name>{_HIDDEN}", text))


def configure_logging(level: str = "info", stream: TextIO | None = None, *, json: bool | None = None) -> None:
    """Send our log events and those of libraries to `stream` (standard error); JSON unless it is a terminal."""
    stream = stream or sys.stderr
    as_json = not stream.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    render = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.addFilter(_Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted(render)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "picows.server"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for client in ("aiokafka", "aiormq", "nats"):  # they say with each attempt what a delivery says once
        logging.getLogger(client).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _Repeats(logging.Filter):
    """Lets a few warnings or errors a minute through that say the same; the next then tells how many were kept back.

    Two say the same whose texts and fields of text are the same: numbers among them differ from one to the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.WARNING:
            return True
        key = _what_it_says(record)
        began, count = self._said.get(key, (record.created, 0))
        if record.created - began >= _SAID_WITHIN_S:
            _tell_of(record, count - _SAID_AT_MOST)
            began, count = record.created, 0
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[key] = began, count + 1
        return count < _SAID_AT_MOST


def _what_it_says(record: logging.LogRecord) -> tuple[str, ...]:
    """The same for lines that differ in nothing but numbers. An event of structlog's comes as a dict."""
    said: object = record.msg
    if not isinstance(said, dict):
        return record.name, record.levelname, str(said)
    fields = (f"{name}={value}" for name, value in said.items() if isinstance(value, str) and name != "timestamp")
    return record.name, record.levelname, *fields


def _tell_of(record: logging.LogRecord, kept_back: int) -> None:
    said: object = record.msg
    if kept_back > 0 and isinstance(said, dict):
        record.__dict__["msg"] = {**said, "kept_back": kept_back}
    elif kept_back > 0:
        record.msg = f"{said} ({kept_back} like it were kept back)"


def _hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank the fields that are named like secrets."""
    for name in event:
        if _SECRET_NAME.search(name):
            event[name] = _HIDDEN
    return event


def _redacted(render: structlog.typing.Processor) -> structlog.typing.Processor:
    """`render`, its finished line redacted whole: a password hides in exceptions as well as in fields."""

    def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:  # noqa: ANN401 - structlog's
        return redact(cast("str", render(logger, method, event)))

    return rendered
