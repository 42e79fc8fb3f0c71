"""Long forms of the fault tests run only where they are asked for: `pytest -m long`. Short forms run always."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """The mark, said where it is used."""
    config.addinivalue_line("markers", "long: the whole matrix, for a nightly run; left out unless -m names it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes, unless -m speaks of it."""
    if "long" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the size of each matrix, which a test gives as the property `matrix`; whoever ran it, xdist or not."""
    passed = terminalreporter.stats.get("passed", [])
    lines = [value for report in passed for name, value in report.user_properties if name == "matrix"]
    if lines:
        terminalreporter.section("faults: nothing fell through")
        for line in lines:
            terminalreporter.line(str(line))
