"""The contract of the comment (behaviours.md 17 to 20), against a local GitHub."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest

from reconciler import cli
from reconciler.commands.comment import MAX_PLAN, NOTICE, Posted, _stick
from reconciler.errors import UpstreamError
from reconciler.github import JOB_LOGIN, Pull, Unsure, connect
from reconciler.local.github import Account, LocalComment, LocalGitHub, LocalMirror, LocalPull
from reconciler.local.upstream import Reply
from reconciler.plan import saved
from reconciler.plan.plan import Plan
from reconciler.report import markdown
from reconciler.report.markdown import MARKER, Context
from tests.report import plans
from tests.report.github import rendered
from tests.upstream.conftest import Time

SHA = plans.COMMIT


@dataclass
class Desk:
    """A repository with one pull request, and a job that comments on it."""

    github: LocalGitHub
    mirror: LocalMirror
    pull: LocalPull
    folder: Path
    token: str = "github-token"
    run_id: str = "4711"
    summary: bool = True

    def environment(self) -> dict[str, str]:
        """The job's."""
        files = {"GITHUB_STEP_SUMMARY": str(self.folder / "summary")} if self.summary else {}
        return {
            **self.github.env,
            **files,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "acme/mirror",
            "GITHUB_RUN_ID": self.run_id,
            "GITHUB_SHA": SHA,
            "GITHUB_TOKEN": self.token,
        }

    def file(self, content: Plan | str | bytes) -> Path:
        """A plan (or whatever it is) as the artefact that the job finds."""
        file = self.folder / "plan.json"
        text = saved.dump(content) if isinstance(content, Plan) else content
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def comment(self, content: Plan | str | bytes, *flags: str) -> tuple[int, str, str]:
        """Runs `reconcile comment` on it."""
        return self.run("--plan", str(self.file(content)), *(flags or ("--pr", str(self.pull.number))))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = cli.main(["comment", *arguments])
        return status, out.getvalue(), err.getvalue()

    @property
    def comments(self) -> list[LocalComment]:
        return self.mirror.comments(self.pull.number)

    @property
    def writes(self) -> int:
        return len(self.github.asked("^(POST|PATCH)"))

    @property
    def summarised(self) -> str:
        file = self.folder / "summary"
        return file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with LocalGitHub(tmp_path / "github") as github:
        github.accounts["fork"] = Account(JOB_LOGIN, writes=False, installation=True)
        mirror = github.mirror("acme/mirror")
        yield Desk(github, mirror, mirror.pull("acme:topic", SHA), tmp_path)


def test_the_plan_is_posted(desk: Desk) -> None:
    """With its commit, its run and its hash; nothing goes to stdout."""
    assert desk.comment(plans.small()) == (0, "", "commented on pull request 1\n")
    (comment,) = desk.comments
    assert comment.body == markdown.render(plans.small(), Context(commit=SHA, run_url=plans.RUN))
    assert comment.body.rstrip().endswith(MARKER)


def test_a_second_run_edits_the_same_comment(desk: Desk) -> None:
    """Found by marker and author, on page 3 too; the others are left alone."""
    for number in range(120):
        desk.mirror.comment(1, "someone", f"number {number}")
    forged = desk.mirror.comment(1, "mallory", f"not ours\n\n{MARKER}\n")
    quoting = desk.mirror.comment(1, JOB_LOGIN, f"another job quotes {MARKER}\nand goes on")
    for number in range(100):
        desk.mirror.comment(1, "someone", f"more {number}")
    desk.comment(plans.small())
    before = [replace(comment) for comment in desk.comments]
    assert desk.comment(plans.every_kind()) == (0, "", "edited the comment on pull request 1\n")
    assert len(desk.comments) == 223
    assert desk.comments[:-1] == before[:-1]
    assert (forged.writes, quoting.writes) == (1, 1)
    assert plans.every_kind().hash in desk.comments[-1].body
    assert len(desk.github.asked("GET .*comments.*page=3")) == 2


def test_nothing_changed_nothing_written(desk: Desk) -> None:
    """Neither by the same run again, nor by another run for the same commit, nor after GitHub's editor saved it."""
    desk.comment(plans.small())
    for run_id in ("4711", "4712"):
        desk.run_id = run_id
        assert desk.comment(plans.small()) == (0, "", "the comment on pull request 1 says the same already\n")
    desk.comments[0].body = desk.comments[0].body.replace("\n", "\r\n")
    desk.comment(plans.small())
    assert desk.writes == 1


def test_an_empty_plan_rewrites_an_old_one(desk: Desk) -> None:
    """An old plan doesn't stand on."""
    desk.comment(plans.small())
    assert desk.comment(plans.nothing()) == (0, "", "edited the comment on pull request 1\n")
    (comment,) = desk.comments
    assert comment.body.startswith("**reconcile plan:** Nothing to do: no changes, ")
    assert plans.small().hash not in comment.body
    assert desk.comment(plans.nothing())[2] == "the comment on pull request 1 says the same already\n"
    assert desk.writes == 2


def test_an_empty_plan_is_no_reason_to_begin(desk: Desk) -> None:
    """Where nothing was ever said, nothing needs to be taken back."""
    said = "nothing to do and nothing said before on pull request 1: no comment\n"
    assert desk.comment(plans.nothing()) == (0, "", said)
    assert desk.writes == 0


def test_the_status_is_the_plans(desk: Desk) -> None:
    """Something unknown or blocked by a mistake is 1, whatever became of the comment."""
    assert [desk.comment(plan)[0] for plan in (plans.held(), plans.held(), plans.small())] == [1, 1, 0]


def test_a_fork_gets_it_in_the_summary(desk: Desk) -> None:
    """403: the plan goes to the step's summary with one line of notice, the status is the plan's."""
    desk.token = "fork"
    status, out, err = desk.comment(plans.small())
    assert (status, out) == (0, "")
    assert err == (
        "not allowed to comment (status 403: Resource not accessible by integration): "
        "the plan is in the step's summary instead\n"
    )
    assert desk.comments == []
    assert desk.summarised.splitlines()[0] == NOTICE
    page = rendered(desk.summarised)
    assert plans.small().hash in page.text
    assert page.comments == []
    assert desk.comment(plans.held())[0] == 1


def test_without_a_summary_it_is_printed(desk: Desk) -> None:
    """The plan isn't lost."""
    desk.token, desk.summary = "fork", False
    status, out, err = desk.comment(plans.small())
    assert status == 0
    assert out.startswith(NOTICE)
    assert plans.small().hash in out
    assert "the plan follows instead" in err


def test_a_locked_pull_request(desk: Desk) -> None:
    """It is a 403 too."""
    desk.pull.locked = True
    status, _, err = desk.comment(plans.small())
    assert (status, "issue is locked" in err) == (0, True)
    assert plans.small().hash in desk.summarised


@pytest.mark.parametrize(
    "plan", [plans.hostile(), plans.large(1000, text="漢字 😀 @user"), plans.large(20, text="\x00")]
)
def test_github_takes_any_plan(desk: Desk, plan: Plan) -> None:
    """Hostile or huge: it is within what GitHub takes, and is found again."""
    assert desk.comment(plan)[2] == "commented on pull request 1\n"
    assert desk.comment(plan)[2] == "the comment on pull request 1 says the same already\n"
    page = rendered(desk.comments[0].body)
    assert (page.found, page.comments, set(page.links)) == ([], ["reconcile:plan"], {plans.RUN})


def test_edits_of_records_are_warned_of(desk: Desk) -> None:
    """The pull request's files say so, whatever the plan says."""
    desk.pull.files = ["desired/outline.yaml", "state/outline.json"]
    desk.comment(plans.small())
    assert "This pull request edits `state/`" in desk.comments[0].body


def test_a_failed_plan_replaces_an_old_one(desk: Desk) -> None:
    """Who pushes a mistake sees it where the plan was, and the status is 1."""
    desk.comment(plans.small())
    failed = saved.dump(None, UpstreamError("status 503 @user", where="api.example.com"))
    assert desk.comment(failed)[0] == 1
    (comment,) = desk.comments
    page = rendered(comment.body)
    assert "There is no plan" in page.text
    assert "api.example.com: status 503 @user" in page.text
    assert (page.found, page.comments) == ([], ["reconcile:plan"])


class TestFromAFork:
    """What a job of `workflow_run` does: find the pull request, and trust nothing."""

    @pytest.fixture
    def fork(self, desk: Desk) -> LocalPull:
        desk.pull = desk.mirror.pull("mallory:topic", "b" * 40)
        return desk.pull

    def flags(self, sha: str = "b" * 40) -> tuple[str, ...]:
        url = "https://github.example/acme/mirror/actions/runs/99"
        return ("--head", "mallory:topic", "--sha", sha, "--run-url", url)

    def test_the_pull_request_is_found(self, desk: Desk, fork: LocalPull) -> None:
        """By its head's owner and branch, and the run's commit; the link leads to the run that made the plan."""
        assert desk.comment(plans.small(), *self.flags()) == (0, "", "commented on pull request 2\n")
        (comment,) = desk.comments
        assert "b" * 40 in comment.body
        assert rendered(comment.body).links == ["https://github.example/acme/mirror/actions/runs/99"]

    def test_of_several_the_one_with_the_commit(self, desk: Desk, fork: LocalPull) -> None:
        """A branch can have pull requests against several others."""
        desk.mirror.pull("mallory:topic", "c" * 40, base="other")
        assert desk.comment(plans.small(), *self.flags())[2] == "commented on pull request 2\n"

    def test_another_head_by_now(self, desk: Desk, fork: LocalPull) -> None:
        """Nothing is posted for what was pushed over."""
        fork.sha = "c" * 40
        assert desk.comment(plans.small(), *self.flags()) == (
            0,
            "",
            "no open pull request has that head any more: no comment\n",
        )
        said = "pull request 2 has another head by now: its own run will comment\n"
        assert desk.comment(plans.small(), "--pr", "2", "--sha", "b" * 40) == (0, "", said)
        assert desk.writes == 0

    def test_closed_by_now(self, desk: Desk, fork: LocalPull) -> None:
        """A closed pull request isn't found."""
        fork.state = "closed"
        assert "no comment" in desk.comment(plans.small(), *self.flags())[2]
        assert desk.writes == 0

    def test_two_that_cant_be_told_apart(self, desk: Desk, fork: LocalPull) -> None:
        """It is said, and nothing is posted to the wrong one."""
        desk.mirror.pull("mallory:topic", "b" * 40, base="other")
        status, _, err = desk.comment(plans.small(), *self.flags())
        assert (status, desk.writes) == (1, 0)
        assert "pull requests 3, 2 have that head" in err

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"# hello @user",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b"[" * 200_000,
            b'{"format_version": 1, "errored": {"a": 1}}',
            saved.dump(plans.small()).replace("1.2.0", "1.3.0").encode(),
        ],
    )
    def test_what_is_no_plan_is_refused(self, desk: Desk, fork: LocalPull, content: bytes) -> None:
        """Whatever the artefact holds: status 3, no comment, no traceback."""
        status, out, err = desk.comment(content, *self.flags())
        assert (status, out, desk.writes) == (3, "", 0)
        assert "plan.json" in err
        assert "Traceback" not in err

    def test_what_is_no_plain_file_is_refused(self, desk: Desk, fork: LocalPull) -> None:
        """A link, a folder, a pipe or nothing: not followed, not waited for."""
        secret = desk.folder / "secret"
        secret.write_text(saved.dump(plans.small()))
        (desk.folder / "link").symlink_to(secret)
        os.mkfifo(desk.folder / "pipe")
        for name, why in (
            ("link", "is a link"),
            ("pipe", "no plain file"),
            (".", "Is a directory"),
            ("none", "No such"),
        ):
            status, _, err = desk.run("--plan", str(desk.folder / name), *self.flags())
            assert (status, why in err, desk.writes) == (64, True, 0)

    def test_what_is_too_large_is_refused(self, desk: Desk, fork: LocalPull) -> None:
        """Not more than the cap is read."""
        file = desk.file(b"")
        with file.open("wb") as sparse:
            sparse.truncate(MAX_PLAN + 1)
        status, _, err = desk.run("--plan", str(file), *self.flags())
        assert (status, "is over 64 MiB" in err, desk.writes) == (64, True, 0)

    def test_a_hostile_error_is_only_text(self, desk: Desk, fork: LocalPull) -> None:
        """It stands in a fence, and the runner takes none of it for a command."""
        evil = "~~~~~~\n```\n</details>\n::error::x\n" + plans.HOSTILE.replace("\ud800", "")
        document = {"format_version": 1, "hash": "", "complete": False, "errored": evil}
        status, out, err = desk.comment(json.dumps(document), *self.flags())
        assert (status, out, err) == (1, "", "commented on pull request 2\n")
        page = rendered(desk.comments[0].body)
        assert (page.found, page.unbalanced, page.comments) == ([], [], ["reconcile:plan"])


def test_markdown_is_posted_as_it_is(desk: Desk) -> None:
    """With the marker once; too long or empty is refused."""
    file = desk.folder / "body.md"
    for text in ("**Hello** there\n", f"**Hello** there\n\n{MARKER}\n"):
        file.write_text(text)
        assert desk.run("--pr", "1", "--body", str(file))[0] == 0
        assert desk.comments[0].body == f"**Hello** there\n\n{MARKER}\n"
    assert desk.writes == 1
    for text, why in (("😀" * 30_001, "longer than GitHub takes"), (" \n", "is empty")):
        file.write_text(text)
        status, _, err = desk.run("--pr", "1", "--body", str(file))
        assert (status, why in err) == (64, True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "which pull request?"),
        (("--pr", "0"), "no whole number"),
        (("--pr", "1", "--head", "a:b", "--sha", SHA), "which pull request?"),
        (("--head", "topic", "--sha", SHA), "names no head"),
        (("--head", "a:b"), "names no head"),
        (("--head", "a:b c", "--sha", SHA), "names no head"),
        (("--pr", "1", "--sha", "abc"), "names no commit"),
        (("--pr", "1", "--run-url", "javascript:alert(1)"), "no https URL"),
        (("--pr", "1", "--body", "x"), "what is to be posted?"),
    ],
)
def test_usage(desk: Desk, arguments: tuple[str, ...], why: str) -> None:
    """Status 64 and what to write, before anything is asked."""
    status, out, err = desk.run("--plan", str(desk.file(plans.small())), *arguments)
    assert (status, out, why in err) == (64, "", True)
    assert desk.github.asked() == []


def test_without_a_token(desk: Desk) -> None:
    """A usage error that says how to give one."""
    desk.token = ""
    status, _, err = desk.comment(plans.small())
    assert (status, "set GITHUB_TOKEN" in err) == (64, True)


def test_the_token_is_seen_nowhere(desk: Desk) -> None:
    """Not in the comment, not in the summary, not in an error, though the plan holds it."""
    desk.github.accounts["ghs_0123456789abcdef"] = Account(JOB_LOGIN, installation=True)
    desk.token = "ghs_0123456789abcdef"
    plan = plans.large(3, text=f"refused {desk.token}")
    _, out, err = desk.comment(plan)
    desk.github.accounts[desk.token] = Account(JOB_LOGIN, writes=False, installation=True)
    desk.comments.clear()
    _, more_out, more_err = desk.comment(plan)
    bodies = "".join(comment.body for comment in desk.comments)
    assert desk.token not in out + err + more_out + more_err + bodies + desk.summarised
    assert "[hidden]" in desk.summarised


def test_errors_of_github_are_ours(desk: Desk) -> None:
    """Status 1, what GitHub said and where; the plan's status doesn't hide it."""
    desk.token = "stolen"
    status, out, err = desk.comment(plans.small())
    assert (status, out) == (1, "")
    assert "status 401: Bad credentials" in err


class TestUncertain:
    """An answer that doesn't come leaves open whether the comment was written."""

    PULL = Pull(1, SHA)

    async def stick(self, desk: Desk, time: Time, text: str = f"new\n\n{MARKER}\n", quiet: bool = False) -> Posted:
        async with connect(desk.environment(), clock=time.clock) as github:
            return await _stick(github, self.PULL, text, quiet=quiet, sha=SHA)

    async def test_it_wasnt(self, desk: Desk) -> None:
        """It is written then, once."""
        time = Time()
        desk.github.fail("POST", Reply(502))
        assert await self.stick(desk, time) is Posted.ADDED
        assert len(desk.comments) == 1
        assert time.slept

    async def test_it_was(self, desk: Desk) -> None:
        """It is found by looking again, and not doubled."""
        real = desk.github.more
        assert real is not None

        def cut(method: str, target: str, headers: object, body: bytes) -> Reply | None:
            reply = real(method, target, headers, body)  # type: ignore[arg-type]
            return replace(reply, cut=True) if reply is not None and method == "POST" else reply

        desk.github.more = cut
        assert await self.stick(desk, Time()) is Posted.UNCHANGED
        assert len(desk.comments) == 1

    async def test_it_ends(self, desk: Desk) -> None:
        """After three attempts it is said."""
        desk.github.fail("POST", Reply(502), times=100)
        with pytest.raises(Unsure, match="status 502"):
            await self.stick(desk, Time())
        assert len(desk.github.asked("POST")) == 3

    async def test_deleted_in_between(self, desk: Desk) -> None:
        """A comment that is gone when it is edited is made again."""
        desk.mirror.comment(1, JOB_LOGIN, f"old\n\n{MARKER}")
        desk.github.fail("PATCH", Reply(404, b'{"message": "Not Found"}'))
        real = desk.comments[0].id
        assert await self.stick(desk, Time()) is Posted.EDITED
        desk.mirror.delete(real)
        assert await self.stick(desk, Time(), quiet=True) is Posted.NOTHING
        assert await self.stick(desk, Time()) is Posted.ADDED

    async def test_pushed_in_between(self, desk: Desk) -> None:
        """The head is looked at right before the effect."""
        desk.pull.sha = "c" * 40
        assert await self.stick(desk, Time()) is Posted.OUTDATED
        assert desk.writes == 0

    async def test_two_of_ours(self, desk: Desk) -> None:
        """Where two runs at once made one each, the older one stays and the other points to it."""
        first, second = (desk.mirror.comment(1, JOB_LOGIN, f"{n}\n\n{MARKER}") for n in "12")
        assert await self.stick(desk, Time()) is Posted.EDITED
        assert first.body.startswith("new")
        assert second.body.startswith("**reconcile plan:** superseded, see http")
        writes = desk.writes
        assert await self.stick(desk, Time()) is Posted.UNCHANGED
        assert desk.writes == writes
