"""An upstream on this machine, for `demo` and the tests: git over http, release APIs, and files, on loopback.

    with LocalUpstream(folder) as upstream:
        hello = upstream.repository("acme/hello")
        hello.release("v1.2.0", {"Dockerfile": "FROM scratch\n"}, annotated=True)
        upstream.file("hello-1.2.0-linux-amd64.tar.gz", data)

Releases can be added, moved and withdrawn while it runs; every request is logged; any answer can be made to fail.
"""

from __future__ import annotations

import gzip
import http.server
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from reconciler.errors import ReconcileError
from reconciler.local.upstream_api import ApiRelease, Apis, RateLimit, Reply
from reconciler.local.upstream_git import BareRepository, Entry, Tagged, program, submodule, symlink

__all__ = [
    "Asked",
    "Entry",
    "LocalRepository",
    "LocalUpstream",
    "RateLimit",
    "Reply",
    "program",
    "submodule",
    "symlink",
]

More = Callable[[str, str, Mapping[str, str], bytes], Reply | None]

_GIT = re.compile(r"/(.+?)(?:\.git)?/(info/refs|git-upload-pack)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came, and the status of its answer; `path` with its query, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@dataclass(slots=True)
class _Fault:
    pattern: re.Pattern[str]
    reply: Reply
    times: int


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    head: int


@dataclass(slots=True)
class LocalRepository:
    """One repository: its git history, and what the APIs tell of it."""

    name: str
    bare: BareRepository
    releases: dict[str, ApiRelease] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)

    def release(
        self,
        tag: str,
        files: Mapping[str, Entry | str | bytes] | None = None,
        *,
        annotated: bool = False,
        prerelease: bool = False,
        draft: bool = False,
        published: bool = True,
        date: str = "2024-01-01T00:00:00Z",
    ) -> str:
        """Makes a commit with exactly `files` (None: those of the release before), tags it, and returns the commit.

        `published=False` makes a tag without a GitHub release. A tag that is there moves to the new commit.
        """
        if files is not None:
            self.files = {path: Entry.of(value) for path, value in files.items()}
        commit = self.bare.add([Tagged(tag, dict(self.files), annotated, date)])[0]
        self.releases.pop(tag, None)
        self.releases[tag] = ApiRelease(tag, commit, date, annotated, prerelease, draft, published)
        return commit

    def tags(self, tags: Iterable[str | tuple[str, str]], *, published: bool = True) -> None:
        """Makes many tags in one go: names, or names with dates; each on an (almost) empty commit."""
        many = [
            Tagged(tag, dict(self.files), date=date)
            for tag, date in ((t, "2024-01-01T00:00:00Z") if isinstance(t, str) else t for t in tags)
        ]
        for tagged, commit in zip(many, self.bare.add(many), strict=True):
            self.releases[tagged.tag] = ApiRelease(tagged.tag, commit, tagged.date, published=published)

    def withdraw(self, tag: str) -> None:
        """Takes a release and its tag away."""
        self.bare.delete_tag(tag)
        del self.releases[tag]

    def commit(self, tag: str) -> str:
        """The commit that a tag names."""
        return self.releases[tag].commit


@dataclass(slots=True)
class LocalUpstream:
    """The server; its repositories are kept in `root`. Use it as a context manager.

    `strict_git`: the server speaks git's protocol version 0, as old hosts do. `tls`: it is served over https.
    """

    root: Path
    strict_git: bool = False
    tls: ssl.SSLContext | None = None
    requests: list[Asked] = field(default_factory=list, init=False)
    repositories: dict[str, LocalRepository] = field(default_factory=dict, init=False)
    renamed: dict[str, str] = field(default_factory=dict, init=False)
    apis: Apis = field(init=False)
    # answers for further paths of the API, before those for releases
    more: More | None = field(default=None, init=False)
    _files: dict[str, _File] = field(default_factory=dict, init=False)
    _redirects: dict[str, str] = field(default_factory=dict, init=False)
    _faults: list[_Fault] = field(default_factory=list, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _server: http.server.ThreadingHTTPServer | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": self}))
        if self.tls is not None:
            # the handshake is left to each connection's own thread
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.apis = Apis(self.url, self._find)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    @property
    def host(self) -> str:
        """`127.0.0.1:port`, as a GitLab source names it."""
        if self._server is None:
            raise ReconcileError("the local upstream isn't running", todo="use it in a with block")
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Where it is; also GITHUB_SERVER_URL."""
        return f"{'http' if self.tls is None else 'https'}://{self.host}"

    @property
    def api_url(self) -> str:
        """GITHUB_API_URL."""
        return f"{self.url}/api/v3"

    @property
    def env(self) -> dict[str, str]:
        """What tells `reconcile` that GitHub is here."""
        return {"GITHUB_API_URL": self.api_url, "GITHUB_SERVER_URL": self.url}

    def git_url(self, name: str) -> str:
        """Where a repository is cloned from."""
        return f"{self.url}/{name}.git"

    def repository(self, name: str) -> LocalRepository:
        """The repository `owner/name` (or `group/sub/name`), made when first asked for."""
        with self._lock:
            if name not in self.repositories:
                if _NAME.fullmatch(name) is None:
                    raise ReconcileError(f"{name!r} is no repository: write owner/name")
                self.repositories[name] = LocalRepository(name, BareRepository.create(self.root / f"{name}.git"))
            return self.repositories[name]

    def rename(self, old: str, new: str) -> LocalRepository:
        """Gives a repository another name; the old one redirects, as GitHub does it."""
        with self._lock:
            self.repositories[new] = self.repositories.pop(old)
            self.renamed[old] = new
            return self.repositories[new]

    def file(self, path: str, data: bytes | str, *, head: int = 200) -> str:
        """Serves a file at `/files/<path>` and returns its URL; `head` is the status of a HEAD (405, 403, 404, …)."""
        with self._lock:
            self._files[path] = _File(data.encode() if isinstance(data, str) else data, head)
        return f"{self.url}/files/{path}"

    def remove(self, path: str) -> None:
        """Serves a file no longer."""
        with self._lock:
            del self._files[path]

    def redirect(self, path: str, target: str) -> str:
        """Answers `/files/<path>` with a redirect to `target`, and returns its URL."""
        with self._lock:
            self._redirects[path] = target
        return f"{self.url}/files/{path}"

    def fail(self, pattern: str, reply: Reply, *, times: int = 1) -> None:
        """Answers the next `times` requests whose `METHOD path` matches with `reply` instead."""
        with self._lock:
            self._faults.append(_Fault(re.compile(pattern), reply, times))

    def asked(self, pattern: str = "") -> list[Asked]:
        """The requests so far whose `METHOD path status` matches."""
        with self._lock:
            return [asked for asked in self.requests if re.search(pattern, str(asked))]

    def _find(self, name: str) -> list[ApiRelease] | None:
        found = self.repositories.get(name)
        return None if found is None else list(found.releases.values())

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The answer to a request; logged."""
        with self._lock:
            reply = self._fault(method, target) or self._renamed(target) or self._api(method, target, headers, body)
        # outside of the lock: git may take its time, and a clone must not stop the others
        reply = reply or self._git(method, target, headers, body) or Reply(404, b"nothing is here\n")
        with self._lock:
            self.requests.append(Asked(method, target, headers, reply.status))
        return reply

    def _fault(self, method: str, target: str) -> Reply | None:
        for fault in self._faults:
            if fault.times > 0 and fault.pattern.search(f"{method} {target}"):
                fault.times -= 1
                return fault.reply
        return None

    def _renamed(self, target: str) -> Reply | None:
        for old, new in self.renamed.items():
            for before in (f"/{old}.git/", f"/{old}/", f"/api/v3/repos/{old}/"):
                if target.startswith(before):
                    there = self.url + before.replace(old, new) + target.removeprefix(before)
                    return Reply(301, b"", {"location": there})
        return None

    def _api(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        if self.more is not None and (reply := self.more(method, target, headers, body)) is not None:
            return reply
        path = urlsplit(target).path
        if path.startswith("/files/"):
            return self._file(method, unquote(path.removeprefix("/files/")))
        return self.apis.answer(target, headers) if method == "GET" else None

    def _file(self, method: str, path: str) -> Reply:
        if path in self._redirects:
            return Reply(302, b"", {"location": self._redirects[path]})
        file = self._files.get(path)
        if file is None:
            return Reply(404, b"no such file\n")
        if method == "HEAD" and file.head != 200:
            return Reply(file.head)
        return Reply(200, file.data, {"content-type": "application/octet-stream"})

    def _git(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        parts = urlsplit(target)
        match = _GIT.fullmatch(parts.path)
        repository = self.repositories.get(match[1]) if match is not None else None
        if match is None or repository is None:
            # a host doesn't tell a repository that isn't there from one that isn't public
            return None if match is None else Reply(401, b"", {"www-authenticate": 'Basic realm="local"'})
        protocol = "" if self.strict_git else headers.get("git-protocol", "")
        if method == "GET" and match[2] == "info/refs" and parts.query == "service=git-upload-pack":
            kind = {"content-type": "application/x-git-upload-pack-advertisement", "cache-control": "no-cache"}
            return Reply(200, repository.bare.advertise(protocol), kind)
        if method == "POST" and match[2] == "git-upload-pack":
            data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            kind = {"content-type": "application/x-git-upload-pack-result", "cache-control": "no-cache"}
            return Reply(200, repository.bare.upload_pack(data, protocol), kind)
        return Reply(403, b"only smart fetches are served\n")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # a burst over the default of 5 waits a second for its SYN to be sent again
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nobody's mistake."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 for the upstream."""

    served: LocalUpstream
    protocol_version = "HTTP/1.1"
    # without it every small answer waits for the client's delayed ACK
    disable_nagle_algorithm = True

    def _do(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        try:
            reply = self.served.answer(self.command, self.path, headers, body)
        except ReconcileError as error:
            reply = Reply(500, f"{error}\n".encode())
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304:
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD" and reply.status != 304:
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
        if reply.cut:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PATCH = _do  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is written: requests are in the upstream's own log."""
