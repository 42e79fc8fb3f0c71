"""An upstream on loopback, and a run that asks it by a clock that takes no time."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reconciler.local.upstream import LocalUpstream
from reconciler.upstream import Clock, Upstreams

DATA = Path(__file__).parent.parent / "data"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = 1_000_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[LocalUpstream]:
    with LocalUpstream(tmp_path / "upstream") as running:
        yield running


@pytest.fixture
async def run(upstream: LocalUpstream, time: Time) -> AsyncIterator[Upstreams]:
    """A run without token and cache."""
    async with Upstreams.open(upstream.env, allow_private=True, clock=time.clock) as upstreams:
        yield upstreams
