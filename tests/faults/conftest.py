"""What the fault tests print at the end: how much was tried, and that nothing fell through."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the size of each matrix, which a test gives as the property `matrix`; whoever ran it, xdist or not."""
    passed = terminalreporter.stats.get("passed", [])
    lines = [value for report in passed for name, value in report.user_properties if name == "matrix"]
    if lines:
        terminalreporter.section("faults: nothing fell through")
        for line in lines:
            terminalreporter.line(str(line))
