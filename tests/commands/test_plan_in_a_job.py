"""`reconcile plan` as a step of a job: what the runner learns, read as it reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local.upstream import Reply
from reconciler.report.markdown import MARKER
from tests.report import plans
from tests.report.github import rendered
from tests.report.runner import commands, outputs
from tests.support.mirrors import LocalMirror, mirror


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror whose upstream released 1.0.0 and 1.1.0."""
    with mirror(tmp_path) as made:
        made.released("1.0.0", "1.1.0")
        yield made


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """A step's environment."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_WORKSPACE": str(tmp_path),
        "GITHUB_REPOSITORY": "acme/mirror",
        "GITHUB_RUN_ID": "4711",
        "GITHUB_SHA": plans.COMMIT,
    }


def said(job: dict[str, str]) -> dict[str, str]:
    return outputs(Path(job["GITHUB_OUTPUT"]).read_text(encoding="utf-8"))


def summary(job: dict[str, str]) -> str:
    return Path(job["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", ["text", "markdown", "html", "json"])
def test_summary_and_outputs_whatever_is_printed(m: LocalMirror, job: dict[str, str], format_: str) -> None:
    """The same plan everywhere, with one hash."""
    status, out, err = m.run("plan", "--format", format_, env=job)
    assert (status, err) == (0, "")
    assert (said(job)["has-changes"], said(job)["changes"]) == ("true", "3")
    assert said(job)["plan-hash"] in out
    assert said(job)["plan-hash"] in summary(job)
    assert commands(out) == []


def test_markdown_says_where_it_comes_from(m: LocalMirror, job: dict[str, str]) -> None:
    """The commit and a link to the run, which the summary has too."""
    _, out, _ = m.run("plan", "--format", "markdown", env=job)
    assert plans.COMMIT in out
    assert out.endswith(f"{MARKER}\n")
    (link,) = rendered(out).links
    assert link.endswith("/acme/mirror/actions/runs/4711")
    assert link in summary(job)


def test_mistakes_show_in_the_diff(m: LocalMirror, job: dict[str, str]) -> None:
    """Each at its line of its file, also where JSON is asked for; the summary says that there is no plan."""
    (m.desired / "hello.yaml").write_text("app: hello\nwindow: many\n")
    for flags in ((), ("--format", "json")):
        status, out, err = m.run("plan", *flags, env=job)
        assert status == 1
        found = commands(err)
        assert {command.name for command in found} == {"error"}
        places = {(command.properties["file"], command.properties["line"]) for command in found}
        assert ("desired/hello.yaml", "2") in places
        if flags:
            assert json.loads(out)["errored"]
    assert said(job) == {"has-changes": "false", "plan-hash": "", "complete": "false"}
    assert "There is no plan" in summary(job)


def test_what_upstream_says_is_no_command(m: LocalMirror, job: dict[str, str]) -> None:
    """Words of a server that reach stdout, stderr, the summary and the outputs set nothing."""
    evil = b"::error::x\n##[error]x\n::set-output name=a::b\r::add-mask::c"
    m.upstream.fail("", Reply(404, evil), times=1000)
    for format_ in ("text", "markdown", "json", "html"):
        status, out, err = m.run("plan", "--format", format_, "-vv", env=job)
        assert status == 1
        assert [command.name for command in commands(out) + commands(err) if command.name != "error"] == []
        assert commands(out) == []
    assert set(said(job)) == {
        *("has-changes", "plan-hash", "complete", "changes", "publish", "add-platforms", "prove", "restore"),
        *("rebuild", "adopt", "move-pointer", "blocked", "waiting", "unknown", "satisfied"),
    }


def test_a_summary_that_cant_be_written_keeps_nobody_from_the_plan(m: LocalMirror, job: dict[str, str]) -> None:
    """It is said, and the plan is printed."""
    status, out, err = m.run("plan", env={**job, "GITHUB_OUTPUT": str(m.desired)})
    assert (status, "3 changes" in out) == (0, True)
    assert "GITHUB_OUTPUT: it can't be written: Is a directory" in err


def test_a_secret_reaches_no_file_of_the_runner(m: LocalMirror, job: dict[str, str]) -> None:
    """Though upstream repeats it."""
    secret = "ghs_0123456789abcdef"
    m.upstream.fail("", Reply(404, f'{{"message": "no {secret}"}}'.encode()), times=1000)
    m.run("plan", env={**job, "GITHUB_TOKEN": secret})
    assert secret not in summary(job) + json.dumps(said(job))
