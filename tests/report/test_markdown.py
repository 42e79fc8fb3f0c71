"""The plan as a comment: the verdict first, whole tables, nothing hostile, never too long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.evidence import Unknown
from reconciler.plan.plan import Held, Plan
from reconciler.report import markdown
from reconciler.report.fitting import characters, size
from reconciler.report.markdown import COMMENT, MARKER, SUMMARY, WHOLE, Context, Medium
from tests.report import plans
from tests.report.github import Page, rendered
from tests.report.golden import same_as_golden
from tests.report.test_escape import any_text

CONTEXT = Context(commit=plans.COMMIT, run_url=plans.RUN)

WIDE = "漢字 👩‍👩‍👧 😀 | @user #1 `````"


def columns(page: Page) -> set[int]:
    """How many cells the rows have."""
    return {len(row) for row in page.cells}


def check(shown: str, plan: Plan, links: list[str]) -> Page:
    """What holds for any plan: it renders as it should and says what it must."""
    assert shown.splitlines()[0].startswith("**reconcile plan:** ")
    assert shown.endswith("\n")
    page = rendered(shown)
    assert page.found == []
    assert page.unbalanced == []
    assert set(page.links) <= set(links)
    assert columns(page) <= {5}
    assert "img" not in page.tags
    if plan.changes or plan.held:
        assert plan.hash in page.text
    return page


@pytest.mark.parametrize("name", plans.NAMED)
def test_the_whole_output(name: str) -> None:
    """As it stands under a pull request."""
    shown = markdown.render(plans.NAMED[name](), replace(CONTEXT, touches_state=name in ("hostile", "nothing")))
    same_as_golden(shown, f"{name}.md")
    page = check(shown, plans.NAMED[name](), [plans.RUN])
    assert page.comments == ["reconcile:plan"]
    assert shown.splitlines()[-1] == MARKER


def test_every_change_is_a_row_of_its_app() -> None:
    """With its symbol, its word, its tag, what will be and why."""
    page = rendered(markdown.render(plans.every_kind()))
    rows = [row for row in page.cells if row[0] != ""]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("+", "publish", "outline:1.9.0"),
        ("~", "add platforms", "outline:1.8.0"),
        ("*", "sign", "outline:1.7.0"),
        ("*", "attest", "outline:1.6.0"),
        ("~", "restore", "outline:1.5.0"),
        ("~", "rebuild", "outline:1.4.0"),
        ("*", "adopt", "outline:1.3.0"),
        (">", "move pointer", "outline:latest"),
    ]
    assert all(row[3] and row[4] for row in rows)


def test_nothing_to_do_is_one_sentence() -> None:
    """No table, no heading, no hash."""
    shown = markdown.render(plans.nothing(), medium=WHOLE)
    assert shown == "**reconcile plan:** Nothing to do: no changes, all 12 tags and pointers are as wanted.\n"


def test_edits_of_records_are_warned_of() -> None:
    """Where the pull request touches `state/`, it says so, also where nothing is to do."""
    touched = Context(touches_state=True)
    for plan in (plans.nothing(), plans.small()):
        assert "> [!WARNING]\n> This pull request edits `state/`." in markdown.render(plan, touched)
        assert "WARNING" not in markdown.render(plan)


def test_a_link_that_is_none_is_left_out() -> None:
    """The run's address comes from the environment, and is no way in."""
    page = rendered(markdown.render(plans.small(), Context(run_url="javascript:alert(1)", commit="](x) @user")))
    assert page.links == []
    assert page.found == []


# the summary as small as the plans of the short form
SMALLER = replace(SUMMARY, limit=90_000)
MEDIA = [
    COMMENT,
    pytest.param(SUMMARY, marks=pytest.mark.long),
    replace(COMMENT, limit=4_000),
    replace(SUMMARY, limit=4_000),
]


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize(
    ("changes", "apps", "text"),
    [
        (5000, 100, "no such tag"),
        pytest.param(5000, 5000, WIDE, marks=pytest.mark.long),
        pytest.param(3000, 1, WIDE * 20, marks=pytest.mark.long),
    ],
)
def test_any_plan_fits(medium: Medium, changes: int, apps: int, text: str) -> None:
    """Whatever the plan: verdict, hash, link and marker stay, all is closed, and what is cut is said."""
    plan = plans.large(changes, apps, text)
    shown = markdown.render(plan, CONTEXT, medium)
    assert medium.limit is not None
    assert medium.measure(shown) <= medium.limit
    page = check(shown, plan, [plans.RUN])
    assert plans.RUN in page.links
    assert f"{changes:,} changes" in shown.splitlines()[0]
    assert f"{changes:,} " in page.text.split("left out here", maxsplit=1)[0]
    assert "artefact" in page.text
    assert (shown.splitlines()[-1] == MARKER) is medium.marked
    # what blocks comes first, but the changes are not left out for it
    assert medium.limit < 10_000 or {"zeta", "app-000"} <= {row[2] for row in page.cells} | {
        row[2].partition(":")[0] for row in page.cells
    }


@pytest.mark.parametrize(("changes", "apps", "text"), [(500, 500, WIDE), (300, 1, WIDE * 20)])
def test_any_plan_fits_by_bytes(changes: int, apps: int, text: str) -> None:
    """The same where bytes count, not characters; on plans as small as a short form needs."""
    test_any_plan_fits(SMALLER, changes, apps, text)


def test_the_whole_has_everything() -> None:
    """Without a limit nothing is cut."""
    plan = plans.large(1000, 100)
    page = check(markdown.render(plan, CONTEXT, WHOLE), plan, [plans.RUN])
    assert len([row for row in page.cells if row[1] == "publish"]) == 1000
    assert "left out" not in page.text


def test_every_app_is_named_where_not_every_change_is_shown() -> None:
    """An overview says how many changes of each kind every app has."""
    page = rendered(markdown.render(plans.large(5000, 100), CONTEXT))
    assert "Overview of 100 apps" in page.text
    for app in range(100):
        assert f"app-{app:03}: 50 changes (50 publish)" in page.text
    assert "Overview" not in markdown.render(plans.large(5000, 100), CONTEXT, WHOLE)


def test_a_small_plan_isnt_cut() -> None:
    """There is no notice where everything is shown, and more fits in a summary than in a comment."""
    assert "Too long" not in markdown.render(plans.large(100, 5), CONTEXT)
    assert "Too long" in markdown.render(plans.large(1000, 5), CONTEXT)
    assert "Too long" not in markdown.render(plans.large(1000, 5), CONTEXT, SUMMARY)


@given(st.lists(any_text, min_size=1, max_size=6), st.integers(2_500, 6_000))
def test_hostile_plans_fit_and_stay_whole(texts: list[str], limit: int) -> None:
    """Any texts as app, image and reasons, at any limit."""
    evil = plans.hostile()
    publish = evil.changes[0]
    assert publish.kind == "publish"
    changes = [
        replace(
            publish,
            reason=text,
            wanted=replace(publish.wanted, app=text, image=text, release=plans.of("1.0.0").release),
        )
        for text in texts
    ]
    plan = replace(
        evil,
        changes=tuple(changes),
        held=tuple(Held(text, Unknown(text)) for text in texts),
        scope=tuple(texts),
    )
    for medium in (replace(COMMENT, limit=limit), replace(SUMMARY, limit=limit), COMMENT):
        shown = markdown.render(plan, CONTEXT, medium)
        assert medium.limit is not None
        assert medium.measure(shown) <= medium.limit
        page = check(shown, plan, [plans.RUN])
        assert page.comments == (["reconcile:plan"] if medium.marked else [])


def test_the_same_plan_gives_the_same_bytes() -> None:
    """Nothing in it depends on when or where it is rendered."""
    assert markdown.render(plans.hostile(), CONTEXT) == markdown.render(plans.hostile(), CONTEXT)


@given(any_text)
def test_a_failure_is_shown_as_it_is(errored: str) -> None:
    """An error's text stands in a fence that it can't leave."""
    page = rendered(markdown.render_failure(errored, CONTEXT))
    assert page.found == []
    assert page.unbalanced == []
    assert [tag for tag in page.tags if tag not in ("p", "strong")] == ["pre", "code", "code", "a"]
    assert page.comments == ["reconcile:plan"]


def test_a_long_failure_is_cut() -> None:
    """However long, it fits."""
    shown = markdown.render_failure("😀" * 10_000_000 + "\n" * 1_000_000, CONTEXT)
    assert characters(shown) <= 60_000
    assert "more line" in shown
    assert rendered(shown).comments == ["reconcile:plan"]


def test_lengths() -> None:
    """Characters as UTF-16 counts them, sizes as UTF-8 does."""
    assert [(characters(text), size(text)) for text in ("abc", "é", "漢", "😀")] == [(3, 3), (1, 2), (1, 3), (2, 4)]


@given(any_text)
def test_markdown_in_a_log_is_no_command(text: str) -> None:
    """Printed in a job, no line of it is taken as a command."""
    held = Plan(held=(Held(text, Unknown(f"{text} ##[error]x {text}")), Held("::error::x", Unknown("::error::x"))))
    for shown in (markdown.render(held, CONTEXT), markdown.render_failure(f"{text}\n{'x' * 100}::error::{text}")):
        for line in shown.split("\n"):
            assert not line.strip().startswith("::")
            assert "##[" not in line
