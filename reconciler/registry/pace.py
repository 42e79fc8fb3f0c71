"""Politeness to one host: so many requests at a time, and no faster than it asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# GHCR: "retry-after: 880.092µs, allowed: 44000/minute" (protocols 2.13)
_ALLOWED = re.compile(r"allowed:?\s*(\d{1,9})\s*/\s*(second|minute|hour)\b", re.IGNORECASE)
_PERIOD = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_SLOWEST = 0.2
_CAUTIOUS = 5.0  # where the host states no rate: never guess a slower one from a few requests
_FASTEST = 1000.0


def allowed_rate(text: str) -> float | None:
    """Requests per second that an error text says are allowed, or None where it says nothing of it."""
    match = _ALLOWED.search(text)
    return None if match is None or int(match[1]) == 0 else int(match[1]) / _PERIOD[match[2].lower()]


class Pace:
    """A limit on requests in flight, and a token bucket that is open until the host first says "too many".

    Then everyone pauses for as long as it asks, and goes on at nine tenths of the rate it states, or at half of what
    was being sent; each answer without complaint makes it a little faster again.
    """

    def __init__(self, concurrency: int, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._sleep = sleep
        self._since = clock()
        self._sent = 0
        self.rate: float | None = None
        self._next = 0.0
        self.paused_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn and holds it: one request in flight. Never nested."""
        async with self._slots:
            # whoever waits keeps its slot: the ones behind it would have to wait as well
            while (wait := self._wait()) > 0:
                await self._sleep(wait)
            self._sent += 1
            yield

    def _wait(self) -> float:
        """Seconds until the next request may go, 0 where it may now (and then its place is taken)."""
        now = self._clock()
        if now < self.paused_until:
            return self.paused_until - now
        if self.rate is None:
            return 0.0
        if now < self._next:
            return self._next - now
        self._next = now + 1 / self.rate
        return 0.0

    def too_fast(self, pause: float, stated: float | None = None) -> None:
        """The host says so: everyone pauses for `pause` seconds and then goes slower."""
        now = self._clock()
        if now >= self.paused_until:
            # once per pause: the answers of all that were in flight say the same thing
            seconds = max(now - self._since, 1.0)
            seen = self.rate if self.rate is not None else self._sent / seconds
            self.rate = (
                max(_SLOWEST, min(_FASTEST, stated * 0.9)) if stated else min(_FASTEST, max(_CAUTIOUS, seen / 2))
            )
        self.paused_until = max(self.paused_until, now + pause)

    def went_well(self) -> None:
        """An answer without complaint."""
        if self.rate is not None:
            self.rate *= 1.1
            if self.rate > _FASTEST:
                self.rate = None
