"""Where no builder can be started, the demo says what to install or how to name one, and leaves nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from reconciler.errors import ToolError, ToolMissing
from reconciler.local import debian
from reconciler.local.demo.stage import stage


def attempt(folder: Path) -> ToolError:
    """The error with which it doesn't start."""
    threads = threading.active_count()
    with pytest.raises(ToolError) as caught, stage(folder, {"PATH": os.defpath}, say=lambda _: None):
        pass
    assert threading.active_count() == threads
    return caught.value


def test_without_root_it_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fetched."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    error = attempt(tmp_path)
    assert "root" in error.what
    assert "--builder demo" in error.todo


def test_elsewhere_than_on_debian_it_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tool that is missing, where it is had, and how to do with an own builder."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora Linux 42"})
    monkeypatch.setenv("RECONCILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "git").symlink_to("/usr/bin/git")
    error = attempt(tmp_path)
    assert isinstance(error, ToolMissing)
    assert "Fedora Linux 42" in error.what
    for name in ("cosign 3.1", "docker", "qemu-user-static", "busybox-static", "--builder demo"):
        assert name in error.todo
