"""Alerts that wait for their webhook in, signed POST requests out, tried again with ever longer waits.

`MDP-Signature` is `sha256=` and the HMAC-SHA256, in hex, of `MDP-Timestamp`, a full stop and the body, by the rule's
secret. An alert that is delivered again has the same `MDP-Delivery`. Unless that is allowed, only public addresses are
connected to, and to the very one that was looked at: a name cannot mean another meanwhile.
"""

import hashlib
import hmac
import ipaddress
import json
import socket
import time
from urllib.parse import urlsplit

import httpx
import structlog

from md_platform.alerts.rules import Rules
from md_platform.errors import InvalidParameter

log = structlog.get_logger(__name__)

ATTEMPTS = 8
"""After so many an alert is dead: it stays as it is, and can be seen."""

_TIMEOUT_S = 10.0
_AT_ONCE = 20


class Webhooks:
    """Delivers what waits in `rules`. `allows_private`: loopback and private addresses are connected to."""

    def __init__(self, rules: Rules, *, allows_private: bool, first_wait_s: float = 2.0) -> None:
        self._rules = rules
        self._allows_private = allows_private
        self._first_wait_s = first_wait_s
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def deliver(self) -> int:
        """Try what is due, each once; how many there were. StorageError where the database is away."""
        with self._rules.connect() as connection:
            due = connection.execute(_DUE, (_TIMEOUT_S * 3, _AT_ONCE)).fetchall()
        for id_, attempts, url, secret, body in due:
            error = self._post(int(id_), url, secret or "", json.dumps(body, separators=(",", ":")).encode())
            if error is None:
                state = "delivered"
            else:
                state = "dead" if attempts >= ATTEMPTS else "waiting"
                log.warning("a webhook was not delivered", alert=id_, attempts=attempts, state=state, reason=error)
            wait_s = min(self._first_wait_s * 2 ** (attempts - 1), 3_600.0)
            with self._rules.connect() as connection:
                connection.execute(_DONE, (state, error, wait_s, id_))
        return len(due)

    def _post(self, id_: int, url: str | None, secret: str, body: bytes) -> str | None:
        """Post one alert; why that failed, None where it is delivered."""
        if url is None:
            return "the rule has no webhook any more"
        at = str(int(time.time()))
        signature = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        parts = urlsplit(url)
        headers = {
            "Content-Type": "application/json",
            "Host": parts.netloc.rpartition("@")[2],
            "MDP-Delivery": str(id_),
            "MDP-Timestamp": at,
            "MDP-Signature": f"sha256={signature}",
        }
        try:
            address = resolved(url, allows_private=self._allows_private)
            there = httpx.URL(url).copy_with(host=address)
            names = {"sni_hostname": parts.hostname}
            with self._client.stream("POST", there, content=body, headers=headers, extensions=names) as answer:
                return None if answer.is_success else f"answered {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, InvalidParameter, OSError) as error:
            return f"{type(error).__name__}: {error}"


def require_webhook(url: str, *, allows_private: bool) -> None:
    """Raise InvalidParameter for what is no address of a webhook, or names a private one outright."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidParameter("webhook_url cannot be read: it must look like https://host/path") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidParameter("webhook_url must look like https://host/path")
    if allows_private:
        return
    try:
        is_public = _is_public(host)
    except ValueError:
        is_public = host != "localhost" and not host.endswith(".localhost")
    if not is_public:
        raise InvalidParameter("webhook_url must be a public address: MDP_ALERT_PRIVATE_WEBHOOKS=true allows others")


def resolved(url: str, *, allows_private: bool) -> str:
    """An address of the host of `url`; InvalidParameter where any of them is private and that is not allowed."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    if not allows_private and not all(map(_is_public, addresses)):
        raise InvalidParameter(f"{parts.hostname} is not a public address")
    return addresses[0]


def _is_public(address: str) -> bool:
    known = ipaddress.ip_address(address)
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return known.is_global and not known.is_multicast


_DUE = """
WITH due AS (
    UPDATE md.alerts_fired SET webhook_attempts = webhook_attempts + 1,
        webhook_next_at = now() + %s * interval '1 second'
    WHERE id IN (
        SELECT id FROM md.alerts_fired WHERE webhook_state = 'waiting' AND webhook_next_at <= now()
        ORDER BY webhook_next_at FOR UPDATE SKIP LOCKED LIMIT %s
    )
    RETURNING *
)
SELECT due.id, due.webhook_attempts, rule.webhook_url, rule.webhook_secret,
       jsonb_build_object('id', due.id, 'rule', due.rule_id, 'name', due.name, 'instrument', due.instrument,
                          'severity', due.severity, 'message', due.message, 'value', due.value, 'at', due.at,
                          'fired_at', due.fired_at)
FROM due LEFT JOIN md.alert_rules rule ON rule.id = due.rule_id ORDER BY due.id
"""
_DONE = """
UPDATE md.alerts_fired SET webhook_state = %s, webhook_error = %s, webhook_next_at = now() + %s * interval '1 second'
WHERE id = %s
"""
