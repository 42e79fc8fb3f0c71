"""What runs together ends together."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.together import together


async def test_results_come_in_the_order_of_the_jobs() -> None:
    """Whichever ends first."""
    first = asyncio.Event()

    async def late() -> int:
        await first.wait()
        return 1

    async def early() -> int:
        first.set()
        return 2

    assert await together([late(), early()]) == [1, 2]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_failure_ends_the_rest_before_it_is_raised(cancelled: bool) -> None:
    """Nothing goes on behind the back of whoever is told of the failure, nor of whoever gave up waiting."""
    ended: list[str] = []
    both = asyncio.Event()

    async def goes_on() -> None:
        both.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async def fails() -> None:
        await both.wait()
        if not cancelled:
            raise ValueError("x")
        await asyncio.Event().wait()

    task = asyncio.create_task(together([goes_on(), fails()]))
    if cancelled:
        await both.wait()
        task.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else ValueError):
        await task
    assert ended == ["cleaned up"]
