"""Tags on any GitLab: all pages, each tag once."""

import json
from pathlib import Path

import pytest

from reconciler.errors import RegistryError, UpstreamError
from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.model.reference import Repository
from reconciler.model.upstream import Filter, GitLabTags, ImageTags
from reconciler.upstream import Upstreams
from tests.upstream.conftest import Time

NAME = "framasoft/framateam/mostlymatter"


async def test_all_pages_are_read(upstream: LocalUpstream, run: Upstreams) -> None:
    """The highest versions are found on any page, which are read once a run; commits are those of peeled tags."""
    project = upstream.repository(NAME)
    project.tags([(f"v10.{n}.0-limitless", f"2010-01-01T00:{n:02}:00Z") for n in range(3)])
    project.tags([(f"v9.{n}.0-limitless", f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(250)])
    annotated = project.release("v11.0.0-limitless", annotated=True, date="2001-01-01T00:00:00Z")
    found = await run.releases(GitLabTags(upstream.host, NAME), Filter("v{version}-limitless"), enough=10)
    assert [str(r.version) for r in found[:5]] == ["11.0.0", "10.2.0", "10.1.0", "10.0.0", "9.249.0"]
    assert (found[0].commit, found[0].date) == (annotated, "2001-01-01T00:00:00Z")
    assert len(found) == 254
    assert await run.releases(GitLabTags(upstream.host, NAME), Filter(), enough=1) == ()
    assert len(upstream.asked("/api/v4/")) == 3


async def test_warm_run_reads_what_was_kept(upstream: LocalUpstream, tmp_path: Path, time: Time) -> None:
    """A second run with a cache is answered 304, and what was kept is checked before it is believed."""
    upstream.repository(NAME).tags([f"v1.{n}.0" for n in range(120)])
    cache = tmp_path / "etags"
    for _ in range(2):
        async with Upstreams.open({}, allow_private=True, cache=cache, clock=time.clock) as run:
            found = await run.releases(GitLabTags(upstream.host, NAME), Filter(), enough=200)
        assert len(found) == 120
        async with Upstreams.open({}, allow_private=True, cache=cache, clock=time.clock) as run:
            assert await run.releases(GitLabTags(upstream.host, NAME), Filter(), enough=200) == found
        for file in cache.glob("*.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"value": [["v9.0.0", "-x", ""]]}))
    assert [asked.status for asked in upstream.asked("/api/v4/")] == [200, 200, 304, 304, 200, 200, 304, 304]


async def test_git_url_of_a_project(upstream: LocalUpstream, run: Upstreams) -> None:
    """A project's repository can be cloned from where its source says."""
    commit = upstream.repository(NAME).release("v1-limitless", {"f": "x"})
    url = run.git_url(GitLabTags(upstream.host, NAME))
    assert await run.commits(url, ["v1-limitless"]) == {"v1-limitless": commit}
    assert run.git_url(GitLabTags("framagit.org", NAME)) == f"https://framagit.org/{NAME}.git"


def page(upstream: LocalUpstream, tags: list[str], link: str) -> Reply:
    rows = [{"name": tag, "commit": {"id": "a" * 40, "committed_date": None}} for tag in tags]
    return Reply(200, json.dumps(rows).encode(), {"link": f'<{link}>; rel="next"'})


async def test_pages_that_move_and_loop(upstream: LocalUpstream, run: Upstreams) -> None:
    """A tag on two pages counts once; a loop of pages and a page on another host are errors, not an end."""
    upstream.repository(NAME).tags(["v1.0.0"])
    base = f"{upstream.url}/api/v4/projects/{NAME.replace('/', '%2F')}/repository/tags"
    source = GitLabTags(upstream.host, NAME)
    upstream.fail("per_page=100$", page(upstream, ["v1.0.0", "v2.0.0"], f"{base}?page=1"))
    found = await run.releases(source, Filter(), enough=9)
    assert [str(r.version) for r in found] == ["2.0.0", "1.0.0"]
    upstream.fail("/api/v4/", page(upstream, ["v1.0.0"], f"{base}?page=7"), times=9)
    with pytest.raises(UpstreamError, match="don't end"):
        await run.releases(GitLabTags(upstream.host, "group/looping"), Filter(), enough=9)


@pytest.mark.parametrize("link", ["http://localhost:1/x", "//[", "http://10.0.0.1/x"])
async def test_next_page_elsewhere_is_refused(upstream: LocalUpstream, run: Upstreams, link: str) -> None:
    """A link that leads to another host, or nowhere, is an error: half of the tags isn't an answer."""
    upstream.repository(NAME).tags(["v1.0.0"])
    upstream.fail("/api/v4/", page(upstream, ["v1.0.0"], link))
    with pytest.raises(UpstreamError, match=r"another host|no URL"):
        await run.releases(GitLabTags(upstream.host, NAME), Filter(), enough=9)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404, b"{}"), "no such project"),
        (Reply(422, b"{}"), "status 422"),
        (Reply(200, b"{}"), "makes no sense"),
        (Reply(200, b'[{"name": "v1", "commit": {"id": "-x"}}]'), "makes no sense"),
        (Reply(200, b'[{"name": "v1"}]'), "makes no sense"),
    ],
)
async def test_trouble_is_told(upstream: LocalUpstream, run: Upstreams, reply: Reply, words: str) -> None:
    """Refusals and garbage are errors of that app."""
    upstream.fail("/api/v4/", reply)
    with pytest.raises(UpstreamError, match=words):
        await run.releases(GitLabTags(upstream.host, NAME), Filter(), enough=9)


class Listing:
    """A registry's client that knows one list."""

    def __init__(self, tags: list[str] | None) -> None:
        self.known = tags

    async def tags(self, repository: Repository) -> list[str]:
        if self.known is None:
            raise RegistryError("status 500", where=str(repository))
        return self.known


async def test_image_tags(time: Time) -> None:
    """An image's tags are releases like any other; what a registry can't tell is an upstream's error."""
    source = ImageTags(Repository.parse("registry.example/a/b"))
    listed = Listing(["1.2", "1.10", "latest", "1.3-alpine", "sha256-" + "0" * 64])
    async with Upstreams.open({}, lister=listed, clock=time.clock) as run:
        found = await run.releases(source, Filter("{version}"), enough=9)
        assert [r.tag for r in found] == ["1.10", "1.2"]
        assert run.git_url(source) == ""
    async with Upstreams.open({}, lister=Listing(None), clock=time.clock) as run:
        with pytest.raises(UpstreamError, match="status 500"):
            await run.releases(source, Filter("{version}"), enough=9)
    async with Upstreams.open({}, clock=time.clock) as run:
        with pytest.raises(UpstreamError, match="no registry client"):
            await run.releases(source, Filter("{version}"), enough=9)
