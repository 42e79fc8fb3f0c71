"""The same work by our client and by crane, as many at once: digest and platforms of tags."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.local.tools import Tools
from tests.bench.clients import clients
from tests.bench.cost import Cost, environment, median, run
from tests.bench.scene import scene
from tests.bench.table import Row, at_least, at_most, seen

AT_ONCE = 16


def rate(folder: Path, tools: Tools, *, repeats: int, tags: int) -> Iterator[Row]:
    """Without latency, where only the clients' own work counts."""
    apps, versions = tags // 50, 50
    with scene(folder, apps=apps, versions=versions, whole=False) as there:
        refs = there.refs
        ours_argv = [sys.executable, "-m", "tests.bench.digests", AT_ONCE]
        ours: list[Cost] = []
        theirs: dict[str, list[Cost]] = {"crane manifest": [], "skopeo inspect --raw": []}
        requests: dict[str, int] = {}
        # turn by turn: what else the machine does meanwhile strikes all of them alike
        for _ in range(repeats):
            there.forget()
            ours.append(run(ours_argv, env=environment(there.folder), stdin="\n".join(refs)))
            requests["ours"] = sum(there.requests().values())
            for client in clients(tools, there):
                if client.name in theirs:
                    there.forget()
                    theirs[client.name].append(client.loop(there, refs, at_once=AT_ONCE))
                    requests[client.name] = sum(there.requests().values())
    mine = median(ours)
    for name, cost in (("ours", mine), *((name, median(costs)) for name, costs in theirs.items())):
        per_tag, a_second = cost.cpu / len(refs) * 1000, requests[name] / cost.wall
        yield seen(
            "rate",
            f"{name}: {len(refs)} tags, {AT_ONCE} at once",
            f"{a_second:.0f} requests/s, {len(refs) / cost.wall:.0f} tags/s, {per_tag:.1f} ms CPU a tag",
            requests_a_second=a_second,
            tags_a_second=len(refs) / cost.wall,
            cpu_ms_a_tag=per_tag,
        )
    crane = median(theirs["crane manifest"])
    own = requests["ours"] / mine.wall
    yield at_least("rate", "our requests/s over crane's", own / (requests["crane manifest"] / crane.wall), 1, "x")
    yield at_most("rate", "our CPU a tag over crane's", mine.cpu / crane.cpu, 5, "x")
