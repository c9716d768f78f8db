"""Log events in, one redacted line each out: for people on a terminal, JSON anywhere else."""

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
