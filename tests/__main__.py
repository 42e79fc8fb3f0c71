"""All checks by their cost: style, types, fast tests, the real stack, coverage, the benchmark in its short form.

python -m tests            everything, as CI does
python -m tests fast       without the stack
python -m tests long       the long forms of the fault tests, and every property with many and ever other examples
"""

from __future__ import annotations

import subprocess
import sys
import time

# branch coverage over fast and stack tests together; raise it when it grows, never lower it
COVERAGE = 90

STYLE = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
PYTEST = ["pytest", "-q", "--cov", "--cov-append", "--cov-report="]
FAST = [[*PYTEST, "-m", "not stack and not long"]]
# a builder for each worker, so no more of them than cores, and what a file starts once it starts once
STACK = [[*PYTEST, "-n2", "--dist=loadfile", "-m", "stack and not long"]]
REPORT = [["coverage", "report", f"--fail-under={COVERAGE}", "--skip-covered", "--sort=cover"]]
# so that it can't rot: what it measures here fails nothing
BENCH = [["tests.bench", "--short"]]
LONG = [["pytest", "-q", "--hypothesis-profile=long", "-m", "long or not stack"]]

WAYS = {"": STYLE + FAST + STACK + REPORT + BENCH, "fast": STYLE + FAST, "long": LONG}


def main() -> int:
    """Runs the steps and stops at the first that fails, with its status."""
    way = " ".join(sys.argv[1:])
    if way not in WAYS:
        print(__doc__)
        return 2
    subprocess.run([sys.executable, "-m", "coverage", "erase"], check=True)
    for step in WAYS[way]:
        print(f"\n$ {' '.join(step)}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", *step], check=False).returncode
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
        if status != 0:
            print(f"failed: {' '.join(step)}", flush=True)
            return status
    return 0


sys.exit(main())
