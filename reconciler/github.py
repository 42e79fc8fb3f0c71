"""GitHub's REST API, as far as a comment on a pull request needs it (protocols 5.4, 5.8, 6.3)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from reconciler.errors import GitHubError, UpstreamError, UsageError
from reconciler.net import guarded_transport, is_loopback
from reconciler.report.escape import plain
from reconciler.upstream.http import Answer, Http, authority
from reconciler.upstream.patience import Clock, Patience

T = TypeVar("T")

# who comments with a job's own GITHUB_TOKEN; GitHub doesn't tell an app's token whose it is
JOB_LOGIN = "github-actions[bot]"

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_HEADERS = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
_PAGE = 100
_MOST_PAGES = 100
# a page of a hundred comments of the greatest length, each character escaped
_CAP = 256 * 1024 * 1024
# sent once: who asks decides what to do where there is no answer
_ONCE = Patience(total=30.0, attempt=30.0, failures=1, refusals=1)


class Unsure(GitHubError):
    """Something was to be written and no definite answer came: it may have been, or not."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a pull request."""

    id: int
    author: str
    body: str
    url: str


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request and the commit at its head."""

    number: int
    head: str


@dataclass(frozen=True, slots=True)
class GitHub:
    """One repository (`owner/name`) on GitHub or a GitHub Enterprise. Make one with `connect`."""

    http: Http
    api_url: str
    repository: str

    @property
    def clock(self) -> Clock:
        """What waits between attempts."""
        return self.http.clock

    async def login(self) -> str:
        """Who the token belongs to: an app's token may not ask, and a job's is github-actions[bot]."""
        answer = await self._ask(f"{self.api_url}/user")
        if answer.status == 403:
            return JOB_LOGIN
        return self._read(answer, lambda user: _text(user["login"]))

    async def comments(self, number: int) -> AsyncIterator[Comment]:
        """Every comment of a pull request, the oldest first."""
        async for item in self._pages(f"issues/{number}/comments", {}):
            yield item_of(_comment, item, self.repository)

    async def add(self, number: int, body: str) -> None:
        """Comments on a pull request; Unsure where that can't be told."""
        await self._write("POST", f"issues/{number}/comments", body)

    async def edit(self, comment: Comment, body: str) -> None:
        """Gives a comment another text; Unsure where that can't be told."""
        await self._write("PATCH", f"issues/comments/{comment.id}", body)

    async def pull(self, number: int) -> Pull:
        """A pull request as it is now."""
        return self._read(await self._ask(self._url(f"pulls/{number}")), _pull)

    async def pulls_from(self, head: str) -> tuple[Pull, ...]:
        """The open pull requests from `owner:branch`."""
        # GitHub ignores a head that it can't read, and answers with all pull requests
        found = [
            item_of(_pull, item, self.repository)
            async for item in self._pages("pulls", {"head": head, "state": "open"})
            if item_of(lambda pull: pull["head"]["label"] == head, item, self.repository)
        ]
        return tuple(found)

    async def touches(self, number: int, folder: str) -> bool:
        """Whether a pull request changes, adds, moves or removes a file in `folder` (of the first 3,000 it changes)."""
        async for item in self._pages(f"pulls/{number}/files", {}):
            names = item_of(lambda file: (file["filename"], file.get("previous_filename", "")), item, self.repository)
            if any(str(name).startswith(f"{folder.strip('/')}/") for name in names):
                return True
        return False

    def _url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return f"{self.api_url}/repos/{self.repository}/{path}" + (f"?{urlencode(query)}" if query else "")

    async def _pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        url: str | None = self._url(path, {**query, "per_page": str(_PAGE)})
        for _ in range(_MOST_PAGES):
            if url is None:
                return
            answer = await self._ask(url)
            for item in self._read(answer, _list):
                yield item
            url = answer.next
        if url is not None:
            raise GitHubError(f"there are more than {_MOST_PAGES} pages", where=self._url(path))

    async def _ask(self, url: str) -> Answer:
        try:
            return await self.http.ask(url, headers=_HEADERS, cap=_CAP)
        except UpstreamError as error:
            raise GitHubError(error.what, where=error.where, todo=error.todo) from None

    async def _write(self, method: str, path: str, body: str) -> None:
        url = self._url(path)
        content = json.dumps({"body": body}).encode()
        headers = {**_HEADERS, "content-type": "application/json"}
        try:
            answer = await self.http.ask(url, method=method, headers=headers, content=content, patience=_ONCE)
        except UpstreamError as error:
            raise Unsure(error.what, where=error.where, todo=error.todo) from None
        self._read(answer, lambda value: value)

    def _read(self, answer: Answer, read: Callable[[Any], T]) -> T:
        """What `read` makes of an answer's JSON; GitHubError with its status where it is an error."""
        if answer.status not in (200, 201):
            raise _refusal(answer)
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise GitHubError("the answer is no JSON", where=answer.url) from None
        return item_of(read, value, answer.url)


def item_of(read: Callable[[Any], T], value: Any, where: str) -> T:
    """What `read` makes of a part of an answer; GitHubError where that isn't as documented."""
    try:
        return read(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise GitHubError("the answer makes no sense", where=where) from None


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _comment(item: Any) -> Comment:
    # a deleted account leaves its comments behind without a user, and a comment may have no text
    author = _text(item["user"]["login"]) if item.get("user") else ""
    return Comment(_whole(item["id"]), author, item.get("body") or "", _text(item.get("html_url", "")))


def _pull(item: Any) -> Pull:
    return Pull(_whole(item["number"]), _text(item["head"]["sha"]))


_TODO = {
    401: "set GITHUB_TOKEN to a token that is valid",
    403: "give the job `permissions: pull-requests: write`; on a fork's pull request it never has that",
    404: "check GITHUB_REPOSITORY and the number of the pull request, and what the token may read",
}


def _refusal(answer: Answer) -> GitHubError:
    try:
        said = json.loads(answer.body)
        parts = [said["message"], *(problem.get("message", "") for problem in said.get("errors", []))]
        message = ": ".join(plain(str(part), 300) for part in parts if part)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = "no reason given"
    return GitHubError(
        f"status {answer.status}: {message}",
        where=answer.url,
        todo=_TODO.get(answer.status, ""),
        status=answer.status,
    )


@asynccontextmanager
async def connect(
    env: Mapping[str, str],
    *,
    allow_private: bool = False,
    patience: Patience | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[GitHub]:
    """GitHub as a job's environment names it: GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN; UsageError without.

    The token goes to that API's host and nowhere else. The host is the operator's own choice, so it may be in a
    private network (a GitHub Enterprise); only on this machine may it do without TLS.
    """
    api_url = env.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
    repository, token = env.get("GITHUB_REPOSITORY", ""), env.get("GITHUB_TOKEN", "").strip()
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = "", 0
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"GITHUB_API_URL is {plain(api_url, 200)!r}, which is no URL of an API")
    if _REPOSITORY.fullmatch(repository) is None:
        raise UsageError(
            f"GITHUB_REPOSITORY is {plain(repository, 200)!r}, which is no repository",
            todo="set it to owner/name; GitHub Actions does that by itself",
        )
    if _TOKEN.fullmatch(token) is None:
        raise UsageError(
            "there is no token to comment with" if not token else "GITHUB_TOKEN holds what no token can hold",
            todo="set GITHUB_TOKEN (in a workflow: `env: {GITHUB_TOKEN: ${{ github.token }}}`)",
        )
    place = authority(api_url)
    transport = guarded_transport(
        allow_private=allow_private,
        trusted=(f"{host}:{port}",),
        plain_http=(place,) if is_loopback(host) else (),
    )
    http = Http(
        tokens={place: token},
        patience=patience or Patience(),
        clock=clock or Clock(),
        transport=transport,
    )
    async with http:
        yield GitHub(http, api_url, repository)
