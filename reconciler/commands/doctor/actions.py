"""What GitHub Actions gives a job, and when it stops running schedules."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.commands import Settings
from reconciler.commands.doctor.finding import Check, Finding, fail, ok, warn

# GitHub disables the schedules of a public repository after 60 days without activity in it
IDLE_DAYS = 60
_WARN_AFTER = 50
_DAY = 86_400
_MAX_WORKFLOW = 1 << 20


def checks(settings: Settings) -> list[Check]:
    """About the job, where this is one; about schedules, where the repository has any."""

    async def job() -> Sequence[Finding]:
        return _job(settings.env)

    async def schedules() -> Sequence[Finding]:
        return await asyncio.to_thread(_schedules, settings.desired, time.time())

    found = [Check("schedules", schedules)]
    return [Check("job", job), *found] if settings.env.get("GITHUB_ACTIONS") == "true" else found


def _job(env: Mapping[str, str]) -> Sequence[Finding]:
    """The permissions that can be told from the environment; `packages: write` shows in whether we may push."""
    found = []
    if env.get("ACTIONS_ID_TOKEN_REQUEST_URL") and env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        found.append(ok("job", "may ask for OIDC tokens (id-token: write)"))
    else:
        todo = "add `id-token: write` to the permissions of the job that applies"
        found.append(fail("job", "it may not ask for OIDC tokens, so nothing can be signed keyless", todo))
    if not env.get("GITHUB_TOKEN"):
        todo = "pass it: `env: {GITHUB_TOKEN: ${{ github.token }}}`"
        found.append(warn("job", "GITHUB_TOKEN isn't set: GitHub's API takes 60 requests an hour, GHCR no push", todo))
    return found


def _schedules(desired: Path, now: float) -> Sequence[Finding]:
    top = _git(desired, "rev-parse", "--show-toplevel")
    if not top or not _has_schedule(Path(top)):
        return []
    last = _git(desired, "log", "-1", "--format=%ct")
    if not last.isdigit():
        return []
    days = int((now - int(last)) // _DAY)
    if days < _WARN_AFTER:
        return [ok("schedules", f"the last commit is {days} days old; GitHub stops them after {IDLE_DAYS}")]
    return [
        warn(
            "schedules",
            f"the last commit is {days} days old, and GitHub stops schedules after {IDLE_DAYS} days without activity",
            "push a commit, or enable the workflow again (gh workflow enable)",
        )
    ]


def _has_schedule(top: Path) -> bool:
    """Whether any workflow of the repository runs on a schedule."""
    for path in (*top.glob(".github/workflows/*.yml"), *top.glob(".github/workflows/*.yaml")):
        try:
            with path.open("rb") as file:
                lines = file.read(_MAX_WORKFLOW).splitlines()
        except OSError:
            continue
        if any(line.strip() == b"schedule:" for line in lines):
            return True
    return False


def _git(folder: Path, *words: str) -> str:
    """What git says; empty where it says nothing, or isn't there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
