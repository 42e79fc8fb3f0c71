"""Everything that is measured, side by side in one run.

    python -m tests.bench                          about ten minutes
    python -m tests.bench --short                  half a minute, all of it once: so that it can't rot
    python -m tests.bench --json FILE --plot FILE.png --only scale --apps 100,1000,10000

The registry runs in a process of its own and its answers take as long as it is told. Figures are medians; those to
compare stand in one run. A goal that isn't reached is said, and fails nothing: only what doesn't work at all does. The
short form has no goals: it is too small for them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tests.bench import apply, path, rate, scale
from tests.bench.clients import obtained, versions
from tests.bench.plot import draw
from tests.bench.table import Row, as_json, text

PARTS = ("start", "path", "rate", "scale", "apply")


def main(arguments: list[str] | None = None) -> int:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser("tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="all of it, once and small")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated: " + ", ".join(PARTS))
    parser.add_argument("--apps", default="", help="the sizes of `scale`, comma-separated (100,1000)")
    parser.add_argument("--repeats", type=int, default=0, help="rounds of each (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw time and memory over the number of apps")
    options = parser.parse_args(arguments)
    points: list[scale.Point] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rows = []
        for row in _rows(options, Path(folder), points):
            print(f"{row.part}: {row.what}: {row.figure}", file=sys.stderr, flush=True)
            rows.append(replace(row, goal="", reached=None) if options.short else row)
    machine = _machine()
    print(text(rows) + "\n" + "".join(f"{name}: {value}\n" for name, value in machine.items()), end="")
    if options.json:
        options.json.write_text(as_json(rows, machine))
    if options.plot and points:
        draw(points, options.plot)
    return 0


def _rows(options: argparse.Namespace, folder: Path, points: list[scale.Point]) -> Iterator[Row]:
    short = options.short
    repeats = options.repeats or (1 if short else 5)
    tools = obtained()
    for part in options.only.split(","):
        match part:
            case "start":
                yield from path.start(folder, max(3, repeats))
            case "path":
                yield from path.critical(
                    folder / "path", tools, repeats=repeats, tags=2 if short else 10, slow=1 if short else 3
                )
            case "rate":
                yield from rate.rate(folder / "rate", tools, repeats=repeats, tags=50 if short else 500)
            case "scale":
                sizes = options.apps or ("5,20" if short else "100,1000")
                yield from scale.scale(
                    folder / "scale", list(map(int, sizes.split(","))), repeats=min(repeats, 3), points=points
                )
            case "apply":
                yield from apply.apply(folder / "apply", repeats=min(repeats, 3), builds=1 if short else 4)
            case _:
                raise SystemExit(f"no part is called {part}: {', '.join(PARTS)}")


def _machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    ours = {name: metadata.version(name) for name in ("reconcile", "httpx", "aiohttp")}
    return {
        "machine": f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **ours,
        **versions(obtained()),
    }


if __name__ == "__main__":
    sys.exit(main())
