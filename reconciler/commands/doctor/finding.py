"""What a check says, and running many: whatever one of them meets becomes a finding, never a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reconciler.errors import ReconcileError

LIMIT = 90.0
"""Seconds that one check may take; a registry's retries are bounded by less."""


class Level(StrEnum):
    """How bad it is: `fail` keeps reconcile from doing its work, `warn` may."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what, how it is, and what to do about it."""

    level: Level
    what: str
    detail: str
    todo: str = ""


def ok(what: str, detail: str) -> Finding:
    """All is well with it."""
    return Finding(Level.OK, what, detail)


def warn(what: str, detail: str, todo: str = "") -> Finding:
    """It works, or isn't needed by everybody."""
    return Finding(Level.WARN, what, detail, todo)


def fail(what: str, detail: str, todo: str = "") -> Finding:
    """It keeps reconcile from its work."""
    return Finding(Level.FAIL, what, detail, todo)


def failed(what: str, error: ReconcileError) -> Finding:
    """What an error says."""
    return fail(what, error.reason, error.todo)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at: `what` names it where looking itself fails."""

    what: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


async def run_all(checks: Iterable[Check]) -> tuple[Finding, ...]:
    """All findings, in the order of their checks, which run at the same time."""
    found = await asyncio.gather(*(_run(check) for check in checks))
    return tuple(finding for findings in found for finding in findings)


async def _run(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(LIMIT):
            return await check.look()
    except ReconcileError as error:
        return [failed(check.what, error)]
    except TimeoutError:
        return [fail(check.what, f"no answer within {LIMIT:.0f} s", "try again, or look at the network")]
    # one check's surprise must not hide what the others found
    except Exception as error:
        return [fail(check.what, f"looking at it failed: {type(error).__name__}: {error}", "please report this")]
