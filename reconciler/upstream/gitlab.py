"""The tags of a project on any GitLab, through its API (protocols 6.6 and 6.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from reconciler.errors import UpstreamError
from reconciler.model.upstream import GitLabTags
from reconciler.net import is_loopback
from reconciler.upstream.http import Http, authority
from reconciler.upstream.interface import Survey, utc
from reconciler.upstream.sieve import Sieve

_PAGES = 300  # 30,000 tags: more is a loop or an attack


Tags = Mapping[str, tuple[str, str]]
"""A tag's commit and that commit's date."""


def survey(tags: Tags, sieve: Sieve) -> Survey:
    """Tags that pass the sieve, highest first."""
    found = sieve.candidates({tag: commit for tag, (commit, _) in tags.items()})
    return sieve.survey(tags, (replace(one, date=tags[one.tag][1]) for one in found))


async def tags(source: GitLabTags, http: Http) -> Tags:
    """Every tag of a project, over all pages; UpstreamError."""
    url: str | None = (
        f"{_base(source, http)}/api/v4/projects/{quote(source.project, safe='')}/repository/tags?per_page=100"
    )
    found: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    while url is not None:
        if url in seen or len(seen) >= _PAGES:
            raise UpstreamError("the pages of tags don't end", where=str(source))
        seen.add(url)
        answer, page = await http.json(url, reduce=_reduce, fits=_fits)
        if answer.status != 200:
            raise _refused(answer.status, source)
        for tag, commit, date in page:
            # a tag made while paging moves the others on: the same one may come twice
            found.setdefault(tag, (commit, date))
        # the page after the last one may be named by a link although it is empty
        url = answer.next if page else None
        if url is not None and authority(url) != authority(answer.url):
            raise UpstreamError(f"the next page is on another host, {authority(url)[:100]}", where=str(source))
    return found


def git_url(source: GitLabTags, http: Http) -> str:
    """Where the project is cloned from."""
    return f"{_base(source, http)}/{source.project}.git"


def _base(source: GitLabTags, http: Http) -> str:
    host = source.host if source.host.endswith("]") else source.host.partition(":")[0]
    return f"{'http' if http.allow_private and is_loopback(host) else 'https'}://{source.host}"


def _reduce(tags: Any) -> list[list[str]]:
    """Name, commit and date of each tag; ValueError where the answer isn't a list of tags."""
    if not isinstance(tags, list) or len(tags) > 1000:
        raise ValueError("it isn't a list of tags")
    found = []
    for tag in tags:
        name, commit = tag["name"], tag["commit"]["id"]
        if not isinstance(name, str) or not isinstance(commit, str) or not _is_commit(commit):
            raise ValueError("a tag has no name or commit.id")
        if len(name) <= 400:
            found.append([name, commit, utc(tag["commit"].get("committed_date") or tag["commit"].get("created_at"))])
    return found


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set("0123456789abcdef")


def _fits(page: Any) -> bool:
    return isinstance(page, list) and all(
        isinstance(row, list) and len(row) == 3 and all(isinstance(text, str) for text in row) and _is_commit(row[1])
        for row in page
    )


def _refused(status: int, source: GitLabTags) -> UpstreamError:
    what = {404: "there is no such project, or it isn't public"}.get(status, f"status {status}")
    return UpstreamError(what, where=str(source), todo="check the host and the project in the desired file")
