"""A GitHub on this machine, for `demo` and the tests: upstream's releases, and pull requests with their comments.

    with LocalGitHub(folder) as github:
        mirror = github.mirror("acme/mirror")
        pull = mirror.pull(head="mallory:new-app", sha="…")
        ... GITHUB_API_URL=github.api_url GITHUB_REPOSITORY=acme/mirror GITHUB_TOKEN=github-token ...
        mirror.comments(pull.number)

Sources: docs.github.com REST "Issue comments", "Pull requests", "Users", "Rate limits"; protocols 5.4, 5.8, 6.3, 6.4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from reconciler.local.upstream import LocalUpstream, Reply

_PATH = re.compile(r"/api/v3/(?:repos/(?P<name>[^/]+/[^/]+)|repositories/(?P<id>\d+))(?P<rest>/.*)")
_MAX_BODY = 65_536
_DOCS = "https://docs.github.com/rest"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose a token is and what it may. `installation`: an app's, like a job's GITHUB_TOKEN, which has no user."""

    login: str
    writes: bool = True
    installation: bool = False


@dataclass(slots=True)
class LocalComment:
    """A comment; `writes` counts how often it was written."""

    id: int
    login: str
    body: str
    writes: int = 1


@dataclass(slots=True)
class LocalPull:
    """A pull request: `head` is `owner:branch`, `sha` its commit, `files` what it touches."""

    number: int
    head: str
    sha: str
    base: str = "main"
    state: str = "open"
    locked: bool = False
    head_deleted: bool = False
    files: list[str] = field(default_factory=list)
    renamed_from: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class LocalMirror:
    """A repository's pull requests and their comments."""

    name: str
    id: int
    pulls: dict[int, LocalPull] = field(default_factory=dict)
    _comments: dict[int, list[LocalComment]] = field(default_factory=dict)
    _next: int = 1000

    def pull(self, head: str, sha: str, **fields: Any) -> LocalPull:
        """Opens a pull request from `owner:branch` at a commit."""
        pull = LocalPull(len(self.pulls) + 1, head, sha, **fields)
        self.pulls[pull.number] = pull
        return pull

    def comment(self, number: int, login: str, body: str) -> LocalComment:
        """Someone comments on a pull request."""
        self._next += 1
        made = LocalComment(self._next, login, body)
        self._comments.setdefault(number, []).append(made)
        return made

    def comments(self, number: int) -> list[LocalComment]:
        """All comments of a pull request, the oldest first."""
        return self._comments.get(number, [])

    def delete(self, comment_id: int) -> None:
        """Someone deletes a comment."""
        for comments in self._comments.values():
            comments[:] = [comment for comment in comments if comment.id != comment_id]

    def find(self, comment_id: int) -> LocalComment | None:
        """The comment with that id."""
        return next((c for comments in self._comments.values() for c in comments if c.id == comment_id), None)


@dataclass(slots=True)
class LocalGitHub(LocalUpstream):
    """The server; `accounts` is who a token belongs to. Upstream's repositories and releases are served beside."""

    mirrors: dict[str, LocalMirror] = field(default_factory=dict, init=False)
    accounts: dict[str, Account] = field(
        default_factory=lambda: {"github-token": Account("github-actions[bot]", installation=True)}, init=False
    )

    def __enter__(self) -> Self:
        LocalUpstream.__enter__(self)
        self.apis.tokens = frozenset({*self.apis.tokens, *self.accounts})
        self.more = self._more
        return self

    def mirror(self, name: str) -> LocalMirror:
        """The repository `owner/name` whose pull requests are served, made when first asked for."""
        return self.mirrors.setdefault(name, LocalMirror(name, 900_000 + len(self.mirrors)))

    def _more(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        account = self.accounts.get(headers.get("authorization", "").partition(" ")[2])
        if parts.path == "/api/v3/user":
            return self._limited(headers) or self._user(account)
        match = _PATH.fullmatch(parts.path)
        if match is None or not re.match(r"/(?:issues|pulls)/?", match["rest"]):
            return None
        found = [m for m in self.mirrors.values() if m.name == match["name"] or str(m.id) == match["id"]]
        reply = self._limited(headers) or _unauthorized(account, headers)
        if reply is None:
            reply = self._of(found[0], method, match["rest"], query, account, body) if found else _not_found()
        self.apis.rate.remaining -= 1
        return Reply(reply.status, reply.body, {**self.apis.rate.headers(), **reply.headers})

    def _limited(self, headers: Mapping[str, str]) -> Reply | None:
        rate = self.apis.rate
        if rate.remaining <= 0 and rate.now() < rate.reset:
            return _error(403, "API rate limit exceeded for installation.")
        return None

    def _user(self, account: Account | None) -> Reply:
        if account is None:
            return _error(401, "Requires authentication")
        if account.installation:
            return _error(403, "Resource not accessible by integration")
        return Reply.of(200, {"login": account.login, "type": "User"})

    def _of(
        self,
        mirror: LocalMirror,
        method: str,
        rest: str,
        query: Mapping[str, str],
        account: Account | None,
        body: bytes,
    ) -> Reply:
        match rest.strip("/").split("/"):
            case ["issues", "comments", number] if method == "PATCH":
                return self._edit(mirror, _number(number), account, body)
            case ["issues", number, "comments"] if _number(number) in mirror.pulls:
                pull = mirror.pulls[_number(number)]
                if method == "POST":
                    return self._add(mirror, pull, account, body)
                comments = [self._comment(mirror, comment) for comment in mirror.comments(pull.number)]
                return self._page(mirror, rest, comments, query)
            case ["pulls"] if method == "GET":
                return self._page(mirror, rest, self._pulls(mirror, query), query)
            case ["pulls", number] if _number(number) in mirror.pulls:
                return Reply.of(200, self._pull(mirror, mirror.pulls[_number(number)]))
            case ["pulls", number, "files"] if _number(number) in mirror.pulls:
                pull = mirror.pulls[_number(number)]
                files = [
                    {"filename": name, "status": "modified"}
                    | ({"previous_filename": pull.renamed_from[name]} if name in pull.renamed_from else {})
                    for name in pull.files[:3000]
                ]
                return self._page(mirror, rest, files, query)
        return _not_found()

    def _pulls(self, mirror: LocalMirror, query: Mapping[str, str]) -> list[dict[str, Any]]:
        state, head = query.get("state", "open"), query.get("head", "")
        # a head without an owner is ignored in silence, and then all of them are listed
        return [
            self._pull(mirror, pull)
            for pull in reversed(mirror.pulls.values())
            if state in ("all", pull.state) and (":" not in head or head == pull.head)
        ]

    def _pull(self, mirror: LocalMirror, pull: LocalPull) -> dict[str, Any]:
        owner, _, branch = pull.head.partition(":")
        repository = None if pull.head_deleted else {"full_name": f"{owner}/{mirror.name.partition('/')[2]}"}
        return {
            "number": pull.number,
            "state": pull.state,
            "locked": pull.locked,
            "head": {"label": pull.head, "ref": branch, "sha": pull.sha, "repo": repository, "user": {"login": owner}},
            "base": {"ref": pull.base, "repo": {"full_name": mirror.name}},
        }

    def _comment(self, mirror: LocalMirror, comment: LocalComment) -> dict[str, Any]:
        return {
            "id": comment.id,
            "body": comment.body,
            "user": {"login": comment.login, "type": "Bot" if comment.login.endswith("[bot]") else "User"},
            "html_url": f"{self.url}/{mirror.name}/pull/1#issuecomment-{comment.id}",
        }

    def _add(self, mirror: LocalMirror, pull: LocalPull, account: Account | None, body: bytes) -> Reply:
        refused = _unwritable(account, body)
        if refused is not None or account is None:
            return refused or _not_found()
        if pull.locked:
            return _error(403, "Unable to create comment because issue is locked.")
        made = mirror.comment(pull.number, account.login, json.loads(body)["body"])
        return Reply.of(201, self._comment(mirror, made))

    def _edit(self, mirror: LocalMirror, number: int, account: Account | None, body: bytes) -> Reply:
        comment = mirror.find(number)
        refused = _unwritable(account, body)
        if refused is not None or comment is None:
            return refused or _not_found()
        comment.body = json.loads(body)["body"]
        comment.writes += 1
        return Reply.of(200, self._comment(mirror, comment))

    def _page(self, mirror: LocalMirror, rest: str, items: Sequence[Any], query: Mapping[str, str]) -> Reply:
        size = min(100, max(1, _number(query.get("per_page", "")) or 30))
        page = max(1, _number(query.get("page", "")) or 1)
        pages = max(1, -(-len(items) // size))
        links = {"next": page + 1, "last": pages} if page < pages else {}
        if page > 1:
            links |= {"prev": page - 1, "first": 1}
        others = {name: value for name, value in query.items() if name not in ("page", "per_page")}
        # pages are linked by the repository's number, which stays when it is renamed
        base = f"{self.api_url}/repositories/{mirror.id}{rest}"
        told = ", ".join(
            f'<{base}?{urlencode({**others, "per_page": size, "page": number})}>; rel="{rel}"'
            for rel, number in links.items()
        )
        return Reply.of(200, items[(page - 1) * size : page * size], {"link": told} if told else {})


def _number(text: str) -> int:
    text = unquote(text)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _error(status: int, message: str, **fields: Any) -> Reply:
    return Reply.of(status, {"message": message, "documentation_url": _DOCS, "status": str(status), **fields})


def _not_found() -> Reply:
    return _error(404, "Not Found")


def _unauthorized(account: Account | None, headers: Mapping[str, str]) -> Reply | None:
    return _error(401, "Bad credentials") if account is None and "authorization" in headers else None


def _unwritable(account: Account | None, body: bytes) -> Reply | None:
    """Why nothing may be written, or not this; None where it may."""
    if account is None:
        return _error(401, "Requires authentication")
    if not account.writes:
        message = "Resource not accessible by " + ("integration" if account.installation else "personal access token")
        return _error(403, message)
    try:
        text = json.loads(body)["body"]
    except (ValueError, KeyError, TypeError):
        return _error(400, "Problems parsing JSON")
    if not isinstance(text, str) or not text.strip():
        return _invalid("Body can't be blank")
    if len(text) > _MAX_BODY:
        return _invalid(f"Body is too long (maximum is {_MAX_BODY} characters)")
    return None


def _invalid(message: str) -> Reply:
    problem = {"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}
    return _error(422, "Validation Failed", errors=[problem])
