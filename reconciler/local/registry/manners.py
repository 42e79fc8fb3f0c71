"""How a registry behaves where the spec leaves it free, or where it leaves the spec."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self


class Referrers(StrEnum):
    """What `GET /v2/<name>/referrers/<digest>` answers."""

    API = "api"  # as the spec wants it, and OCI-Subject on a push
    UNKNOWN = "unknown"  # 404 MANIFEST_UNKNOWN, as GHCR
    PAGE = "page"  # 404 and a page of text, as CNCF Distribution 2
    EMPTY = "empty"  # 200 and always an empty list, as GHCR was once said to


@dataclass(frozen=True, slots=True)
class Lag:
    """How long a tag that was written reads as before: so many seconds of the clock, or so many reads.

    `hides`: it reads as absent meanwhile, even where it named another digest before.
    """

    seconds: float = 0.0
    reads: int = 0
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Manners:
    """The plain registry by default: what the spec says, an open door, and no referrers API."""

    strict_accept: bool = False  # 404 where Accept lacks the manifest's media type; */* doesn't count
    hides_unknown: bool = False  # 403 for what isn't there, to those who couldn't see it either
    referrers: Referrers = Referrers.UNKNOWN
    referrers_page: int = 0  # descriptors per answer; 0: all
    oldest_first: bool = False  # the order of tags: by age, else by name
    page: int = 0  # tags per answer where the client names no number; 0: all
    max_page: int = 0  # at most so many tags per answer whatever the client names; 0: no limit
    lag: Lag = field(default_factory=Lag)
    redirects: bool = False  # blobs are sent from another host, by a signed URL
    storage_host: str = "localhost"
    storage_seconds: float = 300.0  # until such a URL expires
    conditional: bool = False  # ETag, If-Match and If-None-Match on manifests
    digest_header: bool = True  # Docker-Content-Digest: a SHOULD in 1.1.1
    deletes: bool = True
    expires_in: bool = True  # the token's answer says for how long it holds
    bearer_password: bool = False  # /v2/ takes `Bearer base64(password)` too
    per_minute: int = 0  # 429 above so many requests a minute; 0: no limit

    @classmethod
    def ghcr(cls, **changes: Any) -> Self:
        """As ghcr.io is reported to behave, with a lag of a second and a half; `changes` on top."""
        like = cls(
            strict_accept=True,
            hides_unknown=True,
            oldest_first=True,
            page=100,
            lag=Lag(seconds=1.5),
            redirects=True,
            deletes=False,
            expires_in=False,
            bearer_password=True,
        )
        return replace(like, **changes)
