"""Signed links: a file of a job in, an address that gives it to whoever has it out, until it expires or once."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from md_platform.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Link:
    """A link to file `name` of the job `job`, good until `expires` (epoch, s); with a `nonce` it is good once."""

    job: str
    name: str
    expires: int
    nonce: str = ""

    @classmethod
    def made(cls, job: str, name: str, lifetime_s: int, *, once: bool) -> "Link":
        """A new link."""
        return cls(job, name, int(time.time()) + lifetime_s, secrets.token_hex(16) if once else "")

    def query(self, secret: str) -> str:
        """The address after its host and prefix: path and query, signed."""
        values = {"expires": self.expires, "nonce": self.nonce, "signature": self._signature(secret)}
        return f"{self.job}/{quote(self.name)}?{urlencode(values)}"

    def require(self, signature: str, secret: str) -> None:
        """Raise Forbidden unless it was signed with `secret`, and has not expired."""
        if not hmac.compare_digest(self._signature(secret).encode(), signature.encode()):
            raise Forbidden("the link is not as it was signed: ask for a new one")
        if time.time() >= self.expires:
            raise Forbidden("the link has expired: ask for a new one")

    def _signature(self, secret: str) -> str:
        signed = f"{self.job}/{self.name}?{self.expires}&{self.nonce}"
        return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
