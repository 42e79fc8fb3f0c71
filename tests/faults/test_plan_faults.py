"""Every request of a plan may fail, in every way: nothing wrong is planned, what is unknown is never absent."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.apply.remember import remember
from reconciler.evidence.judge import Judge
from reconciler.local.registry import Fault, Referrers
from reconciler.local.registry.actions import Stale
from reconciler.local.registry.matrix import matrix
from reconciler.model.evidence import Kind
from reconciler.observe import Observer, Trust
from reconciler.plan.changes import Publish
from reconciler.plan.plan import Plan
from tests.faults.verdicts import unclear, wrongs
from tests.faults.worlds import World, forget_peak, open_client, peak, registry_under_watch
from tests.support.images import built
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock

SEED = 8
# a registry that shows a tag as it was is wrong, but definite: see the last test
FAULTS = tuple(name for name in matrix("") if name != "stale read")
Say = Callable[[str, object], None]
ONCE, ALWAYS = 1, None
GROWTH = 256 * 1024  # KiB; a body of 1 GiB must not get in


@asynccontextmanager
async def world(
    folder: Path, api: Referrers, warm: bool, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[World, Plan]]:
    """Tags in every state, and the plan for them; `warm`: three that are whole, and a record that knows them."""
    with registry_under_watch(folder, clock, referrers=api, redirects=True) as (registry, _):
        async with open_client(registry) as client:
            it = World(registry, client, folder, versions=tuple(f"1.{n}.0" for n in range(5)))
            whole = it.put("1.0.0")
            it.put("1.1.0", AMD64)
            it.put("1.2.0", lacks=frozenset({Kind.SBOM}))
            built(registry.store, it.repository.name, [AMD64, ARM64], text="theirs", tag="1.3.0")
            registry.store.tag(it.repository.name, "latest", whole.digest)
            if warm:
                it.versions = ("1.0.0", "2.0.0", "2.1.0")
                last = [it.put(version) for version in ("2.0.0", "2.1.0")][-1]
                registry.store.tag(it.repository.name, "latest", last.digest)
                judge = Judge(it.signing.policy)
                view = await Observer(client, judge, Trust()).view(it.app, it.records.load("hello"))
                remember([view], it.records, it.signing.policy.hash, it.now)
            yield it, await it.plan()


async def strike(it: World, truth: Plan, fault: str, k: int, times: int | None) -> str:
    """One plan whose k-th request meets the fault (`times` None: and all after it). What came of it."""
    added = it.registry.faults.add(Fault(matrix(it.registry.storage_url)[fault](), nth=k, times=times))
    async with it.hurried():
        plan = await it.plan()
    struck = added.struck
    it.registry.faults.clear()
    if any(isinstance(change, Publish) and change.presumed_new for change in plan.changes):
        # denied from first to last, and no record that knows better: apply asks with the right to push, and sees
        await harmless(it, plan)
        return "presumed new"
    name = {"latest": "2.1.0" if it.versions[-1] == "2.1.0" else "1.0.0"}
    assert list(wrongs(plan, truth, name)) == [], (fault, k, times)
    assert list(unclear(plan, it.registry.host, it.repository.name)) == [], (fault, k, times)
    if not struck:
        return "not struck"
    return "as without it" if plan.complete else "unknown"


async def harmless(it: World, plan: Plan) -> None:
    """Applied, the plan changes no tag that is there, and builds only for those that aren't; then all is as before."""
    records = it.records.path("hello")
    recorded = records.read_bytes() if records.exists() else b""
    store, name = it.registry.store, it.repository.name
    before = store.tags(name)
    outcome = await it.apply(plan)
    now = store.tags(name)
    assert {tag for tag in before if now[tag] != before[tag]} == set(), outcome
    assert {made.split()[0] for made in it.builds.made} <= {tag for tag in it.versions if tag not in before}, outcome
    for tag in now.keys() - before.keys():
        store.untag(name, tag)
    it.builds.made.clear()
    records.unlink(missing_ok=True)
    if recorded:
        records.write_bytes(recorded)


async def requests_of(it: World) -> int:
    """How many requests a plan takes."""
    it.registry.requests.reset()
    async with it.hurried():
        await it.plan()
    return len(it.registry.requests)


async def run(it: World, truth: Plan, cases: Sequence[tuple[int, str, int | None]]) -> Counter[str]:
    """Every case; memory stays bounded."""
    forget_peak()
    came = Counter([await strike(it, truth, fault, k, times) for k, fault, times in cases])
    assert peak() < GROWTH
    again = await it.plan()
    assert (again.hash, again.complete) == (truth.hash, truth.complete)
    return came


def size_of(form: str, cases: Sequence[object], count: int, it: World, came: Counter[str]) -> str:
    """The size of a matrix, and what came of it, in a line."""
    how = f"{it.registry.manners.referrers} referrers, {'warm' if len(it.versions) == 3 else 'cold'}, {form}"
    return f"{len(cases)} plans ({how}): {count} requests, {len(FAULTS)} faults: {dict(came)}"


def short(count: int) -> list[tuple[int, str, int | None]]:
    """A part of the matrix that has every fault in it, at requests from first to last; another for each seed."""
    chance = random.Random(SEED)
    order = list(FAULTS)
    chance.shuffle(order)
    return [(k * count // len(order), fault, chance.choice((ONCE, ONCE, ALWAYS))) for k, fault in enumerate(order)]


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("api", [Referrers.UNKNOWN, Referrers.API])
async def test_a_plan_under_one_fault(tmp_path: Path, api: Referrers, warm: bool, record_property: Say) -> None:
    """Seeded: every fault once, at requests from the first to the last."""
    async with world(tmp_path, api, warm) as (it, truth):
        assert len(truth.changes) == (0 if warm else 5), truth
        count = await requests_of(it)
        cases = short(count)
        came = await run(it, truth, cases)
        record_property("matrix", size_of("short", cases, count, it, came))
        assert came["unknown"] > len(FAULTS) / 3, came


@pytest.mark.long
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("api", list(Referrers))
async def test_every_request_of_a_plan_under_every_fault(
    tmp_path: Path, api: Referrers, warm: bool, record_property: Say
) -> None:
    """The whole matrix, for one request and for all from it on."""
    async with world(tmp_path, api, warm) as (it, truth):
        count = await requests_of(it)
        cases = [(k, fault, times) for times in (ONCE, ALWAYS) for k in range(count) for fault in FAULTS]
        came = await run(it, truth, cases)
        record_property("matrix", size_of("whole", cases, count, it, came))
        assert came.total() == len(cases)
        assert came["not struck"] < len(cases) / 20


@pytest.mark.parametrize("recorded", [False, True], ids=["without a record", "with a record"])
async def test_a_plan_on_a_stale_read_does_no_harm(tmp_path: Path, recorded: bool) -> None:
    """Whatever a plan took for gone that wasn't, its apply sees what is there: nothing is built, no tag written."""
    clock = Clock()
    async with world(tmp_path, Referrers.UNKNOWN, warm=True, clock=clock) as (it, truth):
        if not recorded:
            (it.records.path("hello")).unlink()
        planned = k = 0
        while True:
            # only what is read by its tag can be stale
            added = it.registry.faults.add(Fault(Stale(seconds=3600), lambda call: not call.route.by_digest, nth=k))
            plan = await it.plan()
            it.registry.faults.clear()
            if not added.struck:
                break
            k += 1
            planned += bool(plan.changes)
            clock.turn(3600)
            await harmless(it, plan)
            assert (await it.plan()).hash == truth.hash
        assert planned > 3, k
