"""The plan as a page of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconciler.model.evidence import Unknown
from reconciler.plan.plan import Drift, Held, Plan
from reconciler.report import html
from reconciler.report.markdown import Context
from tests.report import plans
from tests.report.github import Page
from tests.report.golden import same_as_golden
from tests.report.test_escape import any_text

CONTEXT = Context(commit=plans.COMMIT, run_url=plans.RUN, touches_state=True)
_TAGS = {"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "small", "p", "main", "section"}
_TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "b", "code", "details", "summary", "dl", "dt", "dd", "br"}
_TAGS |= {"footer", "span", "a"}


def opened(page: str) -> Page:
    """The page as a browser reads it."""
    read = Page()
    read.feed(page)
    read.finish()
    return read


def check(page: str) -> Page:
    """Well-formed, of known elements only, and without any address but the run's."""
    read = opened(page)
    assert read.unbalanced == []
    assert set(read.tags) <= _TAGS
    assert set(read.links) <= {plans.RUN}
    assert read.comments == []
    assert {len(row) for row in read.cells} <= {3}
    return read


@pytest.mark.parametrize("name", plans.NAMED)
def test_every_plan_is_a_whole_page(name: str) -> None:
    """With everything that the plan says, and nothing from elsewhere."""
    plan = plans.NAMED[name]()
    read = check(html.render(plan, CONTEXT))
    assert plan.hash in read.text
    assert plans.COMMIT in read.text
    assert len([row for row in read.cells if row[0] not in ("change", "state", "")]) == len(plan.changes) + len(
        plan.held
    ) + len(plan.drift)


def test_the_whole_output() -> None:
    """As it is written."""
    same_as_golden(html.render(plans.every_kind(), CONTEXT), "every-kind.html")


@given(any_text, any_text)
def test_hostile_text_is_text(first: str, second: str) -> None:
    """In a title, a heading, a cell and an attribute."""
    evil = plans.hostile()
    plan = replace(
        evil,
        held=(Held(first, Unknown(second)), *evil.held),
        drift=(Drift(second, plans.OUTLINE.tag("1.0.0"), first),),
        scope=(first.encode("utf-8", "replace").decode(), second.encode("utf-8", "replace").decode()),
    )
    page = html.render(plan, CONTEXT)
    read = check(page)
    assert read.tags.count("section") == 4
    assert not any(line.strip().startswith("::") or "##[" in line for line in page.splitlines())


def test_an_address_that_is_none_is_left_out() -> None:
    """The run's address is no way in."""
    assert opened(html.render(plans.small(), Context(run_url="javascript:alert(1)"))).links == []


def test_a_page_says_what_it_may() -> None:
    """Even what slipped through couldn't load or run anything."""
    page = html.render(Plan())
    assert "default-src &#x27;none&#x27;" in page
    assert "url(" not in page
    assert "@import" not in page
