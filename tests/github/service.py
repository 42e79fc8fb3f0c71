"""What GitHub is to a run: the repository, its artefacts, and tokens that may what a job's permissions say.

Pulls, comments and upstream's releases are served by `reconciler.local.github`; who signs is told by an OIDC provider
that gives a job the identity of its workflow, and only where the job's permissions have `id-token: write`.
"""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import secrets
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from reconciler.local.github import Account, LocalGitHub
from reconciler.local.sigstore import GITHUB_ISSUER, LocalSigstore

NAME = "acme/mirror"
BRANCH = "main"
# a push counts only with the token of a job that may write; git leaves this variable to the hook
_HOOK = """\
#!/bin/sh
header=${GIT_CONFIG_VALUE_0#AUTHORIZATION: basic }
test -n "$header" && grep --quiet --fixed-strings --line-regexp -e "$header" "$0.tokens" && exit 0
echo "Permission to acme/mirror.git denied." >&2
exit 1
"""


def git(*words: object, cwd: Path) -> str:
    """What git says."""
    identity = ["-c", "user.name=A person", "-c", "user.email=person@example.com"]
    argv = ["git", *identity, *map(str, words)]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"git {words}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Service:
    """A context manager. `artefacts` has the folders of each run's artefacts by name; `variables` is `vars`."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    artefacts: dict[int, dict[str, Path]] = field(default_factory=dict)
    _runs: itertools.count[int] = field(default_factory=lambda: itertools.count(4711))
    _identities: dict[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.github = self._stack.enter_context(LocalGitHub(self.folder / "github"))
        self.sigstore = self._stack.enter_context(LocalSigstore(self.folder / "sigstore"))
        self.mirror = self.github.mirror(NAME)
        self.origin = self.folder / "origin.git"
        git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", self.origin, cwd=self.folder)
        self.work = self.folder / "work"
        git("clone", "--quiet", self.origin, self.work, cwd=self.folder)
        self._hook = self.origin / "hooks" / "pre-receive"
        Path(f"{self._hook}.tokens").touch()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Oidc", (_Oidc,), {"service": self}))
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._server.server_close)
        self._stack.callback(self._server.shutdown)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    # the repository, as people use it

    def push(self, files: Mapping[str, str], message: str, branch: str = BRANCH) -> str:
        """Someone writes files on a branch (None deletes) and pushes; the commit."""
        self.pull()
        if branch != BRANCH:
            git("checkout", "--quiet", "-B", branch, cwd=self.work)
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        git("add", "--all", cwd=self.work)
        git("commit", "--quiet", f"--message={message}", cwd=self.work)
        self._without_hook("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return git("rev-parse", "HEAD", cwd=self.work)

    def merged(self, number: int, branch: str) -> str:
        """The merge that GitHub makes of a pull request for its runs: `refs/pull/N/merge`."""
        self.pull()
        git("merge", "--quiet", "--no-ff", f"--message=Merge {branch}", f"origin/{branch}", cwd=self.work)
        self._without_hook("push", "--quiet", "origin", f"HEAD:refs/pull/{number}/merge")
        return git("rev-parse", "HEAD", cwd=self.work)

    def pull(self) -> None:
        """The work tree is at the branch's head again."""
        git("fetch", "--quiet", "origin", cwd=self.work)
        if self.head:
            git("checkout", "--quiet", "-B", BRANCH, f"origin/{BRANCH}", cwd=self.work)

    @property
    def head(self) -> str:
        """The branch's head; empty before the first push."""
        argv = ["git", "rev-parse", "--quiet", "--verify", f"refs/heads/{BRANCH}"]
        done = subprocess.run(argv, cwd=self.origin, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()

    def log(self) -> list[str]:
        """The subjects of the branch's commits, the newest first."""
        return git("log", "--format=%s", BRANCH, cwd=self.origin).splitlines()

    def _without_hook(self, *words: str) -> None:
        """People push with credentials of their own."""
        self._hook.unlink(missing_ok=True)
        git(*words, cwd=self.work)
        self._hook.write_text(_HOOK, encoding="utf-8")
        self._hook.chmod(0o755)

    # what a run gets

    def new_run(self) -> int:
        """A run's id."""
        number = next(self._runs)
        self.artefacts[number] = {}
        return number

    def token(self, permissions: Mapping[str, str]) -> str:
        """A job's GITHUB_TOKEN, which may what its permissions say."""
        token = f"ghs_{secrets.token_hex(18)}"
        may_comment = permissions.get("pull-requests") == "write"
        self.github.accounts[token] = Account("github-actions[bot]", writes=may_comment, installation=True)
        self.github.apis.tokens = frozenset({*self.github.apis.tokens, token})
        if permissions.get("contents") == "write":
            header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            with Path(f"{self._hook}.tokens").open("a", encoding="utf-8") as file:
                file.write(header + "\n")
        return token

    def oidc(self, permissions: Mapping[str, str], workflow: str, ref: str) -> dict[str, str]:
        """What lets a job ask for a token of its workflow's identity."""
        if permissions.get("id-token") != "write":
            return {}
        secret = secrets.token_hex(18)
        self._identities[secret] = f"https://github.com/{NAME}/{workflow}@{ref}"
        host, port = self._server.server_address[:2]
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{host!s}:{port}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret,
        }

    def signed(self, secret: str) -> str | None:
        """The OIDC token for whoever has that secret."""
        identity = self._identities.get(secret)
        return self.sigstore.core.token(identity, GITHUB_ISSUER, {}) if identity else None


class _Oidc(http.server.BaseHTTPRequestHandler):
    """GitHub's token endpoint (docs.github.com, OpenID Connect reference)."""

    service: Service

    def do_GET(self) -> None:
        """`{"value": token}` for the bearer of a job's secret, with the audience that is asked for."""
        audience = parse_qs(urlsplit(self.path).query).get("audience", [""])[-1]
        token = self.service.signed(self.headers.get("authorization", "").partition(" ")[2])
        status, answer = (200, {"value": token}) if token and audience == "sigstore" else (403, {"message": "no"})
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
        """Silent."""
