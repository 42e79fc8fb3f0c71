"""Very many apps, warm: time and memory over their number, and what their records and plans take to load and render."""

from __future__ import annotations

import asyncio
import itertools
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reconciler.cli import collect_rarely
from reconciler.commands.plan import render
from reconciler.commands.session import session
from reconciler.plan import saved
from reconciler.plan.plan import Plan
from reconciler.record import Records
from tests.bench.cost import Cost, median
from tests.bench.scene import Scene, scene, settings
from tests.bench.table import Row, at_most, seen

VERSIONS = 10


@dataclass(frozen=True, slots=True)
class Point:
    """What a warm plan of so many apps took."""

    apps: int
    cost: Cost


def scale(folder: Path, sizes: Sequence[int], *, repeats: int, points: list[Point]) -> Iterator[Row]:
    """Each size in a scene of its own; what was measured is added to `points`."""
    for apps in sizes:
        with scene(folder / str(apps), apps=apps, versions=VERSIONS, whole=False) as there:
            costs = []
            for _ in range(repeats if apps < 10_000 else 1):
                there.forget()
                before = there.source.counted()
                costs.append(there.plan("warm"))
                counted = there.source.counted() - before - 1
            requests = sum(there.requests().values())
            took = median(costs)
            assert "Nothing to do" in took.output, took.output[:2000]
            points.append(Point(apps, took))
            yield seen(
                "scale",
                f"{apps} apps x {VERSIONS} versions, warm",
                f"{took.wall:.1f} s, {took.cpu:.1f} s CPU, {took.rss:.0f} MB, {requests} requests",
                wall=took.wall,
                cpu=took.cpu,
                rss=took.rss,
                requests=requests,
            )
            yield at_most("scale", f"requests of {apps} apps that GitHub counts, warm", counted, 1000, "", 0)
            if apps == 1000:
                yield at_most("scale", "CPU of 1000 apps", took.cpu, 25, "s", 1)
                yield at_most("scale", "memory of 1000 apps", took.rss, 300, "MB", 0)
            if apps == max(size for size in sizes if size <= 1000):
                yield from _files(there, apps)
        shutil.rmtree(folder / str(apps))
    for fewer, more in itertools.pairwise(points):
        factor = 10.5 * more.apps / fewer.apps / 10
        name = f"{more.apps} apps over {fewer.apps}"
        yield at_most("scale", f"time: {name}", more.cost.wall / fewer.cost.wall, factor, "x")
        yield at_most("scale", f"CPU: {name}", more.cost.cpu / fewer.cost.cpu, factor, "x")
        yield at_most("scale", f"memory: {name}", more.cost.rss / fewer.cost.rss, factor, "x")


def _files(there: Scene, apps: int) -> Iterator[Row]:
    """Records, and a plan in which every tag is to be built, as large as that mirror makes them."""
    collect_rarely()  # as the command does
    yield at_most(
        "files",
        f"{apps} records, loaded",
        _took(lambda: list(map(Records(there.folder / "warm").load, there.apps))),
        1,
        "s",
    )
    plan = asyncio.run(_all_new(there))
    text = saved.dump(plan)
    size = f"{len(plan.changes)} changes, {len(text) / 1e6:.0f} MB"
    asked = settings(there.folder, there.env, "none")
    for format_ in ("json", "text", "markdown", "html"):
        took = _took(partial(render, plan, format_, asked))
        yield at_most("files", f"a plan of {size} as {format_}", took, 1, "s")
    yield at_most("files", "the same plan, loaded", _took(lambda: saved.load(text.encode(), "plan.json")), 1, "s")


async def _all_new(there: Scene) -> Plan:
    """The plan for an empty registry: the namespace is another one, of which nothing is known."""
    mirror = there.folder / "desired" / "mirror.yaml"
    before = mirror.read_text()
    mirror.write_text(before.replace("namespace: mirror\n", "namespace: elsewhere\n"))
    try:
        async with session(settings(there.folder, there.env, "none")) as run:
            return run.plan_of(await run.views())
    finally:
        mirror.write_text(before)


def _took(work: Callable[[], object]) -> float:
    """Seconds of CPU of this process; the best of three, as nothing but the work differs between them."""
    costs = []
    for _ in range(3):
        began = _cpu()
        work()
        costs.append(_cpu() - began)
    return min(costs)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
