"""All checks in the order of their cost: style, types, fast tests, the real stack, coverage.

python -m tests            everything, as CI does
python -m tests fast       without the stack
"""

from __future__ import annotations

import subprocess
import sys
import time

# branch coverage over fast and stack tests together; raise it when it grows, never lower it
COVERAGE = 90

STYLE = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
PYTEST = ["pytest", "-q", "--cov", "--cov-append", "--cov-report=", "-m"]
FAST = [[*PYTEST, "not stack and not long"]]
STACK = [[*PYTEST, "stack and not long"]]
REPORT = [["coverage", "report", f"--fail-under={COVERAGE}", "--skip-covered", "--sort=cover"]]


def main() -> int:
    """Runs the steps and stops at the first that fails, with its status."""
    steps = STYLE + FAST + ([] if sys.argv[1:] == ["fast"] else STACK + REPORT)
    subprocess.run([sys.executable, "-m", "coverage", "erase"], check=True)
    for step in steps:
        print(f"\n$ {' '.join(step)}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", *step], check=False).returncode
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
        if status != 0:
            print(f"failed: {' '.join(step)}", flush=True)
            return status
    return 0


sys.exit(main())
