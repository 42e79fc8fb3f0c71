"""Trying again where that may help, within a bounded time (issue: what upstream released)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import UpstreamError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try, in seconds: `total` over all attempts of one question, `attempt` for one of them.

    `failures`: attempts where the host can't be reached; `refusals`: attempts where it answers, but not now.
    """

    total: float = 75.0
    attempt: float = 30.0
    failures: int = 3
    refusals: int = 5


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is and how to wait, so that tests take no time."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Again(Exception):
    """No definite answer: what it was, how long to wait (None: as the attempts tell), whether the host was reached."""

    def __init__(self, what: str, wait: float | None = None, *, reached: bool) -> None:
        super().__init__(what)
        self.what = what
        self.wait = wait
        self.reached = reached


async def persist(
    attempt: Callable[[float], Awaitable[T]], patience: Patience, clock: Clock, *, where: str, hint: str = ""
) -> T:
    """What `attempt(deadline)` returns, called again while it raises Again and there is time.

    Raises UpstreamError where patience ends; `hint` is added to the advice where a host asked to wait.
    """
    deadline = clock.now() + patience.total
    try:
        try:
            return await attempt(deadline)
        except Again as first:
            return await _insist(first, attempt, patience, clock, deadline)
    except Again as again:
        if again.wait is None:
            raise UpstreamError(again.what, where=where) from None
        todo = "run it again later" + (f"; {hint}" if hint else "")
        raise UpstreamError(
            f"{again.what}; it asks to come back in {again.wait:.0f} s", where=where, todo=todo
        ) from None


async def _insist(
    first: Again, attempt: Callable[[float], Awaitable[T]], patience: Patience, clock: Clock, deadline: float
) -> T:
    # imported here: most runs see nothing fail
    from tenacity import AsyncRetrying, retry_if_exception_type

    failures = [first]

    async def once() -> T:
        # the first attempt is over already: tenacity comes in only where something failed
        if failures:
            raise failures.pop()
        return await attempt(deadline)

    def wait(state: RetryCallState) -> float:
        again = _failure(state)
        backoff = 0.4 * 2 ** (state.attempt_number - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        return backoff if again.wait is None else again.wait + random.uniform(0.0, 0.25)  # noqa: S311

    def stop(state: RetryCallState) -> bool:
        tries = patience.refusals if _failure(state).reached else patience.failures
        return state.attempt_number >= tries or clock.now() + state.upcoming_sleep > deadline

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)

    retrying = AsyncRetrying(sleep=sleep, retry=retry_if_exception_type(Again), wait=wait, stop=stop, reraise=True)
    return await retrying(once)


def _failure(state: RetryCallState) -> Again:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, Again)  # noqa: S101 - nothing else is retried
    return error
