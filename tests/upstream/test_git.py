"""Git is run safely, asked once, and what it says is told in words."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from reconciler.errors import UpstreamError
from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.model.upstream import Filter, GitTags
from reconciler.upstream import NoRef, Upstreams
from reconciler.upstream.git import Git, environment, last_words
from reconciler.upstream.http import Http
from reconciler.upstream.patience import Patience
from reconciler.upstream.process import TooLong, TooMuch, run
from tests.upstream.conftest import Time

TAGS = "refs/tags/"


async def test_plain_git_source(upstream: LocalUpstream, run: Upstreams) -> None:
    """A git source gives stable tags by number with their commits, without any API."""
    hello = upstream.repository("acme/hello")
    hello.tags(["v1.10.0", "v1.9.0", "v1.9.2-0"])
    annotated = hello.release("v1.2.0", {"f": "x"}, annotated=True)
    found = await run.releases(GitTags(upstream.git_url("acme/hello")), Filter(), enough=3)
    assert [r.tag for r in found] == ["v1.10.0", "v1.9.0", "v1.2.0"]
    assert found[2].commit == annotated
    assert upstream.asked("api") == []


async def test_refs_become_commits_by_one_question(upstream: LocalUpstream, run: Upstreams) -> None:
    """Tags (peeled), branches, full refs and commits are resolved; what isn't there is said per ref."""
    hello = upstream.repository("acme/hello")
    light = hello.release("v1", {"f": "1"})
    annotated = hello.release("v2", {"f": "2"}, annotated=True)
    url = upstream.git_url("acme/hello")
    found = await run.commits(url, ["v1", "v2", "main", "refs/tags/v2", "0" * 40, "v3"])
    assert found == {
        "v1": light,
        "v2": annotated,
        "main": annotated,
        "refs/tags/v2": annotated,
        "0" * 40: "0" * 40,
        "v3": NoRef(f"{url} has no tag or branch v3"),
    }
    await run.commits(url, ["v1"])
    await run.releases(GitTags(url), Filter("v{version}"), enough=1)
    # one for the tags, and one for the branches because of main
    assert len(upstream.asked("POST")) == 2


async def test_full_commits_need_no_question(run: Upstreams, upstream: LocalUpstream) -> None:
    """A commit in full is pinned already."""
    assert await run.commits(upstream.git_url("acme/none"), ["a" * 40]) == {"a" * 40: "a" * 40}
    assert upstream.asked() == []


async def test_missing_repository_is_told_without_asking_again(upstream: LocalUpstream, run: Upstreams) -> None:
    """A repository that isn't there, or isn't public, is a definite answer; nobody is asked for a password."""
    with pytest.raises(UpstreamError, match="isn't there or isn't public"):
        await run.commits(upstream.git_url("acme/none"), ["v1"])
    assert len(upstream.asked()) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_passing_trouble_is_waited_out(upstream: LocalUpstream, run: Upstreams, status: int) -> None:
    """A server in trouble is asked again."""
    hello = upstream.repository("acme/hello")
    commit = hello.release("v1", {"f": "1"})
    upstream.fail("info/refs", Reply(status), times=2)
    assert await run.commits(upstream.git_url("acme/hello"), ["v1"]) == {"v1": commit}


async def test_garbage_is_told(upstream: LocalUpstream, run: Upstreams) -> None:
    """A web page is no repository."""
    upstream.repository("acme/hello")
    upstream.fail("info/refs", Reply(200, b"<html>\x1b[31m</html>", {"content-type": "text/html"}), times=9)
    with pytest.raises(UpstreamError, match="git finds nothing there"):
        await run.commits(upstream.git_url("acme/hello"), ["v1"])


async def test_hosts_that_only_serve_files(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """A repository that a plain web server serves is read by git itself, which needs no smart server."""
    hello = upstream.repository("acme/hello")
    commit = hello.release("v1", {"f": "1"}, annotated=True)
    folder = hello.bare.folder
    done = await asyncio.create_subprocess_exec("git", "-C", str(folder), "update-server-info")
    assert await done.wait() == 0
    for name in ("info/refs", "HEAD"):
        upstream.file(f"hello.git/{name}", (folder / name).read_bytes())
    assert await run.git.tags(f"{upstream.url}/files/hello.git") == {"v1": commit}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"001e# service=git-upload-pack\n0000000eversion 2\n", "cut"),
        (b"001e# service=git-upload-pack\n0000zzzz", "garbled"),
        (b"0099short", "garbled"),
        (b"0016ERR not for you\x07\n0000", "refused: not for you"),
        (b"0008abcd0000", "makes no sense"),
        (b"", "cut"),
    ],
)
async def test_broken_protocol_is_told(upstream: LocalUpstream, run: Upstreams, body: bytes, words: str) -> None:
    """Cut and garbled lists of refs are errors, not short lists."""
    upstream.repository("acme/hello").tags(["v1"])
    kind = {"content-type": "application/x-git-upload-pack-advertisement"}
    upstream.fail("info/refs", Reply(200, body, kind))
    with pytest.raises(UpstreamError, match=words):
        await run.git.tags(upstream.git_url("acme/hello"))


async def test_broken_list_is_told(upstream: LocalUpstream, run: Upstreams) -> None:
    """The same holds for the second answer of version 2."""
    upstream.repository("acme/hello").tags(["v1"])
    kind = {"content-type": "application/x-git-upload-pack-result"}
    upstream.fail("POST", Reply(200, b"0008abcd0000", kind))
    with pytest.raises(UpstreamError, match="makes no sense"):
        await run.git.tags(upstream.git_url("acme/hello"))


@pytest.mark.parametrize("strict", [False, True])
async def test_both_protocols_agree_with_git(upstream: LocalUpstream, run: Upstreams, strict: bool) -> None:
    """Whatever version a host speaks, the refs are those that git itself lists."""
    upstream.strict_git = strict
    hello = upstream.repository("acme/hello")
    hello.tags([f"v1.{n}" for n in range(20)])
    hello.release("v2", {"f": "2"}, annotated=True)
    url = upstream.git_url("acme/hello")
    for prefix in (TAGS, "refs/heads/"):
        found = await run.git.refs(url, prefix)
        assert found == await run.git._ls_remote(url, prefix)
        assert found


async def test_redirect_to_elsewhere_is_checked(upstream: LocalUpstream, run: Upstreams) -> None:
    """Git follows no redirect by itself: one that leads where it may not is refused."""
    upstream.repository("acme/hello")
    target = "http://10.0.0.1/acme/hello.git/info/refs?service=git-upload-pack"
    upstream.fail("info/refs", Reply(301, b"", {"location": target}), times=9)
    with pytest.raises(UpstreamError, match="isn't https"):
        await run.commits(upstream.git_url("acme/hello"), ["v1"])


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1/x.git",
        "https://localhost:1/x.git",
        "https://10.0.0.1/x.git",
        "https://[::1]:1/x.git",
        "http://example.org/x.git",
    ],
)
async def test_private_addresses_are_refused(url: str, time: Time) -> None:
    """Without the operator's flag no git process goes to this machine or its network, or speaks plain http."""
    async with Upstreams.open({}, clock=time.clock) as run:
        with pytest.raises(UpstreamError, match=r"refused|https only"):
            await run.commits(url, ["v1"])
        with pytest.raises(UpstreamError, match=r"refused|https only"):
            await run.git._ls_remote(url, TAGS)
    assert time.slept == []


async def test_git_itself_follows_no_redirect(upstream: LocalUpstream, run: Upstreams) -> None:
    """Where git is redirected, each step is checked before git is sent there; a loop or a stranger is refused."""
    commit = upstream.repository("acme/hello").release("v1", {"f": "1"})
    upstream.rename("acme/hello", "acme/moved")
    url = upstream.git_url("acme/hello")
    assert await run.git._ls_remote(url, TAGS) == {"refs/tags/v1": commit}
    for target in ("http://10.0.0.1/x", f"{upstream.url}/acme/none.git/info/refs?service=git-upload-pack"):
        upstream.fail("acme/moved.git/info/refs", Reply(301, b"", {"location": target}), times=2)
        with pytest.raises(UpstreamError, match=r"refused|redirects to no git repository"):
            await run.git._ls_remote(upstream.git_url("acme/moved"), TAGS)


async def test_git_itself_tries_again(upstream: LocalUpstream, run: Upstreams, time: Time) -> None:
    """Passing trouble is waited out for git too, a definite answer isn't; unknown names end after a few attempts."""
    commit = upstream.repository("acme/hello").release("v1", {"f": "1"})
    upstream.fail("info/refs", Reply(503), times=2)
    assert await run.git._ls_remote(upstream.git_url("acme/hello"), TAGS) == {"refs/tags/v1": commit}
    assert len(time.slept) == 2
    with pytest.raises(UpstreamError, match="isn't there or isn't public"):
        await run.git._ls_remote(upstream.git_url("acme/none"), TAGS)
    assert len(time.slept) == 2
    with pytest.raises(UpstreamError, match="can't be reached"):
        await run.git._ls_remote("https://no-such-host.invalid/x.git", TAGS)


@pytest.mark.parametrize("url", ["ext::sh -c id", "file:///etc/x", "/etc/x", "--upload-pack=id", "ssh://host/x"])
async def test_only_http_urls_reach_git(url: str, run: Upstreams) -> None:
    """What could start a program or read a file is refused before git starts."""
    with pytest.raises(UpstreamError, match="no git URL"):
        await run.commits(url, ["v1"])


def spy(folder: Path, script: str) -> str:
    """A program in place of git."""
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


async def test_git_inherits_nothing(
    upstream: LocalUpstream, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, proxies and configuration of this process aren't in git's environment, whose commands are pinned."""
    secrets = (
        "GITHUB_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "HTTPS_PROXY",
        "GIT_CONFIG_COUNT",
    )
    for name in secrets:
        monkeypatch.setenv(name, "secret-value")
    seen = tmp_path / "seen"
    zeros = "0" * 40
    program = spy(tmp_path, f'env > {seen}; printf "%s\\n" "$@" >> {seen}; printf "{zeros}\\trefs/tags/v1\\n"')
    async with Http(allow_private=True, clock=time.clock) as http:
        assert await Git(http, program=program)._ls_remote("http://localhost:1/x.git", TAGS) == {
            "refs/tags/v1": "0" * 40
        }
    text = seen.read_text()
    assert "secret-value" not in text
    assert "protocol.file.allow=never" in text
    assert "credential.helper=" in text
    assert "http.curloptResolve=localhost:1:" in text
    assert text.splitlines()[-2:] == ["--", "http://localhost:1/x.git"]
    assert set(environment("/x")) & set(os.environ) <= {"PATH", "HOME", "LC_ALL", "GIT_SSL_CAINFO"}


def gone(pid: int) -> bool:
    """Whether a process has ended (it may wait to be reaped by whoever inherited it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_git_that_hangs_or_floods_is_ended(tmp_path: Path, time: Time) -> None:
    """A git that never ends or never stops talking is killed with its children."""
    pid = tmp_path / "pid"
    async with Http(allow_private=True, clock=time.clock, patience=Patience(total=0.3)) as http:
        with pytest.raises(UpstreamError, match="took longer"):
            await Git(http, program=spy(tmp_path, f"sleep 600 & echo $! > {pid}; wait"))._ls_remote(
                "http://localhost:1/x", TAGS
            )
        child = int(pid.read_text())
    assert gone(child)
    env = {"PATH": os.environ["PATH"]}
    with pytest.raises(TooMuch):
        await run(["sh", "-c", "while :; do echo flood; done"], env, seconds=20, cap=100_000)
    with pytest.raises(TooLong):
        await run(["sh", "-c", "while :; do echo flood >&2; done"], env, seconds=0.1, cap=100)


async def test_without_git_it_says_so(tmp_path: Path, time: Time) -> None:
    """Where git isn't there, what to do is said."""
    async with Http(allow_private=True, clock=time.clock) as http:
        with pytest.raises(UpstreamError, match="git isn't there") as caught:
            await Git(http, program=str(tmp_path / "none"))._ls_remote("http://localhost:1/x.git", TAGS)
    assert "install git" in str(caught.value)


@pytest.mark.parametrize("line", ["garbage", "0123\trefs/tags/x", "0" * 40 + "\tHEAD", "0" * 40 + " refs/tags/x"])
async def test_strange_output_is_refused(tmp_path: Path, time: Time, line: str) -> None:
    """What isn't a list of refs isn't taken for an empty one."""
    async with Http(allow_private=True, clock=time.clock) as http:
        with pytest.raises(UpstreamError, match="makes no sense"):
            await Git(http, program=spy(tmp_path, f"echo '{line}'"))._ls_remote("http://localhost:1/x.git", TAGS)


def test_last_words_are_harmless() -> None:
    """Of what a server said, one printable line of bounded length is told."""
    assert last_words("first\nremote: \x1b[31mno\x07\n\n") == "remote: [31mno"
    assert last_words("") == "nothing"
    assert len(last_words("x" * 10_000)) == 300
