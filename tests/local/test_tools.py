"""Which tools of the machine will do, and what is said where none can be had. Fetching: tests/stack/test_obtain.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ToolMissing
from reconciler.local import debian, tools
from reconciler.local.catalogue import CATALOGUE, ENGINE, EVERY
from reconciler.local.tools import Tool, Tools, cache_folder, obtain, on_path

SAYS = {
    "docker": "Docker version 28.2.2, build e6534b4",
    "docker-buildx": "github.com/docker/buildx v0.29.1 28f6246",
    "cosign": "GitVersion:    v3.1.1",
    "dockerd": "Docker version 28.5.2, build x",
    "containerd": "containerd github.com/containerd/containerd/v2 v2.1.9 x",
    "containerd-shim-runc-v2": "containerd-shim-runc-v2:\n  Version:  v2.1.9",
    "runc": "runc version 1.3.0",
    "crane": "0.20.7",
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, and no plugin folders of docker."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(tools, "_PLUGIN_FOLDERS", ())
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def program(folder: Path, name: str, says: str, status: int = 0) -> Path:
    """A program that says something."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\nexit {status}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("tool", "says", "good"),
    [
        (Tool.COSIGN, "GitVersion:    v3.1.1", True),
        (Tool.COSIGN, "GitVersion:    v3.0.4", False),
        (Tool.COSIGN, "GitVersion:    2.5.0-2+b5", False),
        (Tool.COSIGN, "GitVersion:    devel", False),
        (Tool.DOCKER, "Docker version 28.2.2, build e6534b4", True),
        (Tool.DOCKER, "podman version 5.4.0", False),
        (Tool.BUILDX, "github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", True),
        (Tool.BUILDX, "github.com/docker/buildx v0.13.1 x", False),
        (Tool.SKOPEO, "skopeo version 1.18.0", True),
        (Tool.ORAS, "Version:        1.3.3", True),
    ],
)
def test_what_is_new_enough(path: Path, tool: Tool, says: str, good: bool) -> None:
    """A tool on PATH is taken by what it says of its version, never by its name alone."""
    assert on_path(tool) is None
    file = program(path, CATALOGUE[tool].on_path.program, says)  # type: ignore[union-attr]
    assert on_path(tool) == (file if good else None)
    program(path, file.name, says, status=1)
    assert on_path(tool) is None


def test_buildx_is_found_where_docker_finds_it(path: Path, tmp_path: Path) -> None:
    """The buildx plugin need not be on PATH."""
    plugin = program(tmp_path / "docker" / "cli-plugins", "docker-buildx", SAYS["docker-buildx"])
    assert on_path(Tool.BUILDX) == plugin


def test_tools_on_path_need_nothing_else(path: Path, tmp_path: Path) -> None:
    """Where the machine has all that is asked for, neither cache nor network are touched."""
    files = {name: program(path, name, says) for name, says in SAYS.items()}
    found = obtain(Tool.CRANE, *ENGINE, cache=tmp_path / "cache")
    assert found.paths == {
        Tool.CRANE: files["crane"],
        **{tool: files[str(tool)] for tool in ENGINE},
    }
    assert not (tmp_path / "cache").exists()
    assert found.search_path.split(":")[0] == str(path)


def test_an_engine_is_never_mixed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one part of an engine is missing or too old, none of the others is taken."""
    for name, says in SAYS.items():
        program(path, name, says)
    program(path, "runc", "runc version 1.0.0")
    monkeypatch.setattr(debian, "release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora 42"})
    with pytest.raises(ToolMissing, match=r"dockerd, containerd, containerd-shim-runc-v2, runc: not here.*Fedora 42"):
        obtain(*ENGINE, cache=tmp_path)


def test_elsewhere_it_says_exactly_what_to_install(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Debian: each missing tool, its least version and where people get it; tools that are there aren't named."""
    monkeypatch.setattr(debian, "release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora 42"})
    program(path, "crane", SAYS["crane"])
    with pytest.raises(ToolMissing) as caught:
        obtain(Tool.CRANE, Tool.COSIGN, Tool.BUILDX, cache=tmp_path)
    assert str(caught.value) == (
        "cosign, docker-buildx: not here, and can't be fetched: this is Fedora 42, not Debian\n"
        "  install cosign 3.1 or newer (github.com/sigstore/cosign, its releases); "
        "docker-buildx 0.20 or newer (github.com/docker/buildx, its releases)"
    )


def test_without_apt_and_without_glibc(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Debian without apt, or with a C library too old for the programs, is named as such."""
    monkeypatch.setattr(debian, "release", lambda: {"ID": "debian"})
    with pytest.raises(ToolMissing, match="apt-get and dpkg and dpkg-deb not found"):
        obtain(Tool.CRANE, cache=tmp_path)
    for name in ("apt-get", "dpkg", "dpkg-deb"):
        program(path, name, "")
    monkeypatch.setattr(tools.platform, "libc_ver", lambda: ("glibc", "2.31"))  # type: ignore[attr-defined]
    with pytest.raises(ToolMissing, match=r"the C library is glibc 2\.31, not glibc 2\.34"):
        obtain(Tool.CRANE, cache=tmp_path)


def test_no_debian_archive(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources without a Debian archive: nothing is guessed."""
    monkeypatch.setattr(debian, "release", lambda: {"ID": "debian", "VERSION_CODENAME": "trixie"})
    monkeypatch.setattr(debian, "sources", lambda: ())
    for name in ("apt-get", "dpkg", "dpkg-deb"):
        program(path, name, "amd64")
    with pytest.raises(ToolMissing, match="name no Debian archive"):
        obtain(Tool.CRANE, cache=tmp_path)


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RECONCILE_CACHE before XDG_CACHE_HOME before ~/.cache; a relative XDG_CACHE_HOME is ignored, as XDG says."""
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.delenv("RECONCILE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/x/.cache/reconcile")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/c")
    assert cache_folder() == Path("/var/c/reconcile")
    monkeypatch.setenv("RECONCILE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_tools_that_were_not_asked_for() -> None:
    """Asking for a tool that `obtain` wasn't asked for is an error that says so."""
    with pytest.raises(ToolMissing, match="oras was not asked for") as caught:
        Tools({})[Tool.ORAS]
    assert "Tool.ORAS in obtain()" in caught.value.todo


def test_every_tool_has_an_entry() -> None:
    """The catalogue is complete."""
    assert set(CATALOGUE) == set(EVERY) == set(Tool)
