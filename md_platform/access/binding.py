"""Where and how to listen in, nothing or InvalidSetting out: without authentication only loopback is safe."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from md_platform.errors import InvalidSetting


def is_loopback(host: str) -> bool:
    """Whether `host` is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_safe(variable: str, host: str, *, is_open: bool) -> None:
    """Raise InvalidSetting where others reach `host`, which `variable` names, and nobody is asked who they are."""
    if is_open and not is_loopback(host):
        raise InvalidSetting(
            f"{variable} must be a loopback address such as 127.0.0.1 without authentication, was {host!r}:"
            " set MDP_AUTH=required (and make a key with `mdp token create`) to listen there"
        )


@dataclass(frozen=True, slots=True)
class Tls:
    """Files, in PEM, of a server that speaks TLS."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What a server of our own needs to speak it: TLS 1.2 at least."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def require_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """The files of MDP_TLS_CERTIFICATE and MDP_TLS_KEY, None for neither; InvalidSetting for one, or one not there."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InvalidSetting("MDP_TLS_CERTIFICATE and MDP_TLS_KEY go together: set both, or neither")
    for variable, file in (("MDP_TLS_CERTIFICATE", certificate), ("MDP_TLS_KEY", key)):
        if not file.is_file():
            raise InvalidSetting(f"{variable} must name a file, {file} does not exist")
    return Tls(certificate, key)
