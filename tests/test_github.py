"""GitHub's API as the comment needs it, against a local one with its manners."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import GitHubError, UsageError
from reconciler.github import JOB_LOGIN, Comment, Unsure, connect
from reconciler.local.github import Account, LocalGitHub, LocalMirror, LocalPull
from reconciler.local.upstream import RateLimit, Reply
from reconciler.upstream.patience import Patience
from tests.upstream.conftest import Time

SHA = "a" * 40


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def github(tmp_path: Path) -> Iterator[LocalGitHub]:
    with LocalGitHub(tmp_path / "github") as running:
        running.accounts["personal"] = Account("octocat")
        running.accounts["read-only"] = Account(JOB_LOGIN, writes=False, installation=True)
        yield running


@pytest.fixture
def mirror(github: LocalGitHub) -> LocalMirror:
    return github.mirror("acme/mirror")


@pytest.fixture
def pull(mirror: LocalMirror) -> LocalPull:
    return mirror.pull("acme:topic", SHA)


def env(github: LocalGitHub, token: str = "github-token") -> dict[str, str]:  # noqa: S107
    return {**github.env, "GITHUB_REPOSITORY": "acme/mirror", "GITHUB_TOKEN": token}


async def test_whose_a_token_is(github: LocalGitHub) -> None:
    """A person's token says so; a job's may not ask, and is the bot's."""
    async with connect(env(github, "personal")) as api:
        assert await api.login() == "octocat"
    async with connect(env(github)) as api:
        assert await api.login() == JOB_LOGIN
    async with connect(env(github, "stolen")) as api:
        with pytest.raises(GitHubError, match="status 401") as error:
            await api.login()
        assert "GITHUB_TOKEN" in str(error.value)


async def test_all_comments_of_all_pages(github: LocalGitHub, mirror: LocalMirror, pull: LocalPull) -> None:
    """In order, however many pages, by the links that GitHub gives (its pages have another address)."""
    made = [mirror.comment(pull.number, "someone", f"number {n}") for n in range(250)]
    async with connect(env(github)) as api:
        found = [comment async for comment in api.comments(pull.number)]
    assert [comment.id for comment in found] == [comment.id for comment in made]
    assert [asked.status for asked in github.asked("comments")] == [200, 200, 200]
    assert len(github.asked("/repositories/")) == 2


async def test_a_comment_is_added_and_edited(github: LocalGitHub, mirror: LocalMirror, pull: LocalPull) -> None:
    """What is written is what stands there, by whoever the token belongs to."""
    async with connect(env(github)) as api:
        await api.add(pull.number, "first\n| 漢字 😀 |")
        (comment,) = [comment async for comment in api.comments(pull.number)]
        assert (comment.author, comment.body) == (JOB_LOGIN, "first\n| 漢字 😀 |")
        await api.edit(comment, "second")
    assert [(c.login, c.body, c.writes) for c in mirror.comments(pull.number)] == [(JOB_LOGIN, "second", 2)]


async def test_pulls_from_a_branch(github: LocalGitHub, mirror: LocalMirror) -> None:
    """Open ones from exactly that branch of that owner: a fork's commit names no pull request."""
    wanted = mirror.pull("mallory:topic", SHA)
    mirror.pull("acme:topic", SHA)
    mirror.pull("mallory:topic", SHA, state="closed")
    async with connect(env(github)) as api:
        assert [pull.number for pull in await api.pulls_from("mallory:topic")] == [wanted.number]
        # GitHub lists all of them for a head it doesn't understand
        assert await api.pulls_from("topic") == ()


async def test_files_of_a_pull_request(github: LocalGitHub, mirror: LocalMirror) -> None:
    """Edits of records are seen on any page, moved away too; other folders aren't taken for it."""
    many = [f"desired/app-{n}.yaml" for n in range(150)]
    touching = mirror.pull("a:x", SHA, files=[*many, "state/outline.json"])
    moved = mirror.pull("a:y", SHA, files=["old.json"], renamed_from={"old.json": "state/outline.json"})
    other = mirror.pull("a:z", SHA, files=[*many, "statements/x.md", "desired/state/x"])
    async with connect(env(github)) as api:
        assert [await api.touches(pull.number, "state") for pull in (touching, moved, other)] == [True, True, False]


@pytest.mark.parametrize(
    ("token", "status", "todo"),
    [("read-only", 403, "pull-requests: write"), ("stolen", 401, "a token that is valid")],
)
async def test_what_is_refused_is_said(
    github: LocalGitHub, pull: LocalPull, token: str, status: int, todo: str
) -> None:
    """With GitHub's own words, its status, and what to do; asked once only."""
    async with connect(env(github, token)) as api:
        with pytest.raises(GitHubError, match=f"status {status}: ") as error:
            await api.add(pull.number, "text")
    assert (error.value.status, todo in str(error.value)) == (status, True)
    assert not isinstance(error.value, Unsure)
    assert len(github.asked("POST")) == 1


async def test_a_text_that_is_too_long(github: LocalGitHub, pull: LocalPull) -> None:
    """GitHub says how long one may be."""
    async with connect(env(github)) as api:
        with pytest.raises(GitHubError, match=r"422: Validation Failed: Body is too long \(maximum is 65536"):
            await api.add(pull.number, "x" * 65_537)


async def test_what_isnt_there(github: LocalGitHub, mirror: LocalMirror) -> None:
    """No such pull request, no such comment."""
    async with connect(env(github)) as api:
        for asking in (api.pull(99), api.add(99, "x"), api.edit(Comment(1, "", "", ""), "x")):
            with pytest.raises(GitHubError) as error:
                await asking
            assert error.value.status == 404


async def test_reading_is_tried_again(github: LocalGitHub, pull: LocalPull, time: Time) -> None:
    """502 and a cut answer are no answer."""
    github.fail("GET .*/pulls/1", Reply(502, b"<html>"))
    github.fail("GET .*/pulls/1", Reply(200, b'{"number": 1', cut=True))
    async with connect(env(github), clock=time.clock) as api:
        assert (await api.pull(1)).head == SHA
    assert len(github.asked("pulls/1")) == 3


async def test_reading_ends(github: LocalGitHub, pull: LocalPull, time: Time) -> None:
    """It is tried for a bounded time, and then said."""
    github.fail("GET", Reply(502), times=1000)
    async with connect(env(github), clock=time.clock) as api:
        with pytest.raises(GitHubError, match="status 502"):
            await api.pull(1)
    assert len(github.asked()) <= 5


@pytest.mark.parametrize("reply", [Reply(502), Reply(500, b"{}"), Reply(201, b"{", cut=True)])
async def test_writing_is_sent_once(github: LocalGitHub, pull: LocalPull, reply: Reply, time: Time) -> None:
    """Without a definite answer it may have been written: that is for the caller to look at."""
    github.fail("POST", reply)
    async with connect(env(github), clock=time.clock) as api:
        with pytest.raises(Unsure):
            await api.add(pull.number, "text")
    assert len(github.asked("POST")) == 1


async def test_the_secondary_limit_is_waited_for(github: LocalGitHub, pull: LocalPull, time: Time) -> None:
    """What comes after it waits as long as GitHub asked for."""
    said = b'{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
    github.fail("POST", Reply(403, said, {"retry-after": "7"}))
    async with connect(env(github), clock=time.clock) as api:
        with pytest.raises(Unsure, match="too many requests"):
            await api.add(pull.number, "text")
        await api.pull(1)
    assert time.slept == [pytest.approx(7, abs=0.5)]


async def test_the_primary_limit_is_no_refusal(github: LocalGitHub, pull: LocalPull, time: Time) -> None:
    """A 403 for it doesn't mean that the token may not."""
    github.apis.rate = RateLimit(remaining=0, now=time.now, reset=time.at + 1000)
    async with connect(env(github), clock=time.clock, patience=Patience(total=60)) as api:
        with pytest.raises(GitHubError, match="asks to come back in 1000 s") as error:
            await api.pull(1)
        assert error.value.status is None
        time.at += 1000
        assert (await api.pull(1)).head == SHA


async def test_the_token_goes_to_the_api_alone(github: LocalGitHub, tmp_path: Path) -> None:
    """A link or a redirect to another host is followed without it."""
    with LocalGitHub(tmp_path / "other") as other:
        reply = Reply(307, b"", {"location": f"{other.api_url}/repos/acme/mirror/pulls/1"})
        github.fail("GET", reply)
        other.mirror("acme/mirror").pull("acme:topic", SHA)
        async with connect(env(github), allow_private=True) as api:
            assert (await api.pull(1)).head == SHA
        assert [("authorization" in asked.headers) for asked in github.asked() + other.asked()] == [True, False]


async def test_no_redirect_leads_into_the_network(github: LocalGitHub, tmp_path: Path) -> None:
    """The API's host may be private as the operator named it; another one may not."""
    with LocalGitHub(tmp_path / "other") as other:
        github.fail("GET", Reply(307, b"", {"location": f"{other.api_url}/user"}))
        async with connect(env(github)) as api:
            with pytest.raises(GitHubError, match="refused"):
                await api.pull(1)
        assert other.asked() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"number": "1"}', b'{"number": 1, "head": []}', b"\xff"])
async def test_answers_that_make_no_sense(github: LocalGitHub, body: bytes) -> None:
    """They are errors with the address, never a traceback."""
    github.fail("GET", Reply(200, body), times=2)
    async with connect(env(github)) as api:
        with pytest.raises(GitHubError, match=r"127\.0\.0\.1.*(no JSON|no sense)"):
            await api.pull(1)
        with pytest.raises(GitHubError):
            await api.login()


async def test_pages_without_end(github: LocalGitHub, mirror: LocalMirror, pull: LocalPull) -> None:
    """A server that always has another page is left."""
    again = f'<{github.api_url}/repos/acme/mirror/issues/1/comments?page=2>; rel="next"'
    github.fail("GET", Reply(200, b"[]", {"link": again}), times=1000)
    async with connect(env(github)) as api:
        with pytest.raises(GitHubError, match="more than 100 pages"):
            [comment async for comment in api.comments(pull.number)]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"GITHUB_TOKEN": ""}, "no token"),
        ({"GITHUB_TOKEN": "a b"}, "what no token can hold"),
        ({"GITHUB_REPOSITORY": ""}, "GITHUB_REPOSITORY"),
        ({"GITHUB_REPOSITORY": "acme/.."}, "GITHUB_REPOSITORY"),
        ({"GITHUB_REPOSITORY": "acme/mirror/../../x"}, "GITHUB_REPOSITORY"),
        ({"GITHUB_API_URL": "api"}, "GITHUB_API_URL"),
        ({"GITHUB_API_URL": "https://u:p@api.example"}, "GITHUB_API_URL"),
        ({"GITHUB_API_URL": "https://[api"}, "GITHUB_API_URL"),
    ],
)
async def test_an_environment_that_lacks_something(github: LocalGitHub, changed: dict[str, str], what: str) -> None:
    """A usage error that names it, before anything is asked."""
    with pytest.raises(UsageError, match=what):
        async with connect({**env(github), **changed}):
            pass
    assert github.asked() == []


async def test_plain_http_is_for_this_machine(github: LocalGitHub) -> None:
    """A token isn't sent in the clear to anywhere else."""
    async with connect({**env(github), "GITHUB_API_URL": "http://api.example.com"}) as api:
        with pytest.raises(GitHubError, match="isn't https"):
            await api.login()
