"""Weeks of schedules in fast motion: releases arrive, requests fail, and nothing grows that shouldn't."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.local.registry import Fault, LocalRegistry
from reconciler.local.registry.matrix import matrix
from reconciler.model.digest import Digest
from tests.faults.test_apply_faults import FAULTS
from tests.faults.worlds import World, open_client, registry_under_watch, sleep_by
from tests.support.registries import Clock

SEED = 8


def resident() -> int:
    """This process's memory, in KiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def state() -> tuple[int, int]:
    """Open files and threads."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208


def explained(it: World) -> set[Digest]:
    """Every manifest that something that is tagged, recorded or refers to one of those accounts for."""
    store, name = it.registry.store, it.repository.name
    known = it.known
    roots = [*store.tags(name).values(), *(d for one in known.pending.values() for d in one.values())]
    roots += [old.digest for tag in known.tags.values() for old in tag.replaced]
    found: set[Digest] = set()
    while roots:
        digest = roots.pop()
        manifest = store.manifest(name, digest)
        if digest in found or manifest is None:
            continue
        found.add(digest)
        roots += [Digest.parse(entry["digest"]) for entry in manifest.json().get("manifests", [])]
        roots += [Digest.parse(entry["digest"]) for entry in store.referrers(name, digest)]
        roots += [Digest.parse(entry["digest"]) for entry in store.fallback(name, digest)]
    return found


async def soak(folder: Path, apps: int, releases: int) -> str:
    """`releases` arrive over `apps`, a schedule after each few; every other one meets a fault. Says what came of it."""
    chance, clock = random.Random(SEED), Clock()
    with registry_under_watch(folder, clock) as (registry, court):
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_client(registry))
            waits = {"clock": clock, "sleep": sleep_by(clock)}
            worlds = [
                World(registry, client, folder / str(number), versions=("0.1.0",), name=f"app{number}", **waits)  # type: ignore[arg-type]
                for number in range(apps)
            ]
            before, memory, struck = (0, 0), 0, 0
            for number in range(releases):
                world = chance.choice(worlds)
                world.versions = (*world.versions, f"1.{number}.0")[-4:]
                struck += await schedule(registry, [world, chance.choice(worlds)], chance, clock)
                if number == releases // 5:
                    before, memory = state(), resident()
            now = state()
            assert now[0] <= before[0] + 8, (before, now)
            assert now[1] <= before[1] + 2, (before, now)
            grown = resident() - memory
            # what the store itself remembers of each release is some 100 KiB
            assert grown < 64 * 1024 + 200 * releases, grown
            for world in worlds:
                async with world.anew():
                    assert (await world.reconcile()).exit_code == 0
                    assert (await world.plan(fresh=True)).changes == ()
                assert world.blemishes() == []
                strange = set(registry.store.manifests(world.repository.name)) - explained(world)
                # what was pushed by digest and never got its tag, because the answer was lost: a few, never a flood
                assert len(strange) <= 6 * len(world.known.tags), strange
    return f"{releases} releases of {apps} apps, {struck} faults, {court.judged} tags put, {grown} KiB grown"


async def schedule(registry: LocalRegistry, worlds: list[World], chance: random.Random, clock: Clock) -> int:
    """Six hours later: one run over some apps, in a process of its own, maybe under a fault."""
    clock.turn(6 * 3600)
    struck = 0
    for world in dict.fromkeys(map(id, worlds)):
        it = next(one for one in worlds if id(one) == world)
        it.now += timedelta(hours=6)
        added = None
        if chance.random() < 0.5:
            action = matrix(registry.storage_url)[chance.choice(FAULTS)]()
            added = registry.faults.add(Fault(action, nth=chance.randrange(120), times=chance.choice((1, 3))))
        async with it.hurried():
            await it.reconcile(grace=1.0)
        registry.faults.clear()
        struck += added.struck if added else 0
    return struck


async def test_a_few_days(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Short: a dozen releases of three apps."""
    tasks = asyncio.all_tasks()
    record_property("matrix", await soak(tmp_path, 3, 12))
    assert asyncio.all_tasks() == tasks


@pytest.mark.long
async def test_many_weeks(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A hundred releases of twenty apps."""
    tasks = asyncio.all_tasks()
    record_property("matrix", await soak(tmp_path, 20, 100))
    assert asyncio.all_tasks() == tasks
