"""One credential, and how it is shown: never."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from enum import Enum, auto

# RFC 6750 b64token; bounded, for it goes into a header. Neither length nor prefix is judged (protocols 2.5)
_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}", re.ASCII)


class Use(Enum):
    """How a secret is used: as a password, as an OAuth2 refresh token, or as the bearer token itself."""

    PASSWORD = auto()
    IDENTITY = auto()
    BEARER = auto()


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are at one registry. `source` says in words where it was found."""

    username: str = field(repr=False)
    secret: str = field(repr=False)
    use: Use = Use.PASSWORD
    source: str = ""

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


def is_bearer(text: str) -> bool:
    """Whether `text` can stand in a Bearer Authorization header."""
    return _BEARER.fullmatch(text) is not None
