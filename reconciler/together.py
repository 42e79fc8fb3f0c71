"""Several things at once, of which the first failure ends the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all jobs in their order; raises what the first that fails raises, once the others have ended."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # gather leaves the others running; nothing here may outlive its change
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
