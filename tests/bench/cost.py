"""What a program took: wall time, CPU of it and of all it started, and the largest of them in memory."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, seconds, and MB (10^6 bytes). `output` is what it wrote to stdout."""

    wall: float
    cpu: float
    rss: float
    output: str = ""


def run(argv: Sequence[object], *, env: Mapping[str, str], stdin: str = "", statuses: Iterable[int] = (0,)) -> Cost:
    """Runs a program to its end; ToolError where it ends with a status that isn't one of `statuses`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen([str(word) for word in argv], stdin=given, stdout=out, stderr=err, env=dict(env))
        # wait4 and not wait: it alone says what the process and those it waited for have used
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read().decode(errors="replace")
        if process.returncode not in set(statuses):
            err.seek(0)
            said = err.read().decode(errors="replace")[-2000:]
            raise ToolError(f"{shlex.join(map(str, argv))} ended with {process.returncode}: {output[-2000:]}{said}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, output)


def median(costs: Sequence[Cost]) -> Cost:
    """Each figure's median, by itself."""
    return Cost(
        statistics.median(one.wall for one in costs),
        statistics.median(one.cpu for one in costs),
        max(one.rss for one in costs),
        costs[0].output,
    )


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program of a bench sees: its own home, and nothing of the user's."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", **(more or {})}
