"""What base images are made of. Building them: tests/stack/test_toolchain.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ToolError
from reconciler.local.catalogue import Tool
from reconciler.local.images import PLATFORMS, _applets, _root, tools_for
from reconciler.model.platform import Platform


def busybox(folder: Path, *applets: str) -> Path:
    """A file with a table of applets between other things, as in a busybox."""
    table = b"".join(applet.encode() + b"\0" for applet in applets)
    file = folder / "busybox"
    file.write_bytes(b"\x7fELF" + b"x" * 100 + b"\0" + table + b"\x01\x02trailing\0")
    return file


def test_applets_are_read_from_the_program(tmp_path: Path) -> None:
    """The table is found and ends where its order does; the program need not run here."""
    assert _applets(busybox(tmp_path, "[", "[[", "ash", "ls", "sh", "zcat")) == ["[", "[[", "ash", "ls", "sh", "zcat"]


@pytest.mark.parametrize("applets", [("ls", "sh"), ("[", "[[", "ls")])
def test_not_a_busybox(tmp_path: Path, applets: tuple[str, ...]) -> None:
    """No table, or one without a shell, is an error rather than an image without a shell."""
    with pytest.raises(ToolError, match="doesn't say what it can do"):
        _applets(busybox(tmp_path, *applets))


def test_the_root_is_complete(tmp_path: Path) -> None:
    """The program, a link for each applet, accounts, and a /tmp that everybody may write."""
    _root(tmp_path / "root", busybox(tmp_path, "[", "[[", "busybox", "sh"))
    assert (tmp_path / "root/bin/sh").readlink() == Path("busybox")
    assert not (tmp_path / "root/bin/busybox").is_symlink()
    assert (tmp_path / "root/tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "root/etc/passwd").read_text().startswith("root:")


def test_tools_for_platforms() -> None:
    """Each platform needs its own busybox; one without is an error that names those with."""
    assert tools_for(PLATFORMS) == (Tool.BUSYBOX_AMD64, Tool.BUSYBOX_ARM64)
    with pytest.raises(ToolError, match="linux/s390x") as caught:
        tools_for([Platform.parse("linux/s390x")])
    assert "linux/arm/v7" in caught.value.todo
