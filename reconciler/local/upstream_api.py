"""The parts of GitHub's and GitLab's API that list releases and tags, with their pages, ETags and rate limits.

Sources: protocols 6.1 to 6.7.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

_GITHUB = re.compile(r"/api/v3/repos/([^/]+/[^/]+)/releases(?:/tags/(.+)|/(latest))?")
_GITLAB = re.compile(r"/api/v4/projects/([^/]+)/repository/tags")
_SERVED = 10_000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes out. `cut`: its body is cut in the middle and the connection closed."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False

    @classmethod
    def of(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """One of JSON."""
        kind = {"content-type": "application/json; charset=utf-8"}
        return cls(status, json.dumps(value).encode(), {**kind, **(headers or {})})


@dataclass(frozen=True, slots=True)
class ApiRelease:
    """What the APIs know of a tag; `published`: there is a GitHub release for it."""

    tag: str
    commit: str
    date: str
    annotated: bool = False
    prerelease: bool = False
    draft: bool = False
    published: bool = True


@dataclass(slots=True)
class RateLimit:
    """GitHub's primary limit: `remaining` requests until `reset` (by `now`), per whole server to keep it simple."""

    remaining: int = 5000
    limit: int = 5000
    window: float = 3600.0
    now: Callable[[], float] = time.time
    reset: float = 0.0

    def headers(self) -> dict[str, str]:
        """As every answer of GitHub tells it."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(0, self.remaining)),
            "x-ratelimit-used": str(self.limit - max(0, self.remaining)),
            "x-ratelimit-reset": str(int(self.reset or self.now() + self.window)),
            "x-ratelimit-resource": "core",
        }


@dataclass(slots=True)
class Apis:
    """Answers for both APIs; `find` gives a repository's releases in the order they were made, or None.

    `tokens`: those that GitHub accepts; another one is refused with 401, as GitHub does.
    """

    url: str
    find: Callable[[str], Sequence[ApiRelease] | None]
    rate: RateLimit = field(default_factory=RateLimit)
    tokens: frozenset[str] = frozenset({"local-token"})

    def answer(self, target: str, headers: Mapping[str, str]) -> Reply | None:
        """The answer to a GET; None where this isn't an API's path."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if match := _GITHUB.fullmatch(parts.path):
            return self._github(match, query, headers)
        if match := _GITLAB.fullmatch(parts.path):
            return self._gitlab(unquote(match[1]), parts.path, query, headers)
        return None

    def _github(self, match: re.Match[str], query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        token = headers.get("authorization", "").partition(" ")[2]
        if token and token not in self.tokens:
            return Reply.of(401, {"message": "Bad credentials"})
        if self.rate.remaining <= 0 and self.rate.now() < self.rate.reset:
            return Reply.of(403, {"message": "API rate limit exceeded for 127.0.0.1."}, self.rate.headers())
        known = self.find(match[1])
        if known is None:
            reply = Reply.of(404, {"message": "Not Found", "status": "404"})
        else:
            # drafts are for those who may push; the newest first, whatever their versions
            seen = [r for r in reversed(known) if r.published and (token or not r.draft)]
            seen.sort(key=lambda release: release.date, reverse=True)
            reply = self._github_reply(match, seen, query)
        reply = _conditional(reply, headers)
        # a 304 is free only for who is logged in (6.4)
        if not (reply.status == 304 and token):
            self.rate.remaining -= 1
        return Reply(reply.status, reply.body, {**reply.headers, **self.rate.headers()})

    def _github_reply(self, match: re.Match[str], seen: Sequence[ApiRelease], query: Mapping[str, str]) -> Reply:
        if match[2]:
            one = next((r for r in seen if r.tag == unquote(match[2]) and not r.draft), None)
            return Reply.of(404, {"message": "Not Found"}) if one is None else Reply.of(200, _github_release(one))
        if match[3]:
            one = next((r for r in seen if not r.draft and not r.prerelease), None)
            return Reply.of(404, {"message": "Not Found"}) if one is None else Reply.of(200, _github_release(one))
        path = f"/api/v3/repos/{match[1]}/releases"
        return self._page(path, [_github_release(r) for r in seen[:_SERVED]], query, default=30, last=True)

    def _gitlab(self, name: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        known = self.find(name)
        if known is None:
            return Reply.of(404, {"message": "404 Project Not Found"})
        tags = sorted(known, key=lambda release: release.date, reverse=True)
        return _conditional(self._page(path, [_gitlab_tag(t) for t in tags], query, default=20, last=False), headers)

    def _page(self, path: str, items: Sequence[Any], query: Mapping[str, str], *, default: int, last: bool) -> Reply:
        size = min(100, max(1, _number(query.get("per_page"), default)))
        page = max(1, _number(query.get("page"), 1))
        pages = max(1, -(-len(items) // size))
        links = {"next": page + 1, "last": pages} if page < pages else {}
        if page > 1:
            links |= {"prev": page - 1, "first": 1}
        told = ", ".join(
            f'<{self.url}{path}?{urlencode({"per_page": size, "page": number})}>; rel="{rel}"'
            for rel, number in links.items()
            if last or rel != "last"
        )
        return Reply.of(200, items[(page - 1) * size : page * size], {"link": told} if told else {})


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else default


def _conditional(reply: Reply, headers: Mapping[str, str]) -> Reply:
    if reply.status != 200:
        return reply
    told = reply.body + reply.headers.get("link", "").encode() + headers.get("accept", "").encode()
    etag = f'W/"{hashlib.sha256(told).hexdigest()}"'
    if headers.get("if-none-match") == etag:
        return Reply(304, b"", {"etag": etag})
    return Reply(200, reply.body, {**reply.headers, "etag": etag})


def _github_release(release: ApiRelease) -> dict[str, Any]:
    return {
        "id": int(release.commit[:12], 16),
        "tag_name": release.tag,
        "target_commitish": "main",
        "name": release.tag,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "created_at": release.date,
        "published_at": None if release.draft else release.date,
        "body": f"What is new in {release.tag}",
        "assets": [],
    }


def _gitlab_tag(release: ApiRelease) -> dict[str, Any]:
    date = release.date.replace("Z", ".000+00:00")
    return {
        "name": release.tag,
        "message": release.tag if release.annotated else "",
        "target": release.commit[::-1] if release.annotated else release.commit,
        "commit": {"id": release.commit, "short_id": release.commit[:8], "created_at": date, "committed_date": date},
        "release": None,
        "protected": False,
        "created_at": date if release.annotated else None,
    }
