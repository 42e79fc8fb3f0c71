"""What apply reports: each result with its reason, whole for machines, bounded for a summary."""

from __future__ import annotations

import json
from dataclasses import replace

from reconciler.apply.results import Done, Failed, Moved, NotTried, Outcome, Unconfirmed
from reconciler.model.evidence import Unknown
from reconciler.model.observed import Absent, Observation
from reconciler.model.wanted import WantedApp
from reconciler.plan.changes import Publish
from reconciler.plan.make import View, make
from reconciler.plan.plan import Held
from reconciler.report import outcome as report
from tests.support.nouns import NOW, digest, wanted

WANTED = [wanted(f"1.{minor}.0") for minor in range(5)]
PLAN = make(
    [View(WantedApp("hello", tuple(WANTED)), {of.target: Observation(Absent()) for of in WANTED})], policy="p", now=NOW
)
RESULTS = (
    Done(PLAN.changes[0], digest("a"), "built linux/amd64"),
    Unconfirmed(PLAN.changes[1], digest("b"), "built linux/amd64"),
    Failed(PLAN.changes[2], "make: error 1\n  all of it: /logs/1.log", "/logs/1.log"),
    Moved(PLAN.changes[3], "it names sha256:1 now"),
    NotTried(PLAN.changes[4], "nothing can be signed"),
)
HELD = replace(PLAN, held=(Held("other", Unknown("no route")),))


def test_text_says_what_became_of_each() -> None:
    """One line per change, the symbol of what went wrong, and further lines of a reason below it."""
    assert report.text(HELD, Outcome(RESULTS)) == (
        "1 of 5 changes done, 1 unconfirmed, 1 failed, 1 refused, 1 not tried.\n"
        "\n"
        f"  + done         publish  hello:1.4.0  {digest('a').short} built linux/amd64\n"
        f"  + unconfirmed  publish  hello:1.3.0  {digest('b').short} built linux/amd64\n"
        "  ! failed       publish  hello:1.2.0  make: error 1\n"
        "      all of it: /logs/1.log\n"
        "  ! refused      publish  hello:1.1.0  it names sha256:1 now\n"
        "  . not tried    publish  hello:1.0.0  nothing can be signed\n"
        "  ? unknown               other        no route\n"
    )


def test_json_is_written_on_failure_too() -> None:
    """With the exit status, every result and the log of what failed."""
    whole = json.loads(report.as_json(HELD, Outcome(RESULTS), status=1))
    assert [result["state"] for result in whole["results"]] == ["done", "unconfirmed", "failed", "refused", "not tried"]
    assert whole["results"][2]["log"] == "/logs/1.log"
    assert (whole["status"], whole["hash"], whole["held"][0]["state"]) == (1, PLAN.hash, "unknown")
    assert json.loads(report.as_json(None, None, status=1))["hash"] == ""


def test_a_summary_is_bounded_and_shows_what_went_wrong_first() -> None:
    """However much was done, the failure and the hash stay, and what is cut is said."""
    change = PLAN.changes[0]
    assert isinstance(change, Publish)
    many = tuple(Done(change, digest("a"), "built \U0001f600" * 20) for _ in range(5000))
    shown = report.as_markdown(HELD, Outcome((*many, RESULTS[2])), 50_000)
    assert len(shown.encode()) <= 50_000
    assert "failed" in shown.splitlines()[4]
    assert PLAN.hash in shown
    assert "are left out here" in shown


def test_exit_codes() -> None:
    """130 before 1 before 3 before 0; what is left for the next run is no error."""
    done, unconfirmed, failed, moved, left = RESULTS
    assert Outcome((done, unconfirmed, left)).exit_code == 0
    assert Outcome((done, moved)).exit_code == 3
    assert Outcome((failed, moved)).exit_code == 1
    assert Outcome((done,), complete=False).exit_code == 1
    assert Outcome((failed,), interrupted=True).exit_code == 130
