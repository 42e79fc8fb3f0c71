"""The upstream on this machine behaves as the real ones do: seen with git and with plain HTTP."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ReconcileError
from reconciler.local.upstream import LocalUpstream, Reply, program, symlink


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[LocalUpstream]:
    with LocalUpstream(tmp_path / "upstream") as running:
        yield running


def git(*arguments: str, cwd: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(["git", *arguments], cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


def get(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def test_git_clones_what_was_given(upstream: LocalUpstream, tmp_path: Path) -> None:
    """A plain git clones the files, modes and links of a release, and sees both kinds of tag peeled to its commit."""
    hello = upstream.repository("acme/hello")
    first = hello.release("v1.0.0", {"a.txt": "one\n", "gone": "x"})
    second = hello.release(
        "v1.1.0", {"a.txt": "two\n", "run": program("#!/bin/sh\n"), "l": symlink("a.txt")}, annotated=True
    )
    listed = git("ls-remote", "--tags", upstream.git_url("acme/hello"), cwd=tmp_path)
    assert f"{first}\trefs/tags/v1.0.0\n" in listed
    assert f"{second}\trefs/tags/v1.1.0^{{}}\n" in listed
    git("clone", "--quiet", "--depth=1", "--branch=v1.1.0", upstream.git_url("acme/hello"), "tree", cwd=tmp_path)
    tree = tmp_path / "tree"
    assert (tree / "l").read_text() == "two\n"
    assert os.access(tree / "run", os.X_OK)
    assert not (tree / "gone").exists()
    assert git("rev-parse", "HEAD", cwd=tree).strip() == second == hello.commit("v1.1.0")


def test_release_can_be_added_moved_and_withdrawn(upstream: LocalUpstream, tmp_path: Path) -> None:
    """What is released while the server runs is seen by the next question."""
    hello = upstream.repository("acme/hello")
    old = hello.release("v1", {"f": "1"})
    new = hello.release("v1", {"f": "2"})
    hello.release("v2")
    hello.withdraw("v2")
    listed = git("ls-remote", "--tags", upstream.git_url("acme/hello"), cwd=tmp_path)
    assert listed == f"{new}\trefs/tags/v1\n"
    assert old != new


def test_github_pages_drafts_and_etags(upstream: LocalUpstream) -> None:
    """GitHub's list is paged by date with links, hides drafts from strangers, and answers 304 to a known ETag."""
    hello = upstream.repository("acme/hello")
    hello.tags([(f"v{n}", f"2024-01-{n:02}T00:00:00Z") for n in range(1, 29)])
    hello.release("v99", draft=True, date="2025-01-01T00:00:00Z")
    hello.release("v98", prerelease=True, date="2023-01-01T00:00:00Z")
    hello.release("v97", published=False)
    url = f"{upstream.api_url}/repos/acme/hello/releases"
    status, headers, body = get(f"{url}?per_page=10")
    assert status == 200
    assert [r["tag_name"] for r in json.loads(body)] == [f"v{n}" for n in range(28, 18, -1)]
    assert headers["link"] == f'<{url}?per_page=10&page=2>; rel="next", <{url}?per_page=10&page=3>; rel="last"'
    assert json.loads(get(f"{url}?per_page=10&page=3")[2])[-1]["prerelease"] is True
    assert json.loads(get(f"{url}?per_page=1", authorization="Bearer local-token")[2])[0]["draft"] is True
    before = upstream.apis.rate.remaining
    etag = get(url, authorization="Bearer local-token")[1]["etag"]
    assert get(url, authorization="Bearer local-token", if_none_match=etag)[0] == 304
    assert upstream.apis.rate.remaining == before - 1
    assert get(f"{url}/tags/v97")[0] == get(f"{url}/tags/v99")[0] == 404
    assert get(f"{url}/tags/v98")[0] == 200
    assert get(url, authorization="Bearer other")[0] == 401
    assert get(f"{upstream.api_url}/repos/acme/none/releases")[0] == 404


def test_github_primary_rate_limit(upstream: LocalUpstream) -> None:
    """Past the limit GitHub answers 403 with nothing remaining and the time of the reset."""
    upstream.repository("acme/hello").release("v1", {"f": "1"})
    upstream.apis.rate.remaining, upstream.apis.rate.reset = 0, 10**10
    status, headers, _ = get(f"{upstream.api_url}/repos/acme/hello/releases")
    assert (status, headers["x-ratelimit-remaining"], headers["x-ratelimit-reset"]) == (403, "0", str(10**10))


def test_gitlab_pages(upstream: LocalUpstream) -> None:
    """GitLab lists 20 tags a page with a next link, and names the commit of an annotated tag apart from its object."""
    project = upstream.repository("group/sub/name")
    project.tags([f"v{n}" for n in range(20)])
    commit = project.release("v100", annotated=True, date="2026-01-01T00:00:00Z")
    url = f"{upstream.url}/api/v4/projects/group%2Fsub%2Fname/repository/tags"
    _, headers, body = get(url)
    first = json.loads(body)[0]
    assert (first["name"], first["commit"]["id"]) == ("v100", commit)
    assert first["target"] != commit
    assert headers["link"] == f'<{url.replace("%2F", "%2F")}?per_page=20&page=2>; rel="next"'
    assert len(json.loads(get(f"{url}?page=2")[2])) == 1


def test_files_heads_and_faults(upstream: LocalUpstream) -> None:
    """Files come and go, HEAD can be refused, redirects lead on, and answers can be made to fail."""
    url = upstream.file("a/b.tar.gz", b"data", head=405)
    assert get(url)[2] == b"data"
    assert get(url, "HEAD")[0] == 405
    assert get(upstream.redirect("elsewhere", url))[2] == b"data"
    upstream.fail("GET /files/a", Reply(503, b"", {"retry-after": "1"}))
    assert get(url)[0] == 503
    assert get(url)[0] == 200
    upstream.remove("a/b.tar.gz")
    assert get(url)[0] == 404
    assert [asked.status for asked in upstream.asked("/files/a")] == [200, 405, 200, 503, 200, 404]


def test_renamed_repository_redirects(upstream: LocalUpstream, tmp_path: Path) -> None:
    """A repository's old name leads git and the API to the new one."""
    upstream.repository("acme/old").release("v1", {"f": "1"})
    upstream.rename("acme/old", "acme/new")
    assert "refs/tags/v1" in git("ls-remote", upstream.git_url("acme/old"), cwd=tmp_path)
    assert get(f"{upstream.api_url}/repos/acme/old/releases")[0] == 200


def test_strange_names_are_refused(upstream: LocalUpstream) -> None:
    """A repository's name can't lead out of the server's folder."""
    with pytest.raises(ReconcileError, match="no repository"):
        upstream.repository("../x")
