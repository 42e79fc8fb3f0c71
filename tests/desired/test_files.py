"""Reading a folder: nothing outside of it, nothing that isn't a plain file, nothing without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.desired.files import MAX_BYTES, Unreadable, folder_digest, read_text


def test_a_file_is_read_as_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    """A byte order mark isn't part of the text."""
    (tmp_path / "a").write_bytes("\ufeffé".encode())
    assert read_text(tmp_path, "a") == "é"


def test_a_file_of_exactly_1_mib_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    """The bound is 1 MiB, counted in bytes."""
    (tmp_path / "a").write_bytes(b"x" * MAX_BYTES)
    assert len(read_text(tmp_path, "a")) == MAX_BYTES
    (tmp_path / "a").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(Unreadable, match="larger than 1 MiB"):
        read_text(tmp_path, "a")


def test_paths_and_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    """`..`, an absolute link and a link to a folder outside all end in a refusal; a link inside is fine."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_text("s")
    inner = tmp_path / "in"
    inner.mkdir()
    (inner / "plain").write_text("p")
    (inner / "absolute").symlink_to(tmp_path / "out/secret")
    (inner / "folder").symlink_to("../out")
    (inner / "good").symlink_to("plain")
    for path in ("../out/secret", "absolute", "folder/secret"):
        with pytest.raises(Unreadable, match="leads out of in/"):
            read_text(inner, path)
    assert read_text(inner, "good") == "p"


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO doesn't block, a folder, a loop of links and a missing file are told apart from text."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path, what in (("fifo", "regular"), ("folder", "regular"), ("loop", "opened"), ("gone", "isn't there")):
        with pytest.raises(Unreadable, match=what):
            read_text(tmp_path, path)


@pytest.mark.parametrize(("data", "what"), [(b"a\nb\xff", "UTF-8 text from line 2"), (b"a\0b", "NUL")])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, what: str) -> None:
    """Bytes that aren't UTF-8, and NUL, are no text."""
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(Unreadable, match=what):
        read_text(tmp_path, "a")


def _tree(top: Path) -> Path:
    (top / "sub").mkdir(parents=True)
    (top / "Dockerfile").write_text("FROM scratch\n")
    (top / "sub/run").write_text("x")
    (top / "link").symlink_to("sub/run")
    return top


def test_a_folders_digest_depends_on_its_content_alone(tmp_path: Path) -> None:
    """Two clones agree whatever their times; a byte, a name, an executable bit or a link's target changes it."""
    first = folder_digest(tmp_path, _tree(tmp_path / "a").name)
    other = _tree(tmp_path / "b")
    os.utime(other / "Dockerfile", (1, 1))
    assert folder_digest(tmp_path, "b") == first
    seen = {first}
    (other / "sub/run").write_text("y")
    seen.add(folder_digest(tmp_path, "b"))
    (other / "sub/run").chmod(0o755)
    seen.add(folder_digest(tmp_path, "b"))
    (other / "sub/run").rename(other / "sub/walk")
    seen.add(folder_digest(tmp_path, "b"))
    (other / "link").unlink()
    (other / "link").symlink_to("sub/walk")
    seen.add(folder_digest(tmp_path, "b"))
    assert len(seen) == 5


def test_a_folder_with_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    """A build's context holds nothing of what is around it."""
    _tree(tmp_path / "a")
    (tmp_path / "a/out").symlink_to("../../etc")
    with pytest.raises(Unreadable, match="'out' in it is a link that leads out of it"):
        folder_digest(tmp_path, "a")
    with pytest.raises(Unreadable, match="no folder"):
        folder_digest(tmp_path, "a/Dockerfile")
