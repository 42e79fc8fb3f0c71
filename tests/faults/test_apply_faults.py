"""Every request of an apply may fail, in every way: no tag is wrong at any moment, and the next apply converges."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.apply.results import Done, Failed, Moved, NotTried, Outcome, Unconfirmed
from reconciler.local.registry import Fault, LocalRegistry, Referrers
from reconciler.local.registry.matrix import matrix
from reconciler.model.evidence import Kind
from tests.faults.worlds import World, forget_peak, open_client, peak, registry_under_watch, sleep_by
from tests.support.images import built
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock

Say = Callable[[str, object], None]
Prepare = Callable[[World], None]
SEED = 8
FAULTS = tuple(matrix(""))
GROWTH = 256 * 1024  # KiB that come and go


def nothing(_: World) -> None:
    """An empty repository: everything is built."""


def everything(it: World) -> None:
    """A tag for each kind of change but one: to grow, to prove, to replace, to publish, and a pointer to move."""
    it.versions = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
    store, name = it.registry.store, it.repository.name
    it.put("1.0.0", AMD64)
    it.put("1.1.0", lacks=frozenset({Kind.MIRROR, Kind.SIGNATURE}))
    built(store, name, [AMD64, ARM64], text="theirs", tag="1.2.0")


class Trials:
    """One apply after another on one registry, each in a repository of its own and each with a fault."""

    def __init__(self, registry: LocalRegistry, folder: Path, clock: Clock) -> None:
        self.registry = registry
        self.folder = folder
        self.clock = clock
        self.made = 0

    @asynccontextmanager
    async def world(self, prepare: Prepare) -> AsyncIterator[World]:
        """A new one."""
        self.made += 1
        self.registry.requests.reset()
        async with open_client(self.registry) as client:
            it = World(
                self.registry,
                client,
                self.folder / str(self.made),
                clock=self.clock,
                sleep=sleep_by(self.clock),
                name=f"hello{self.made}",
            )
            prepare(it)
            yield it

    async def requests_of(self, prepare: Prepare) -> int:
        """How many requests an apply takes."""
        async with self.world(prepare) as it:
            plan = await it.plan()
            self.registry.requests.reset()
            assert (await it.apply(plan)).exit_code == 0
            return len(self.registry.requests)

    async def strike(self, prepare: Prepare, fault: str, k: int, times: int | None) -> str:
        """One apply whose k-th request meets the fault, and one without; what came of the first."""
        case = (fault, k, times)
        async with self.world(prepare) as it:
            plan = await it.plan()
            before, tasks = it.visible(), asyncio.all_tasks()
            added = it.registry.faults.add(Fault(matrix(self.registry.storage_url)[fault](), nth=k, times=times))
            async with it.hurried():
                outcome = await it.apply(plan, grace=2.0)
            it.registry.faults.clear()
            assert asyncio.all_tasks() == tasks, case
            after = it.visible()
            told(it, outcome, case)
            # what people could pull is as it was, or as it should be
            stays = {tag: at for tag, at in before.items() if after.get(tag) == at}
            assert before.keys() <= after.keys(), case
            assert not it.known.failures, case
            ready, builds = it.ready(), list(it.builds.made)
            self.clock.turn(3600)
            async with it.anew():
                again = await it.reconcile()
                assert again.exit_code == 0, (case, again)
                assert (await it.plan()).changes == (), case
                assert (await it.plan(fresh=True)).changes == (), case
            assert it.blemishes() == [], case
            done = {tag: at for tag, at in after.items() if tag not in stays and tag != "latest"}
            assert done.items() <= it.visible().items(), case
            # what was published or is signed and on record isn't built again
            assert not set(it.builds.made[len(builds) :]) & set(ready), (case, ready)
            assert not [one for one in it.builds.made[len(builds) :] if one.split()[0] in done], case
        if not added.struck:
            return "not struck"
        return "done" if outcome.exit_code == 0 else "said"


def told(it: World, outcome: Outcome, case: object) -> None:
    """What failed says why, and where; what is done is there."""
    for result in outcome.results:
        match result:
            case Failed(reason=reason):
                assert it.registry.host in reason, (case, reason)
                assert it.repository.name in reason, (case, reason)
            case Moved(reason=reason) | NotTried(reason=reason):
                assert reason, case
            case Done() | Unconfirmed():
                assert it.visible()[result.change.target.tag] == str(result.digest), case


@asynccontextmanager
async def trials(folder: Path, api: Referrers = Referrers.UNKNOWN) -> AsyncIterator[Trials]:
    """A registry under watch, whose clock is turned by whoever waits."""
    clock = Clock()
    with registry_under_watch(folder, clock, referrers=api) as (registry, court):
        yield Trials(registry, folder, clock)
        assert court.judged > 0


async def run(it: Trials, prepare: Prepare, cases: Sequence[tuple[int, str, int | None]]) -> Counter[str]:
    """Every case; memory stays bounded."""
    forget_peak()
    came = Counter([await it.strike(prepare, fault, k, times) for k, fault, times in cases])
    assert peak() < GROWTH
    return came


@pytest.mark.parametrize("prepare", [nothing, everything])
async def test_an_apply_under_one_fault(tmp_path: Path, prepare: Prepare, record_property: Say) -> None:
    """Seeded: some of the faults, at requests from the first to the last."""
    chance = random.Random(SEED)
    async with trials(tmp_path) as it:
        count = await it.requests_of(prepare)
        faults = chance.sample(FAULTS, 12 if prepare is nothing else 6)
        cases = [(n * count // len(faults), fault, chance.choice((1, 1, None))) for n, fault in enumerate(faults)]
        came = await run(it, prepare, cases)
        record_property("matrix", f"{len(cases)} applies ({prepare.__name__}, short), {count} requests: {dict(came)}")
        assert came["said"] > 1, came


@pytest.mark.long
@pytest.mark.parametrize("times", [1, None], ids=["once", "from then on"])
@pytest.mark.parametrize("api", [Referrers.UNKNOWN, Referrers.API])
async def test_every_request_of_an_apply_under_every_fault(
    tmp_path: Path, api: Referrers, times: int | None, record_property: Say
) -> None:
    """The whole matrix for a release that is published."""
    async with trials(tmp_path, api) as it:
        count = await it.requests_of(nothing)
        cases = [(k, fault, times) for k in range(count) for fault in FAULTS]
        came = await run(it, nothing, cases)
        record_property("matrix", f"{len(cases)} applies ({api} referrers, whole), {count} requests: {dict(came)}")
        assert came.total() == len(cases)
        assert came["not struck"] < len(cases) / 20


@pytest.mark.long
async def test_every_kind_of_change_under_faults(tmp_path: Path, record_property: Say) -> None:
    """Each request of an apply that does all kinds of things, with a few of the faults each."""
    chance = random.Random(SEED)
    async with trials(tmp_path) as it:
        count = await it.requests_of(everything)
        cases = [(k, fault, 1) for k in range(count) for fault in chance.sample(FAULTS, 3)]
        came = await run(it, everything, cases)
        record_property("matrix", f"{len(cases)} applies (every kind, whole), {count} requests: {dict(came)}")
