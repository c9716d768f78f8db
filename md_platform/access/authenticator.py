"""Credentials in, principals out."""

from md_platform.access.principal import ANONYMOUS, Principal
from md_platform.errors import NotAuthenticated


class Authenticator:
    """Knows who a credential belongs to. `is_open`: nobody is asked, everybody is ANONYMOUS."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open

    def authenticate(self, credential: str | None) -> Principal:
        """The principal of `credential`; NotAuthenticated where there is none, or where it is not valid."""
        if self.is_open:
            return ANONYMOUS
        asked = "none came" if credential is None else "this one is not valid"
        raise NotAuthenticated(f"an API key or a token is needed as `Authorization: Bearer ...`, {asked}")
