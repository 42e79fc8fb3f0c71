"""Writing a tag: looked at just before, written once, looked at until it shows (rule 7)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from reconciler.errors import Moved, RegistryError
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.reference import TagRef
from reconciler.registry.client import Registry

# GHCR shows a tag write after seconds (protocols 2.12)
PATIENCE = 20.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Tagger:
    """Writes tags. `patience` is how long, in seconds, one may take to show; `clock` and `sleep` are the loop's."""

    def __init__(
        self,
        registry: Registry,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._patience = patience
        self._clock = clock
        self._sleep = sleep

    async def names(self, target: TagRef) -> Digest | None:
        """The digest that the tag names now, None where there is none; RegistryError without a definite answer."""
        head = await self._registry.head(target.repository, target.tag)
        return None if isinstance(head, Absent) else head.digest

    async def check(self, target: TagRef, expected: Digest | None, ours: Digest | None = None) -> bool:
        """Whether the tag names `ours` already; raises Moved where it names neither that nor what the plan saw."""
        now = await self.names(target)
        if now is not None and now == ours:
            return True
        if now != expected:
            raise Moved(
                f"it was {_text(expected)} when the plan was made, and is {_text(now)} now",
                where=str(target),
                todo="nothing was written; make a new plan",
            )
        return False

    async def write(self, target: TagRef, expected: Digest | None, data: bytes, media_type: str) -> bool:
        """Puts the tag on `data`, which the registry has already; False where it doesn't show in time.

        Raises Moved where the tag is no longer what the plan saw.
        """
        digest = Digest.of(data)
        if await self.check(target, expected, digest):
            return True

        attempts = 0

        async def look_again() -> None:
            # the first attempt follows the look above; before another, someone else may have written
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                await self.check(target, expected, digest)

        await self._registry.put_manifest(target.repository, target.tag, data, media_type, before=look_again)
        return await self._shows(target, digest)

    async def _shows(self, target: TagRef, digest: Digest) -> bool:
        deadline = self._clock() + self._patience
        pause = _FIRST_PAUSE
        while True:
            # the registry took it: an answer that doesn't come now makes it unconfirmed, not failed
            with contextlib.suppress(RegistryError):
                if await self.names(target) == digest:
                    return True
            if self._clock() >= deadline:
                return False
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _text(digest: Digest | None) -> str:
    return digest.short if digest else "not there"
