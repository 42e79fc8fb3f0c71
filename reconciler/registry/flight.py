"""One answer for all who ask the same at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Callers that ask for the same key while an answer is under way wait for it; the next one starts anew.

    What the maker raises is raised to every waiter. A waiter that is cancelled doesn't end it for the others.
    """

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}

    async def do(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """What `make` returns, made once for all who ask for `key` meanwhile."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(self._run(make))
            task.add_done_callback(lambda done: self._landed(key, done))
        try:
            return await asyncio.shield(task)
        except Exception as error:
            # the same exception is raised once per waiter: without this, each would add its frames to it
            raise error.with_traceback(None) from error.__cause__

    @staticmethod
    async def _run(make: Callable[[], Awaitable[V]]) -> V:
        return await make()

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # seen: nobody may be waiting any more

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
