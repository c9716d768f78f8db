"""What an entry point decides for the API, as one frozen value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """How the API answers. `is_open`: without authentication, which only loopback may be.

    `max_rows` bounds the rows of one answer, `max_body_bytes` what a request may bring. `cors_origins` are the pages of
    other servers that browsers may let in; none by default. `is_traced`: spans are exported, `is_encrypted`: by TLS.
    `allows_private_webhooks`: of alerts, to loopback and private addresses.
    `gateway_port` is where browsers find live data, on the host that they came to.
    """

    is_open: bool = True
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 16 * 2**20
    max_rows: int = 1_000_000
    is_traced: bool = False
    is_encrypted: bool = False
    allows_private_webhooks: bool = False
    gateway_port: int = 8001
