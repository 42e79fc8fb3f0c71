from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registry.pace import Pace, allowed_rate
from tests.registry.support import Time


async def send(pace: Pace, time: Time, count: int) -> list[float]:
    """The moments at which so many requests go, asked for all at once."""
    moments: list[float] = []

    async def one() -> None:
        async with pace.turn():
            moments.append(time.now)

    await asyncio.gather(*(one() for _ in range(count)))
    return moments


async def test_nothing_waits_before_the_host_complains() -> None:
    """An open bucket: as fast as they come."""
    time = Time()
    assert await send(Pace(4, time, time.sleep), time, 100) == [1000.0] * 100
    assert time.slept == []


async def test_all_pause_when_the_host_says_so() -> None:
    """A 429 to one request holds back every other to that host for as long as it asks."""
    time = Time()
    pace = Pace(4, time, time.sleep)
    pace.too_fast(7.0)
    assert min(await send(pace, time, 10)) == 1007.0


async def test_afterwards_the_stated_rate_is_kept() -> None:
    """GHCR states it (protocols 2.13): no more than nine tenths of it."""
    time = Time()
    pace = Pace(4, time, time.sleep)
    pace.too_fast(1.0, stated=10.0)
    moments = await send(pace, time, 19)
    assert moments[-1] - moments[0] == pytest.approx(18 / 9, rel=0.01)


async def test_it_grows_again_with_every_answer_that_has_no_complaint() -> None:
    """Until the bucket is open once more; one complaint doesn't make a run of hours slow."""
    time = Time()
    pace = Pace(4, time, time.sleep)
    pace.too_fast(1.0)
    assert pace.rate == 5.0
    for _ in range(100):
        pace.went_well()
    assert pace.rate is None


async def test_one_moment_of_complaints_counts_once() -> None:
    """All that were in flight say the same: the rate isn't halved for each of them, the longest pause holds."""
    time = Time()
    pace = Pace(64, time, time.sleep)
    await send(pace, time, 1000)
    time.now += 10
    for pause in (1.0, 3.0, 2.0):
        pace.too_fast(pause)
    assert pace.rate == 50.0
    assert pace.paused_until == time.now + 3.0


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0.001, 10**9)), max_size=20))
def test_the_rate_stays_sane(complaints: list[tuple[float, float | None]]) -> None:
    """Whatever a host states, requests neither stop for ever nor come all at once."""
    time = Time()
    pace = Pace(4, time, time.sleep)
    for pause, stated in complaints:
        pace.too_fast(pause, stated)
        time.now += pause
        assert pace.rate is not None
        assert 0.2 <= pace.rate <= 1000


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("retry-after: 10.3ms, allowed: 2000/minute", 2000 / 60),
        ("allowed: 5/second", 5),
        ("allowed: 0/minute", None),
        ("allowed: many/minute", None),
        ("", None),
    ],
)
def test_a_stated_rate_is_read(text: str, rate: float | None) -> None:
    """From GHCR's message."""
    assert allowed_rate(text) == rate
