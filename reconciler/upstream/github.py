"""Releases on GitHub: every tag by one `git ls-remote`, which costs no rate limit; the API only confirms candidates.

The API lists by date while old lines get patches, so the highest versions can stand on any of its pages; but most
stand on the first. What isn't there is asked for by tag, until that has cost as much as reading the remaining pages
would; then those are read. So it never costs more than twice the cheapest way, whatever a project's habits are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from reconciler.errors import UpstreamError
from reconciler.model.release import Release
from reconciler.model.upstream import GitHubReleases
from reconciler.together import together
from reconciler.upstream.git import Git
from reconciler.upstream.http import Answer, Http
from reconciler.upstream.interface import Enough, PassedOver, Survey, utc
from reconciler.upstream.sieve import Sieve

_ACCEPT = "application/vnd.github+json"
_PAGE = 100
_LAST_PAGE = 100  # only the first 10,000 results are served (protocols 6.1)
_PAGE_NUMBER = re.compile(r"[?&]page=(\d{1,6})(?:&|$)")


@dataclass(slots=True)
class _Known:
    """What this run has learnt of a repository's releases: tag to the date of a published, stable one, or None."""

    tags: dict[str, str | None] = field(default_factory=dict)
    pages: int = 0  # how many there are; 0 before the first was read
    asked: int = 0  # questions for single tags so far
    complete: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class GitHub:
    """GitHub, or a GitHub Enterprise: `api_url` and `server_url` as Actions has them in the environment."""

    http: Http
    git: Git
    api_url: str = "https://api.github.com"
    server_url: str = "https://github.com"
    _known: dict[str, _Known] = field(default_factory=dict, init=False, repr=False)

    def git_url(self, source: GitHubReleases) -> str:
        """Where the repository is cloned from."""
        return f"{self.server_url.rstrip('/')}/{source.repository}.git"

    async def survey(self, source: GitHubReleases, sieve: Sieve, enough: Enough) -> Survey:
        """Published releases that pass the sieve, highest first, until there are enough; UpstreamError."""
        tags = await self.git.tags(self.git_url(source))
        candidates = sieve.candidates(tags)
        known = self._known.setdefault(source.repository, _Known())
        confirmed: list[Release] = []
        passed_over: list[PassedOver] = []
        async with known.lock:
            for candidate in candidates:
                if enough(tuple(confirmed)):
                    break
                date = await self._date(source, known, candidate.tag)
                if date is not None:
                    confirmed.append(replace(candidate, date=date))
                else:
                    reason = "GitHub has no published release for this tag, or calls it a pre-release"
                    passed_over.append(PassedOver(candidate.version, candidate.tag, reason))
        return sieve.survey(tags, confirmed, passed_over)

    async def _date(self, source: GitHubReleases, known: _Known, tag: str) -> str | None:
        """When `tag` was released; None where it is a draft, a pre-release or only a tag."""
        if not known.pages:
            await self._first(source, known)
        if tag not in known.tags and not known.complete and known.asked >= known.pages - 1:
            await self._rest(source, known)
        if tag not in known.tags and not known.complete:
            known.asked += 1
            url = f"{self._repository(source)}/releases/tags/{quote(tag, safe='')}"
            answer, found = await self.http.json(url, accept=_ACCEPT, reduce=lambda one: _reduce([one]), fits=_fits)
            if answer.status not in (200, 404):
                raise _refused(answer, source)
            _merge(known, {tag: None} if found is None else found)
        return known.tags.get(tag)

    async def _first(self, source: GitHubReleases, known: _Known) -> None:
        answer, found = await self._page(source, 1)
        last = _PAGE_NUMBER.search(answer.last or "")
        more = answer.next is not None
        _merge(known, found)
        known.pages = min(int(last[1]), _LAST_PAGE) if last and more else (_LAST_PAGE if more else 1)
        known.complete = not more

    async def _rest(self, source: GitHubReleases, known: _Known) -> None:
        told = known.pages
        numbers = range(2, told + 1)
        for _, found in await together(self._page(source, number) for number in numbers):
            _merge(known, found)
        known.complete = told < _LAST_PAGE
        # past the served results only questions by tag are left
        known.asked = -(10**9)

    async def _page(self, source: GitHubReleases, number: int) -> tuple[Answer, Mapping[str, str | None]]:
        url = f"{self._repository(source)}/releases?per_page={_PAGE}" + (f"&page={number}" if number > 1 else "")
        answer, found = await self.http.json(url, accept=_ACCEPT, reduce=_reduce, fits=_fits)
        if answer.status != 200:
            raise _refused(answer, source)
        return answer, found

    def _repository(self, source: GitHubReleases) -> str:
        return f"{self.api_url.rstrip('/')}/repos/{source.repository}"


def _reduce(releases: Any) -> dict[str, str | None]:
    """Tag to date, or None where the release doesn't count; ValueError where the answer isn't a list of releases."""
    if not isinstance(releases, list) or len(releases) > 1000:
        raise ValueError("it isn't a list of releases")
    found: dict[str, str | None] = {}
    for release in releases:
        tag, draft, early = release["tag_name"], release["draft"], release["prerelease"]
        if not isinstance(tag, str) or not isinstance(draft, bool) or not isinstance(early, bool):
            raise ValueError("a release has no tag_name, draft or prerelease")
        if len(tag) > 400:
            continue
        if draft or early:
            found.setdefault(tag, None)
        else:
            found[tag] = utc(release.get("published_at"))
    return found


def _merge(known: _Known, found: Mapping[str, str | None]) -> None:
    # a tag may have a draft in one place and the published release in another
    known.tags.update({tag: date for tag, date in found.items() if date is not None or tag not in known.tags})


def _fits(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(date, str | None) for date in found.values())


def _refused(answer: Answer, source: GitHubReleases) -> UpstreamError:
    what = {
        401: "GitHub refuses the token",
        403: "GitHub forbids it",
        404: "there is no such repository, or it isn't public",
    }.get(answer.status, f"status {answer.status}")
    todo = {401: "renew GITHUB_TOKEN, or unset it"}.get(answer.status, "check the name in the desired file")
    return UpstreamError(what, where=str(source), todo=todo)
