"""Room for builds: so many side by side, so many per run, and none once that makes no sense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reconciler.errors import ReconcileError


class NotNow(ReconcileError):
    """Something wasn't begun, and is left for the next run."""


class Slots:
    """`jobs` builds at a time, at most `limit` in this run (None: any number)."""

    def __init__(self, jobs: int, limit: int | None = None) -> None:
        self._free = asyncio.Semaphore(jobs)
        self._limit = limit
        self._begun = 0
        self._closed = ""

    @property
    def closed(self) -> str:
        """Why no new build starts; empty while they do."""
        return self._closed

    def close(self, reason: str) -> None:
        """No new build from now on; the first reason stays."""
        self._closed = self._closed or reason

    @asynccontextmanager
    async def build(self) -> AsyncIterator[None]:
        """Waits for room and builds inside; NotNow where none is begun any more."""
        async with self._free:
            self._check()
            if self._limit is not None and self._begun >= self._limit:
                raise NotNow(f"--max-builds {self._limit} is reached; the next run goes on")
            self._begun += 1
            yield

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Waits for room for something short that isn't a build but needs the builder (a smoke test)."""
        async with self._free:
            yield

    def _check(self) -> None:
        if self._closed:
            raise NotNow(self._closed)
