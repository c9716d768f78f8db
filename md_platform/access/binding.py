"""A host to listen on in, nothing or InvalidSetting out: without authentication only loopback is safe."""

import ipaddress

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
