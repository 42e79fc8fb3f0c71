"""Start-up; and a plan of 3 images with 10 tags each at 50 ms an answer, beside what asks less of the same registry.

The registry wants tokens, as GHCR does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from reconciler.local.tools import Tools
from tests.bench.clients import clients
from tests.bench.cost import Cost, environment, median, run
from tests.bench.scene import RECONCILE, Scene, scene
from tests.bench.table import Row, at_least, at_most, seen

LATENCY = 50
IMAGES = 3


def start(folder: Path, repeats: int) -> Iterator[Row]:
    """The program's own start."""
    env = environment(folder)
    bare = median([run([sys.executable, "-c", "pass"], env=env) for _ in range(repeats)])
    yield seen("start", "python -c pass", f"{bare.cpu:.3f} s CPU", cpu=bare.cpu)
    for what, words, status in (("reconcile --help", ["--help"], 0), ("a usage error", ["plan", "--nothing"], 64)):
        took = median([run([RECONCILE, *words], env=env, statuses=[status]) for _ in range(repeats)])
        yield at_most("start", what, took.cpu, 0.2, "s CPU", 3, wall=took.wall)


def critical(folder: Path, tools: Tools, *, repeats: int, tags: int, slow: int) -> Iterator[Row]:
    """Cold and warm plans against loops over the same tags; of the loops, `slow` rounds each."""
    with scene(folder / "key", apps=IMAGES, versions=tags, login=True) as there:
        there.latency(LATENCY)
        loops = {}
        for client in clients(tools, there):
            loops[client.name] = median([client.loop(there, there.refs) for _ in range(slow)])
            took = loops[client.name]
            what = f"{client.name}, {len(there.refs)} tags one by one: {client.says}"
            yield seen("path", what, f"{took.wall:.2f} s", wall=took.wall, cpu=took.cpu)
        docker = loops["docker manifest inspect"].wall
        yield from _ours(there, repeats, "key", docker)
    with scene(folder / "keyless", apps=IMAGES, versions=tags, keyless=True, login=True) as there:
        there.latency(LATENCY)
        yield from _ours(there, repeats, "keyless", docker)


def _ours(there: Scene, repeats: int, signed: str, docker: float) -> Iterator[Row]:
    for state, says, goal in (("cold", "every proof fetched and verified", 12), ("warm", "from records", 40)):
        took, requests = _counted(there, repeats, lambda state=state: there.plan(state))  # type: ignore[misc]
        what = f"reconcile plan, {state}, signed {signed}: {says}"
        yield seen(
            "path",
            what,
            f"{took.wall:.2f} s, {requests} requests, {took.cpu:.2f} s CPU, {took.rss:.0f} MB",
            wall=took.wall,
            cpu=took.cpu,
            rss=took.rss,
            requests=requests,
        )
        ratio = docker / took.wall
        yield at_least("path", f"the docker loop takes so many times as long ({state}, {signed})", ratio, goal, "x")


def _counted(there: Scene, repeats: int, once: Callable[[], Cost]) -> tuple[Cost, int]:
    costs = []
    for _ in range(repeats):
        there.forget()
        costs.append(once())
    return median(costs), sum(there.requests().values())
