"""An upstream for very many apps, in a process of its own: all names are one repository, whose answers are kept.

    python -m tests.bench.upstream FOLDER APPS VERSIONS

It prints its URL once it serves, and on SIGTERM what it was asked: `{"GET …": 3, …}`. The local upstream starts git for
each answer; a thousand apps would measure that.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.local.upstream_api import RateLimit
from tests.bench.names import VERSIONS, app_name

WHOLE = "acme/whole"
_ENOUGH = 10**9
_STOP = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class KeptUpstream(LocalUpstream):
    """A local upstream whose git answers are made once for all names of a repository."""

    _kept: dict[tuple[str, bytes], Reply] = field(default_factory=dict, init=False)

    def _git(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        key = (f"{method} {target.rpartition('.git/')[2]} {headers.get('git-protocol', '')}", body)
        if key not in self._kept:
            # by its full name: a dataclass with slots is another class than the one that `super()` would mean here
            reply = LocalUpstream._git(self, method, target, headers, body)
            if reply is None:
                return None
            self._kept[key] = reply
        return self._kept[key]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where it is, and its process."""

    url: str
    process: subprocess.Popen[str]

    @property
    def env(self) -> dict[str, str]:
        """What tells `reconcile` that GitHub is here."""
        return {"GITHUB_API_URL": f"{self.url}/api/v3", "GITHUB_SERVER_URL": self.url, "GITHUB_TOKEN": "local-token"}

    def counted(self) -> int:
        """How many requests the API has counted against the rate limit before this one."""
        asked = urllib.request.Request(f"{self.url}/api/v3/repos/{WHOLE}/releases")  # noqa: S310 - our own server
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            return int(answer.headers["x-ratelimit-used"]) - 1


@contextmanager
def serving(folder: Path, apps: int, versions: int) -> Iterator[Upstream]:
    """Inside `with`, it serves `acme/<app>` for all apps."""
    command = [sys.executable, "-m", "tests.bench.upstream", str(folder), str(apps), str(versions)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Upstream(process.stdout.readline().strip(), process)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main(folder: str, apps: str, versions: str) -> int:
    """Serve until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    with KeptUpstream(Path(folder)) as upstream:
        upstream.apis.rate = RateLimit(remaining=_ENOUGH, limit=_ENOUGH)
        whole = upstream.repository(WHOLE)
        whole.files = {}
        for version in VERSIONS[: int(versions)]:
            whole.release(f"v{version}", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
        for number in range(int(apps)):
            upstream.repositories[f"acme/{app_name(number)}"] = whole
        sys.stdout.write(f"{upstream.url}\n")
        sys.stdout.flush()
        signal.sigwait(_STOP)
        seen = Counter(f"{'API' if '/api/' in asked.path else 'git'} {asked.status}" for asked in upstream.requests)
    sys.stdout.write(json.dumps(dict(seen)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
