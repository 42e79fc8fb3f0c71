"""A checkout is a commit's files, and nothing else."""

from pathlib import Path

import pytest

from reconciler.errors import BuildError, ReconcileError, UpstreamError
from reconciler.local.upstream import Entry, LocalUpstream, program, submodule, symlink
from reconciler.upstream import Upstreams


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_files_of_the_commit(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """Exactly the files of that commit are there, with their modes and links; no .git; the commit's time is told."""
    hello = upstream.repository("acme/hello")
    commit = hello.release(
        "v1",
        {"a/b.txt": "one", "run": program("#!/bin/sh\n"), "link": symlink("a/b.txt"), "up": symlink("a/../run")},
        date="2024-03-01T12:00:00Z",
        annotated=True,
    )
    hello.release("v2", {"a/b.txt": "two"})
    target = tmp_path / "deep" / "source"
    done = await run.checkout(upstream.git_url("acme/hello"), commit, target)
    assert (done.path, done.commit, done.epoch) == (target, commit, 1709294400)
    assert tree(target) == {"a/b.txt": "one", "run": "#!/bin/sh\n", "link": "one", "up": "#!/bin/sh\n"}
    assert str((target / "link").readlink()) == "a/b.txt"
    assert (mode(target / "run"), mode(target / "a/b.txt"), mode(target / "a")) == (0o755, 0o644, 0o755)
    assert not (target / ".git").exists()


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "../../outside", "self/../../outside", "a/../../../outside", "/", "loop/x"]
)
async def test_symlink_out_of_the_tree_is_refused(
    upstream: LocalUpstream, run: Upstreams, tmp_path: Path, link: str
) -> None:
    """A link that leads out of the source, through another one too, blocks that release and is named."""
    files: dict[str, Entry | str | bytes] = {
        "a/x": "x",
        "bad/self": symlink("."),
        "bad/loop": symlink("../.."),
        "bad/link": symlink(link),
    }
    if not link.startswith("loop"):
        del files["bad/loop"]
    commit = upstream.repository("acme/hello").release("v1", files)
    with pytest.raises(BuildError, match=r"bad/l\w+ is a symlink out of the source"):
        await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source")


@pytest.mark.parametrize("link", ["../outside", "gone", ".", "..", "../bad/../a/x"])
async def test_symlink_inside_is_kept(upstream: LocalUpstream, run: Upstreams, tmp_path: Path, link: str) -> None:
    """A link that stays inside is kept as it is, also where it names nothing."""
    commit = upstream.repository("acme/hello").release("v1", {"a/x": "x", "bad/link": symlink(link)})
    done = await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source")
    assert str((done.path / "bad/link").readlink()) == link


async def test_commit_that_upstream_lost(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """A commit that can't be had is an upstream's error, told once."""
    upstream.repository("acme/hello").release("v1", {"f": "x"})
    with pytest.raises(UpstreamError, match="can't be fetched"):
        await run.checkout(upstream.git_url("acme/hello"), "1" * 40, tmp_path / "source")


async def test_old_hosts_are_asked_by_ref(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """A host that serves only what refs name is asked for the ref, which must still name the commit."""
    upstream.strict_git = True
    hello = upstream.repository("acme/hello")
    (hello.bare.folder / "config").write_text("[core]\n\tbare = true\n\trepositoryformatversion = 0\n")
    first = hello.release("v1", {"f": "1"})
    hello.release("v2", {"f": "2"})
    url = upstream.git_url("acme/hello")
    await run.checkout(url, first, tmp_path / "one", ref="v1")
    assert tree(tmp_path / "one") == {"f": "1"}
    hello.release("v1", {"f": "moved"})
    hello.bare.delete_tag("v2")
    with pytest.raises(BuildError, match=f"v1 no longer names {first[:12]}"):
        await run.checkout(url, first, tmp_path / "two", ref="v1")


async def test_renamed_repository_is_fetched(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """A repository that moved is fetched from where it is now."""
    commit = upstream.repository("acme/hello").release("v1", {"f": "1"})
    upstream.rename("acme/hello", "acme/moved")
    await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source")
    assert tree(tmp_path / "source") == {"f": "1"}


async def test_submodules_only_where_asked(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """Submodules are left out, or filled at the very commit that the tree names."""
    inner = upstream.repository("acme/inner")
    pinned = inner.release("v1", {"in.txt": "pinned"})
    inner.release("v2", {"in.txt": "newer"})
    modules = '[submodule "x"]\n\tpath = sub/x\n\turl = ../inner.git\n'
    commit = upstream.repository("acme/hello").release(
        "v1", {".gitmodules": modules, "sub/x": submodule(pinned), "f": "x"}
    )
    url = upstream.git_url("acme/hello")
    await run.checkout(url, commit, tmp_path / "without")
    assert tree(tmp_path / "without") == {".gitmodules": modules, "f": "x"}
    await run.checkout(url, commit, tmp_path / "with", submodules=True)
    assert tree(tmp_path / "with") == {".gitmodules": modules, "f": "x", "sub/x/in.txt": "pinned"}


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("x", "file:///etc"),
        ("x", "ext::sh -c id"),
        ("x", "http://10.0.0.1/x"),
        ("../x", "../inner.git"),
        ("x", "--help"),
    ],
)
async def test_hostile_submodules_are_refused(
    upstream: LocalUpstream, run: Upstreams, tmp_path: Path, path: str, address: str
) -> None:
    """A submodule can't read files, start programs, reach other networks or leave the tree."""
    modules = f'[submodule "m"]\n\tpath = {path}\n\turl = {address}\n'
    commit = upstream.repository("acme/hello").release("v1", {".gitmodules": modules, "x": submodule("1" * 40)})
    with pytest.raises((BuildError, UpstreamError)):
        await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source", submodules=True)


async def test_target_must_be_empty(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """Nothing is mixed into a folder that holds something."""
    commit = upstream.repository("acme/hello").release("v1", {"f": "x"})
    (tmp_path / "file").write_text("x")
    with pytest.raises(BuildError, match="isn't empty"):
        await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path)
    with pytest.raises(ReconcileError):
        await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "file" / "x")


@pytest.mark.parametrize("commit", ["v1", "abc", "-" * 40, "A" * 40])
async def test_only_full_commits(run: Upstreams, upstream: LocalUpstream, tmp_path: Path, commit: str) -> None:
    """What isn't a commit in full never reaches git."""
    with pytest.raises(BuildError, match="no commit in full"):
        await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source")


async def test_hooks_and_filters_do_nothing(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """What a tree says about filters starts no program and changes no byte."""
    files: dict[str, Entry | str | bytes] = {
        ".gitattributes": "* filter=lfs\n",
        "f": "a\nb\n",
        "hooks/post-checkout": program("#!/bin/sh\nfalse\n"),
    }
    commit = upstream.repository("acme/hello").release("v1", files)
    await run.checkout(upstream.git_url("acme/hello"), commit, tmp_path / "source")
    assert tree(tmp_path / "source") == {**files, "hooks/post-checkout": "#!/bin/sh\nfalse\n"}
