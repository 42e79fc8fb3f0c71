"""What holds for every test."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# how long an example takes says something of the machine, not of the property
settings.register_profile("short", deadline=None, max_examples=40, derandomize=True)
# pytest --hypothesis-profile=long: other examples every night
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("short")


@pytest.fixture
def anyio_backend() -> str:
    """The transport under httpx is aiohttp's, so asyncio is the only loop."""
    return "asyncio"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long forms, of which a short form always runs, run only where they are asked for: `pytest -m long`."""
    if "long" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that can't run fails: none passes by skipping."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as failed: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the size of each fault matrix, which a test gives as the property `matrix`; whoever ran it, xdist or not.

    It stands here because with xdist the process that prints collects no tests, and so reads no other conftest.
    """
    passed = terminalreporter.stats.get("passed", [])
    lines = [value for report in passed for name, value in report.user_properties if name == "matrix"]
    if lines:
        terminalreporter.section("faults: nothing fell through")
        for line in sorted(map(str, lines)):
            terminalreporter.line(line)
