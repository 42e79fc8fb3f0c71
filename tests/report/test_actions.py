"""What GitHub Actions is told, read back as its runner reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from reconciler.errors import DesiredError, GitHubError, Problem, ReconcileError, UpstreamError
from reconciler.report.actions import assignment, context, messages, output, summarise, tell, tell_failure
from reconciler.report.markdown import Context
from tests.report import plans
from tests.report.github import rendered
from tests.report.runner import command, commands, outputs
from tests.report.test_escape import any_text

JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "acme/mirror",
    "GITHUB_RUN_ID": "4711",
    "GITHUB_SHA": plans.COMMIT,
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a step, with its files."""
    return {**JOB, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_OUTPUT": str(tmp_path / "output")}


def read(job: dict[str, str], name: str) -> str:
    return Path(job[name]).read_text(encoding="utf-8")


def test_summary_and_outputs(job: dict[str, str]) -> None:
    """The whole plan with its run, and numbers that later steps decide by."""
    tell(plans.held(), job)
    page = rendered(read(job, "GITHUB_STEP_SUMMARY"))
    assert page.links == [plans.RUN]
    assert page.comments == []
    assert plans.held().hash in page.text
    assert plans.COMMIT in page.text
    assert outputs(read(job, "GITHUB_OUTPUT")) == {
        "has-changes": "true",
        "plan-hash": plans.held().hash,
        "complete": "false",
        "changes": "1",
        "publish": "1",
        "add-platforms": "0",
        "prove": "0",
        "restore": "0",
        "rebuild": "0",
        "adopt": "0",
        "move-pointer": "0",
        "blocked": "2",
        "waiting": "1",
        "unknown": "2",
        "satisfied": "7",
    }


def test_nothing_to_do(job: dict[str, str]) -> None:
    """An empty plan says so, and still has its hash."""
    tell(plans.nothing(), job)
    said = outputs(read(job, "GITHUB_OUTPUT"))
    assert (said["has-changes"], said["complete"], said["plan-hash"]) == ("false", "true", plans.nothing().hash)
    assert "Nothing to do" in read(job, "GITHUB_STEP_SUMMARY")


def test_a_failure_is_no_plan(job: dict[str, str]) -> None:
    """Nothing later may take it for one: the hash is empty."""
    tell_failure(UpstreamError("status 503", where="api.github.example"), job)
    assert outputs(read(job, "GITHUB_OUTPUT")) == {"has-changes": "false", "plan-hash": "", "complete": "false"}
    assert "api.github.example: status 503" in rendered(read(job, "GITHUB_STEP_SUMMARY")).text


def test_outside_of_a_job_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those variables there are no files, no messages and no context."""
    monkeypatch.chdir(tmp_path)
    tell(plans.small(), {})
    tell_failure(ReconcileError("x"), {})
    assert list(tmp_path.iterdir()) == []
    assert messages(ReconcileError("x"), {}) == ()
    assert context({}) == Context()


def test_what_a_step_wrote_before_counts(job: dict[str, str]) -> None:
    """Two large plans in one step stay below what GitHub takes of its summary."""
    large = plans.large(5000, text="漢字" * 50)
    tell(large, job)
    tell(large, job)
    assert Path(job["GITHUB_STEP_SUMMARY"]).stat().st_size < 1024 * 1024
    page = rendered(read(job, "GITHUB_STEP_SUMMARY"))
    assert page.unbalanced == []
    assert page.text.count(large.hash) == 2


def test_too_much_for_a_summary_is_refused(job: dict[str, str]) -> None:
    """GitHub would drop all of it without a word."""
    with pytest.raises(GitHubError, match="over 1 MiB"):
        summarise("x" * (1024 * 1024 + 1), job)
    assert not Path(job["GITHUB_STEP_SUMMARY"]).exists()


def test_a_file_that_cant_be_written(tmp_path: Path) -> None:
    """The error names the variable and what to do."""
    with pytest.raises(GitHubError, match=r"GITHUB_OUTPUT: it can't be written: Is a directory"):
        output({"a": "b"}, {"GITHUB_OUTPUT": str(tmp_path)})


def test_secrets_reach_no_file(job: dict[str, str]) -> None:
    """Whatever is known to be secret is taken out before anything is written."""

    def redact(text: str) -> str:
        return text.replace("hunter2hunter2", "[hidden]")

    error = UpstreamError("token hunter2hunter2 was refused")
    tell_failure(error, job, redact)
    output({"why": "hunter2hunter2"}, job, redact)
    assert "hunter2" not in read(job, "GITHUB_STEP_SUMMARY") + read(job, "GITHUB_OUTPUT")


@given(any_text)
def test_outputs_come_back_as_they_were(value: str) -> None:
    """Whatever the value, it is one output, and the next one is untouched."""
    value = value.encode("utf-8", "backslashreplace").decode()
    assert outputs(assignment("first", value) + assignment("next", "1")) == {"first": value, "next": "1"}


def test_the_delimiter_cant_be_foreseen() -> None:
    """Each value has its own."""
    first, second = (assignment("a", "x\ny").split("\n")[0] for _ in range(2))
    assert first != second
    assert len(first) > 32


class TestContext:
    """Where a plan comes from."""

    def test_of_a_push(self) -> None:
        """The commit that was pushed, and the run's address."""
        assert context(JOB) == Context(commit=plans.COMMIT, run_url=plans.RUN)

    def test_of_a_pull_request(self, tmp_path: Path) -> None:
        """Its own head, not the merge that GITHUB_SHA names."""
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"pull_request": {"head": {"sha": "a" * 40}}}))
        assert context({**JOB, "GITHUB_EVENT_PATH": str(event)}).commit == "a" * 40

    @pytest.mark.parametrize("content", ["", "[]", "{", '{"pull_request": 1}', "\ud800", "[" * 100_000])
    def test_of_an_event_that_cant_be_read(self, tmp_path: Path, content: str) -> None:
        """It is as if there were none."""
        event = tmp_path / "event.json"
        event.write_bytes(content.encode("utf-8", "surrogatepass"))
        assert context({**JOB, "GITHUB_EVENT_PATH": str(event)}).commit == plans.COMMIT
        assert context({**JOB, "GITHUB_EVENT_PATH": str(tmp_path / "none")}).commit == plans.COMMIT

    def test_a_commit_that_is_none(self) -> None:
        """It is left out."""
        assert context({**JOB, "GITHUB_SHA": "main"}).commit == ""


class TestMessages:
    """Mistakes show in the diff."""

    def test_each_mistake_at_its_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One command per mistake, its file as the repository has it."""
        folder = tmp_path / "sub"
        folder.mkdir()
        monkeypatch.chdir(folder)
        error = DesiredError(
            [
                Problem("desired/outline.yaml", 7, 3, "window", "it is no number", "write a number"),
                Problem("desired/a.yaml", 1, 1, "", "it is empty"),
            ]
        )
        lines = messages(error, {**JOB, "GITHUB_WORKSPACE": str(tmp_path)})
        place = "file=sub/desired/outline.yaml,line=7,col=3"
        assert lines == (
            "::error file=sub/desired/a.yaml,line=1,col=1,title=desired state::it is empty",
            f"::error {place},title=desired state::window: it is no number (write a number)",
        )
        assert messages(error, JOB)[0].startswith("::error file=desired/a.yaml,")
        assert messages(error, {**JOB, "GITHUB_WORKSPACE": "/elsewhere"})[0].startswith("::error file=desired/a.yaml,")

    def test_other_errors_have_no_place(self) -> None:
        """They show on the run's page."""
        assert messages(UpstreamError("status 503", where="a.example"), JOB) == (
            "::error title=reconcile::a.example: status 503",
        )

    @given(any_text)
    def test_hostile_text_stays_in_its_message(self, text: str) -> None:
        """One command each, whose properties are ours and whose message is the text."""
        problem = Problem(text, 7, 3, text, text, text)
        for error in (DesiredError([problem, replace(problem, line=8)]), ReconcileError(text, where=text)):
            lines = messages(error, JOB)
            found = commands("\n".join(lines))
            assert len(found) == len(lines)
            for one in found:
                assert one.name == "error"
                assert set(one.properties) <= {"file", "line", "col", "title"}
                assert "\n" not in one.data


def test_the_runner_of_the_tests_takes_commands() -> None:
    """The check itself works."""
    assert command("  ::error file=a%2Cb,line=1::x%0Ay") is not None
    assert command("a ##[set-env name=x]y") is not None
    assert command("a ::error::x") is None
