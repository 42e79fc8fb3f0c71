"""Tools are fetched from Debian by apt, once, by any number of processes, and over any number of kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.errors import ToolError, ToolMissing
from reconciler.local import debian
from reconciler.local.debian import Apt, Package, Source, depends, unpack
from reconciler.local.tools import Tool, obtain
from tests.stack.running import run_tool

FETCH = """
import sys
from pathlib import Path
from reconciler.local.tools import Tool, obtain
say = lambda line: print(line, flush=True)
print(obtain(Tool.CRANE, Tool.SKOPEO, cache=Path(sys.argv[1]), say=say)[Tool.CRANE], flush=True)
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with the system's own programs alone."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")


def fetch(cache: Path) -> subprocess.Popen[str]:
    """A process that obtains crane and skopeo."""
    return subprocess.Popen([sys.executable, "-c", FETCH, cache], stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("bare")
def test_killed_then_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill in the middle two processes at once get the tools by one fetch; then nobody asks apt any more."""
    killed = fetch(tmp_path)
    assert killed.stdout is not None
    assert killed.stdout.readline().startswith("fetching crane, skopeo from Debian")
    killed.kill()
    killed.communicate()
    both = [fetch(tmp_path), fetch(tmp_path)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(said).count("fetching") == 1
    assert not list(tmp_path.rglob(".new-*"))

    def no_apt(*_: object, **__: object) -> str:
        raise AssertionError("apt was asked again")

    monkeypatch.setattr(debian, "run", no_apt)
    tools = obtain(Tool.CRANE, Tool.SKOPEO, cache=tmp_path)
    assert "".join(said).count(str(tools[Tool.CRANE])) == 2
    # skopeo needs libraries that few machines have: they came with it, or were there
    assert run_tool(tools[Tool.SKOPEO], "--version").stdout.startswith("skopeo version")
    run_tool(tools[Tool.CRANE], "version")


@pytest.mark.usefixtures("bare")
def test_an_archive_that_isnt_signed_by_debian_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the archive's signature isn't checked against gives no tool, and says what to install instead."""
    own = debian.own_source(debian.sources(), debian.release()["VERSION_CODENAME"])
    assert own is not None
    (tmp_path / "no.gpg").touch()
    stranger = debian.Source(own.uri, own.suite, own.components, str(tmp_path / "no.gpg"))
    monkeypatch.setattr(debian, "sources", lambda: (stranger,))
    with pytest.raises(ToolMissing) as caught:
        obtain(Tool.CRANE, cache=tmp_path / "cache")
    assert "install crane" in str(caught.value)
    assert "go-containerregistry" in str(caught.value)
    assert any("signature" in line or "signed" in line for line in caught.value.tail)
    assert not list((tmp_path / "cache").rglob("crane"))


@pytest.mark.usefixtures("bare")
def test_a_cache_that_cant_be_written_is_named(tmp_path: Path) -> None:
    """A cache folder that is a file is an error of ours, with the variable to set."""
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match="can't be kept") as caught:
        obtain(Tool.CRANE, cache=tmp_path / "file")
    assert "RECONCILE_CACHE" in caught.value.todo
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def make_package(folder: Path, needs: str) -> Path:
    """A real package of one file."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/hello").write_text("hello")
    (tree / "DEBIAN/control").write_text(
        f"Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.test>\nDescription: x\nDepends: {needs}\n"
    )
    subprocess.run(["dpkg-deb", "--build", tree, folder / "hello_1_all.deb"], check=True, capture_output=True)
    return folder / "hello_1_all.deb"


def test_packages_are_unpacked_not_installed(tmp_path: Path) -> None:
    """A package's files land in the folder, and what it depends on is read from it."""
    deb = make_package(tmp_path, "libc6 (>= 2.34), liba1 | libb1, libc:any")
    unpack(deb, tmp_path / "out")
    assert (tmp_path / "out/usr/bin/hello").read_text() == "hello"
    assert depends(deb) == ("libc6", "liba1", "libc")


def test_apt_fetches_nothing_unsigned(tmp_path: Path) -> None:
    """A real apt, asked for a package of an archive (on this machine) without any signature, refuses."""
    archive = tmp_path / "archive"
    (archive / "dists/stable/main/binary-amd64").mkdir(parents=True)
    (archive / "dists/stable/Release").write_text("Suite: stable\nComponents: main\nArchitectures: amd64\n")
    (archive / "dists/stable/main/binary-amd64/Packages").write_text("")
    (tmp_path / "work").mkdir()
    apt = Apt(tmp_path / "work", Source(f"file:{archive}", "stable", ("main",)), "amd64")
    with pytest.raises(ToolError, match="apt-get update failed") as refused:
        apt.update([Package("hello", "stable", "amd64")])
    assert any("signed" in line for line in refused.value.tail)
