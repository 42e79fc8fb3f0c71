"""When an emulator is needed. Registering one: tests/stack/test_engine.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ToolError
from reconciler.local import binfmt
from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools
from reconciler.model.platform import Platform

AMD64, ARM64, ARMV7 = (Platform.parse(f"linux/{name}") for name in ("amd64", "arm64", "arm/v7"))

ENTRY = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An x86_64 machine on which nobody has registered an emulator."""
    monkeypatch.setattr(binfmt, "FOLDER", tmp_path)
    monkeypatch.setattr(binfmt.machine, "machine", lambda: "x86_64")  # type: ignore[attr-defined]
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").touch()
    return tmp_path


def test_native_platforms_need_nothing(kernel: Path) -> None:
    """What the machine runs by itself needs no emulator, nor root, nor a tool."""
    assert binfmt.tools_for([AMD64]) == ()
    with binfmt.emulation([AMD64], Tools({})):
        pass


def test_foreign_platforms_need_one_each(kernel: Path) -> None:
    """One emulator for each foreign architecture, asked for once."""
    assert binfmt.tools_for([AMD64, ARM64, ARM64, ARMV7]) == (Tool.QEMU_ARM64, Tool.QEMU_ARM)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (ENTRY, True),
        (ENTRY.replace("enabled", "disabled"), False),
        (ENTRY.replace("POCF", "OC"), False),  # would not be found inside a container
        (ENTRY.replace("b700", "2800"), False),
        ("", False),
    ],
)
def test_somebody_elses_emulator(kernel: Path, text: str, runs: bool) -> None:
    """An emulator that somebody registered is used if it's on, fixed (F) and for that very architecture."""
    (kernel / "qemu-aarch64").write_text(text)
    assert binfmt.runs(ARM64) is runs
    assert not binfmt.runs(ARMV7)


def test_ours_counts_as_not_there(kernel: Path) -> None:
    """One that another run of ours registered goes with that run: it must be shared, not taken for granted."""
    (kernel / "reconcile-qemu-aarch64").write_text(ENTRY)
    assert binfmt.tools_for([ARM64]) == (Tool.QEMU_ARM64,)


def test_unknown_architectures_are_named(kernel: Path) -> None:
    """A platform without an emulator is an error that says what to do."""
    with pytest.raises(ToolError, match="linux/s390x") as caught:
        binfmt.needed([Platform.parse("linux/s390x")])
    assert "--builder" in caught.value.todo


def test_without_root_it_says_what_to_do(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering needs root; the error names the package that does it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="needs root") as caught, binfmt.emulation([ARM64], Tools({})):
        raise AssertionError("it went on")
    assert "qemu-user-static" in caught.value.todo


def test_errors_of_the_body_are_not_worded_as_ours(
    kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OSError inside `with` comes out as it is; what the kernel refuses is an error of ours."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(binfmt, "_LOCKS", tmp_path / "locks")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tools = Tools({Tool.QEMU_ARM64: Path("/qemu")})
    with pytest.raises(FileNotFoundError, match="no such place"), binfmt.emulation([ARM64], tools):
        raise FileNotFoundError("no such place")
    assert (kernel / "register").read_text() == (
        r":reconcile-qemu-aarch64:M:0:\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/qemu:FPC"
    )
    (kernel / "register").unlink()
    (kernel / "register").mkdir()
    with pytest.raises(ToolError, match="binfmt_misc: Is a directory"), binfmt.emulation([ARM64], tools):
        raise AssertionError("it went on")
