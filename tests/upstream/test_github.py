"""Releases on GitHub: right whatever the API's order, and cheap."""

import json
from pathlib import Path

import httpx
import pytest

from reconciler.errors import UpstreamError, UsageError
from reconciler.local import upstream_api
from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, GitHubReleases
from reconciler.upstream import Upstreams, github
from tests.upstream.conftest import DATA, Time

HELLO = GitHubReleases("acme/hello")


def versions(releases: tuple[Release, ...]) -> list[str]:
    return [str(release.version) for release in releases]


def api(upstream: LocalUpstream) -> list[str]:
    return [asked.path.removeprefix("/api/v3/repos/acme/hello") for asked in upstream.asked("/api/v3/")]


async def test_window_costs_one_list_and_one_page(upstream: LocalUpstream, run: Upstreams) -> None:
    """Where the highest are among the newest hundred, one ls-remote and one API request give the window."""
    hello = upstream.repository("acme/hello")
    hello.tags([(f"v1.{n}.0", f"2024-{1 + n // 28:02}-{1 + n % 28:02}T10:00:00Z") for n in range(150)])
    found = await run.releases(HELLO, Filter(), enough=10)
    assert versions(found) == [f"1.{n}.0" for n in range(149, 139, -1)]
    assert found[0] == Release(found[0].version, "v1.149.0", hello.commit("v1.149.0"), "2024-06-10T10:00:00Z")
    assert api(upstream) == ["/releases?per_page=100"]
    assert [a.path for a in upstream.asked("hello.git")] == [
        "/acme/hello.git/info/refs?service=git-upload-pack",
        "/acme/hello.git/git-upload-pack",
    ]


async def test_drafts_prereleases_and_plain_tags_never_count(upstream: LocalUpstream, run: Upstreams) -> None:
    """What GitHub doesn't call a stable release isn't one, whatever its tag says."""
    hello = upstream.repository("acme/hello")
    hello.release("v1.0.0", {"f": "1"})
    hello.release("v2.0.0", draft=True)
    hello.release("v3.0.0", prerelease=True)
    hello.release("v4.0.0", published=False)
    hello.release("v1.1.0-rc1")
    annotated = hello.release("v0.9.0", annotated=True)
    found = await run.releases(HELLO, Filter(), enough=10)
    assert versions(found) == ["1.0.0", "0.9.0"]
    assert found[1].commit == annotated
    survey = await run.survey(HELLO, Filter(exclude=("1.0.0",)), enough=1)
    unpublished = "GitHub has no published release for this tag, or calls it a pre-release"
    assert versions(survey.releases) == ["0.9.0"]
    assert [(one.tag, one.reason) for one in survey.passed_over] == [
        ("v4.0.0", unpublished),
        ("v3.0.0", unpublished),
        ("v2.0.0", unpublished),
        ("v1.1.0-rc1", "1.1.0-rc1 is a pre-release"),
        ("v1.0.0", "1.0.0 is excluded"),
    ]


async def test_highest_may_stand_on_any_page(upstream: LocalUpstream, run: Upstreams) -> None:
    """A high version that was released long ago is found behind hundreds of newer patches of old lines."""
    hello = upstream.repository("acme/hello")
    hello.tags([(f"v9.0.{n}", f"2010-01-{1 + n:02}T00:00:00Z") for n in range(3)])
    hello.tags([(f"v1.{n}.0", f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(450)])
    found = await run.releases(HELLO, Filter(), enough=5)
    assert versions(found) == ["9.0.2", "9.0.1", "9.0.0", "1.449.0", "1.448.0"]
    # one page, and three by tag: no more than reading the four others would have cost
    assert len(api(upstream)) == 4


async def test_many_plain_tags_cost_at_most_twice_all_pages(upstream: LocalUpstream, run: Upstreams) -> None:
    """Where hundreds of tags aren't releases, all pages are read once instead of asking for each."""
    hello = upstream.repository("acme/hello")
    hello.tags([f"v9.{n}.0" for n in range(300)], published=False)
    hello.tags([(f"v1.{n}.0", f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(350)])
    found = await run.releases(HELLO, Filter(), enough=10)
    assert versions(found) == [f"1.{n}.0" for n in range(349, 339, -1)]
    assert len(api(upstream)) <= 2 * 4


async def test_releases_past_the_served_results_are_found(
    upstream: LocalUpstream, run: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub lists only the newest 10,000 (here 200): what lies beyond is asked for by tag, and plain tags stay out."""
    monkeypatch.setattr(upstream_api, "_SERVED", 200)
    monkeypatch.setattr(github, "_LAST_PAGE", 2)
    hello = upstream.repository("acme/hello")
    hello.tags([(f"v9.0.{n}", f"2010-01-{1 + n:02}T00:00:00Z") for n in range(5)])
    hello.tags([f"v8.0.{n}" for n in range(5)], published=False)
    hello.tags([(f"v1.{n}.0", f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(300)])
    found = await run.releases(HELLO, Filter(), enough=7)
    assert versions(found) == ["9.0.4", "9.0.3", "9.0.2", "9.0.1", "9.0.0", "1.299.0", "1.298.0"]


async def test_asking_again_costs_only_what_is_new(upstream: LocalUpstream, run: Upstreams) -> None:
    """A window that must reach further back asks nothing twice; `enough` may look at the releases themselves."""
    hello = upstream.repository("acme/hello")
    hello.tags([f"v1.{n}.0" for n in range(20)])
    first = await run.releases(HELLO, Filter(), enough=3)
    before = len(upstream.asked())
    found = await run.releases(
        HELLO, Filter(), enough=lambda releases: any(str(r.version) == "1.9.0" for r in releases)
    )
    assert versions(found)[:3] == versions(first)
    assert versions(found)[-1] == "1.9.0"
    assert len(upstream.asked()) == before


async def test_two_apps_share_what_was_learnt(upstream: LocalUpstream, run: Upstreams) -> None:
    """Two filters on one repository cost one list of tags and one page."""
    hello = upstream.repository("acme/hello")
    hello.tags([f"v{n}.0.0{suffix}" for n in range(5) for suffix in ("", "-limitless")])
    assert versions(await run.releases(HELLO, Filter("v{version}-limitless"), enough=2)) == ["4.0.0", "3.0.0"]
    assert versions(await run.releases(HELLO, Filter(versions="<3"), enough=2)) == ["2.0.0", "1.0.0"]
    assert len(upstream.asked("POST")) == len(api(upstream)) == 1


async def test_outline_window_through_the_whole_stack(upstream: LocalUpstream, run: Upstreams) -> None:
    """Outline's real tags, served by git and GitHub's API in small, give the right window and latest."""
    rows = [line.split() for line in (DATA / "outline-tags.txt").read_text().splitlines()]
    upstream.repository("acme/hello").tags([(row[0], row[2]) for row in rows])
    found = await run.releases(HELLO, Filter(), enough=10)
    assert versions(found) == ["1.9.2", "1.9.1", "1.9.0", "1.8.1", "1.8.0", "1.7.1", "1.7.0", "1.6.1", "1.6.0", "1.5.0"]
    assert found[0].date == "2026-07-21T01:28:53Z"


async def test_warm_run_spends_no_rate_limit_with_a_token(upstream: LocalUpstream, tmp_path: Path, time: Time) -> None:
    """With a token and a cache, a second run's answers are 304s, which GitHub doesn't count (protocols 6.4)."""
    upstream.repository("acme/hello").tags([f"v1.{n}.0" for n in range(150)])
    env = {**upstream.env, "GITHUB_TOKEN": "local-token"}
    seen: list[object] = []
    for _ in range(2):
        async with Upstreams.open(env, allow_private=True, cache=tmp_path / "etags", clock=time.clock) as run:
            seen.append(await run.releases(HELLO, Filter(), enough=10))
        seen.append(upstream.apis.rate.remaining)
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]
    assert [asked.status for asked in upstream.asked("/api/v3/")] == [200, 304]
    upstream.repository("acme/hello").release("v2.0.0")
    async with Upstreams.open(env, allow_private=True, cache=tmp_path / "etags", clock=time.clock) as run:
        assert versions(await run.releases(HELLO, Filter(), enough=1)) == ["2.0.0"]


async def test_ruined_cache_only_costs_requests(upstream: LocalUpstream, tmp_path: Path, time: Time) -> None:
    """Whatever stands in the cache folder, the answer is right."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    cache = tmp_path / "etags"
    for ruin in (None, b"", b"[]", b'{"key": 1}', b"\xff", {"value": 1}, {"value": {"v1.0.0": 1}}, {"etag": "a\r\nb"}):
        for file in cache.glob("*.json"):
            file.write_bytes(
                ruin if isinstance(ruin, bytes) else json.dumps(json.loads(file.read_text()) | (ruin or {})).encode()
            )
        async with Upstreams.open(upstream.env, allow_private=True, cache=cache, clock=time.clock) as run:
            assert versions(await run.releases(HELLO, Filter(), enough=1)) == ["1.0.0"]
    assert [asked.status for asked in upstream.asked("/api/v3/")] == [200] * 8


async def test_token_goes_to_the_api_alone(upstream: LocalUpstream, time: Time) -> None:
    """The token is sent to the API's host; git and other hosts never see it, not even by a redirect."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    other = upstream.file("x", b"x").replace("127.0.0.1", "localhost")
    env = {**upstream.env, "GITHUB_TOKEN": "local-token"}
    async with Upstreams.open(env, allow_private=True, clock=time.clock) as run:
        await run.releases(HELLO, Filter(), enough=1)
        await run.answers(upstream.redirect("away", other))
    assert {a.headers.get("authorization") for a in upstream.asked("/api/v3/")} == {"Bearer local-token"}
    assert all("authorization" not in a.headers for a in upstream.asked("hello.git|/files/x"))
    assert len(upstream.asked("hello.git|/files/x")) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("GITHUB_API_URL", "api"), ("GITHUB_SERVER_URL", "https://a b"), ("GITHUB_TOKEN", "a\nb"), ("GITHUB_TOKEN", "é")],
)
async def test_nonsense_in_the_environment_is_told(name: str, value: str) -> None:
    """An environment that can't be meant is told before anything is asked; a token isn't shown."""
    with pytest.raises(UsageError, match=name) as caught:
        async with Upstreams.open({name: value}):
            pass
    assert name != "GITHUB_TOKEN" or value not in str(caught.value)


async def test_primary_rate_limit_waits_or_says_until_when(upstream: LocalUpstream, run: Upstreams, time: Time) -> None:
    """A reset within patience is waited for; one beyond it is said, and the host isn't asked again by other apps."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.repository("acme/other").tags(["v1.0.0"])
    rate = upstream.apis.rate
    rate.now, rate.remaining, rate.reset = time.now, 0, time.at + 3000
    with pytest.raises(UpstreamError, match=r"403, too many requests; it asks to come back in 3000 s") as caught:
        await run.releases(HELLO, Filter(), enough=1)
    assert "GITHUB_TOKEN" in str(caught.value)
    with pytest.raises(UpstreamError, match="rate limit is used up"):
        await run.releases(GitHubReleases("acme/other"), Filter(), enough=1)
    assert len(upstream.asked("/api/v3/")) == 1
    assert time.slept == []
    time.at += 2990
    rate.remaining = 0
    limited = Reply(403, b"{}", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(rate.reset))})
    upstream.fail("/api/v3/", limited)
    rate.remaining = 10
    assert versions(await run.releases(HELLO, Filter(), enough=1)) == ["1.0.0"]
    assert 10 <= sum(time.slept) < 30


@pytest.mark.parametrize(
    ("reply", "least"),
    [
        (Reply(429, b"{}", {"retry-after": "7"}), 7.0),
        (Reply(403, b'{"message": "You have exceeded a secondary rate limit."}'), 60.0),
        (Reply(403, b"{}", {"retry-after": "5"}), 5.0),
        (Reply(503, b""), 0.1),
        (Reply(500, b""), 0.1),
        (Reply(502, b"<html>", {"retry-after": "2"}), 2.0),
        (Reply(200, b'[{"tag_name": "v1.0.0", "draft"', cut=True), 0.1),
    ],
)
async def test_passing_trouble_is_waited_out(
    upstream: LocalUpstream, run: Upstreams, time: Time, reply: Reply, least: float
) -> None:
    """Limits, errors of the server and cut answers are asked again after the time that was asked for."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.fail("/api/v3/", reply)
    assert versions(await run.releases(HELLO, Filter(), enough=1)) == ["1.0.0"]
    assert sum(time.slept) >= least
    assert len(upstream.asked("/api/v3/")) == 2


@pytest.mark.parametrize(
    "body", [b"{}", b"not json", b'[{"tag_name": 1}]', b'[{"tag_name": "v1", "draft": 0}]', b"[1]", b"[" * 5000]
)
async def test_garbage_is_an_error_of_that_app(upstream: LocalUpstream, run: Upstreams, body: bytes) -> None:
    """An answer that makes no sense is no empty list of releases."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.fail("/api/v3/", Reply(200, body), times=9)
    with pytest.raises(UpstreamError, match="makes no sense"):
        await run.releases(HELLO, Filter(), enough=1)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "refuses the token"), (403, "forbids"), (404, "no such repository"), (418, "status 418")],
)
async def test_refusals_say_what_to_do(upstream: LocalUpstream, run: Upstreams, status: int, words: str) -> None:
    """Definite refusals aren't retried, and are told in words."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.fail("/api/v3/", Reply(status, b"{}"))
    with pytest.raises(UpstreamError, match=words):
        await run.releases(HELLO, Filter(), enough=1)
    assert len(upstream.asked("/api/v3/")) == 1


async def test_trouble_without_end_ends(upstream: LocalUpstream, run: Upstreams, time: Time) -> None:
    """A server that never recovers is given up within patience."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.fail("/api/v3/", Reply(503), times=99)
    with pytest.raises(UpstreamError, match="status 503"):
        await run.releases(HELLO, Filter(), enough=1)
    assert sum(time.slept) < 75
    assert len(upstream.asked("/api/v3/")) == 5


async def test_oversized_answers_are_refused(upstream: LocalUpstream, run: Upstreams) -> None:
    """A body over the cap isn't read to its end."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.fail("/api/v3/", Reply(200, b" " * (33 * 1024 * 1024)))
    with pytest.raises(UpstreamError, match="over 33,554,432 bytes"):
        await run.releases(HELLO, Filter(), enough=1)


async def test_renamed_repository_is_followed(upstream: LocalUpstream, run: Upstreams) -> None:
    """A repository that moved is found under its old name, in git and in the API."""
    upstream.repository("acme/hello").tags(["v1.0.0"])
    upstream.rename("acme/hello", "acme/moved")
    assert versions(await run.releases(HELLO, Filter(), enough=1)) == ["1.0.0"]


async def test_without_network_the_app_fails_in_words(time: Time) -> None:
    """Where nothing can be reached the error comes after a few quick attempts, and is an UpstreamError."""

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    env = {"GITHUB_SERVER_URL": "http://127.0.0.1:1", "GITHUB_API_URL": "http://127.0.0.1:1"}
    async with Upstreams.open(env, allow_private=True, clock=time.clock, transport=httpx.MockTransport(refuse)) as run:
        with pytest.raises(UpstreamError, match=r"acme/hello.git: can't be reached: no route"):
            await run.releases(HELLO, Filter(), enough=1)
        assert sum(time.slept) < 3
