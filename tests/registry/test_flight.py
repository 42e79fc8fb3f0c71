from __future__ import annotations

import asyncio

import pytest

from reconciler.registry.flight import SingleFlight


async def test_all_who_ask_meanwhile_get_one_answer() -> None:
    """Made once per key; the next one who asks later starts anew."""
    flight: SingleFlight[str, int] = SingleFlight()
    made: list[str] = []
    gate = asyncio.Event()

    async def make(key: str) -> int:
        made.append(key)
        await gate.wait()
        return len(made)

    asking = [asyncio.ensure_future(flight.do(k, lambda k=k: make(k))) for k in ("a", "a", "b", "a")]  # type: ignore[misc]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*asking)
    assert made == ["a", "b"]
    await flight.do("a", lambda: make("a"))
    assert made == ["a", "b", "a"]


async def test_an_error_reaches_everyone_and_is_not_kept() -> None:
    """Each waiter gets it; a later one may have more luck."""
    flight: SingleFlight[str, int] = SingleFlight()

    async def fail() -> int:
        raise ValueError("no")

    async def work() -> int:
        return 1

    found = await asyncio.gather(*(flight.do("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(f) for f in found] == ["no"] * 3
    assert await flight.do("a", work) == 1


async def test_a_waiter_that_is_cancelled_takes_nobody_with_it() -> None:
    """Not even the one whose asking started it."""
    flight: SingleFlight[str, int] = SingleFlight()
    gate = asyncio.Event()

    async def make() -> int:
        await gate.wait()
        return 1

    first = asyncio.ensure_future(flight.do("a", make))
    second = asyncio.ensure_future(flight.do("a", make))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_ends_what_is_under_way() -> None:
    """Nothing is left running, and nothing complains of an exception that nobody saw."""
    flight: SingleFlight[str, int] = SingleFlight()

    async def never() -> int:
        await asyncio.Event().wait()
        return 1

    waiting = asyncio.ensure_future(flight.do("a", never))
    await asyncio.sleep(0)
    await flight.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
