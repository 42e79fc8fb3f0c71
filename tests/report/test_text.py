"""The plan in a terminal and in a log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.evidence import Unknown
from reconciler.plan.plan import Held, Plan
from reconciler.report import text
from reconciler.report.text import columns
from tests.report import plans
from tests.report.golden import same_as_golden

_COLOUR = re.compile(r"\x1b\[[0-9]*m")


@pytest.mark.parametrize("name", plans.NAMED)
def test_the_whole_output(name: str) -> None:
    """As it is in a log, and in a terminal of 80 columns."""
    same_as_golden(text.render(plans.NAMED[name]()), f"{name}.txt")
    same_as_golden(text.render(plans.NAMED[name](), width=80), f"{name}-80.txt")


@pytest.mark.parametrize("name", plans.NAMED)
@pytest.mark.parametrize("width", [0, 40, 80, 120, 200])
def test_colour_only_adds_colour(name: str, width: int) -> None:
    """Without its colours it is the same text; nothing but colours is a terminal sequence."""
    plan = plans.NAMED[name]()
    coloured = text.render(plan, colour=True, width=width)
    assert _COLOUR.sub("", coloured) == text.render(plan, width=width)
    assert "\x1b" not in _COLOUR.sub("", coloured)


@pytest.mark.parametrize("width", [80, 100, 160, 200])
def test_lines_fit(width: int) -> None:
    """No line is wider than the terminal, but for what is there to be copied and single words."""
    for make in (plans.small, plans.every_kind, plans.drifted, plans.partial, plans.large):
        lines = text.render(make(), width=width).splitlines()
        assert [line for line in lines if columns(line) > width and "--expect-plan" not in line] == []


def test_lines_of_wide_letters_fit() -> None:
    """Two columns are two columns."""
    plan = Plan(held=(Held("hello", Unknown("漢字 " * 80)),))
    assert max(columns(line) for line in text.render(plan, width=80).splitlines() if "Plan" not in line) <= 80


def test_nothing_is_lost_by_breaking_lines() -> None:
    """The same words in the same order at any width."""
    for name in plans.NAMED:
        whole = text.render(plans.NAMED[name]()).replace(": :", "::").split()
        for width in range(20, 200, 7):
            assert text.render(plans.NAMED[name](), width=width).replace(": :", "::").split() == whole


@given(st.text(max_size=300), st.integers(0, 120))
def test_no_line_is_a_command(reason: str, width: int) -> None:
    """Wherever a line is broken, it doesn't start with `::` and holds no `##[`."""
    shown = text.render(Plan(held=(Held(reason, Unknown(f"a ::{reason} ::error::x ##[error] {reason}")),)), width=width)
    for line in shown.splitlines():
        assert not line.strip().startswith("::")
        assert "##[" not in line
        assert line.isprintable()


def test_symbols_have_words_and_none_is_a_minus() -> None:
    """Colour and symbols may be lost, the words remain; nothing is deleted, so no line starts with `-`."""
    shown = text.render(plans.every_kind()) + text.render(plans.held())
    marks = set(re.findall(r"^  (\S) (\w+)", shown, re.MULTILINE))
    assert marks == {
        ("+", "publish"),
        ("~", "add"),
        ("*", "sign"),
        ("*", "attest"),
        ("~", "restore"),
        ("~", "rebuild"),
        ("*", "adopt"),
        (">", "move"),
        ("!", "blocked"),
        (".", "waiting"),
        ("?", "unknown"),
    }


def test_a_plan_of_thousands_has_a_line_for_each() -> None:
    """10,000 changes are 10,000 lines, each with its tag."""
    shown = text.render(plans.large(10_000, 1000))
    assert sum(line.startswith("  + publish  app-") for line in shown.splitlines()) == 10_000
