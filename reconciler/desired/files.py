"""Reading what a desired folder holds: only regular files in it, no further than a bound, whatever their names say."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 20
MAX_FOLDER_BYTES = 64 << 20
MAX_FOLDER_FILES = 5_000


class Unreadable(Exception):
    """A file that can't be used: `what` is wrong with it, `todo` about it."""

    def __init__(self, what: str, todo: str = "") -> None:
        self.what, self.todo = what, todo
        super().__init__(what)


def inside(folder: Path, path: str) -> Path:
    """The file or folder at `path` under `folder`, symlinks followed; Unreadable where that leads out of it."""
    try:
        root = folder.resolve(strict=True)
        real = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        gone = isinstance(error, FileNotFoundError)
        raise Unreadable("it isn't there" if gone else "it can't be opened", "check the name") from None
    if not real.is_relative_to(root):
        raise Unreadable(f"it leads out of {folder.name}/", "keep what is used inside the desired folder")
    return real


def read_text(folder: Path, path: str) -> str:
    """The text of the file at `path` under `folder`: regular, at most 1 MiB, UTF-8, no NUL; Unreadable otherwise."""
    data = _read(inside(folder, path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"it isn't UTF-8 text from line {line} on", "save it as UTF-8") from None
    if "\0" in text:
        raise Unreadable("it holds a NUL byte", "save it as plain text")
    return text


def _read(real: Path) -> bytes:
    # opened without waiting, then looked at: a FIFO named like a file would block for ever, a device has no end
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"it can't be opened: {error.strerror}", "check its permissions") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Unreadable("it is no regular file", "put a plain file there")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"it can't be read: {error.strerror}", "check it") from None
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise Unreadable("it is larger than 1 MiB", "no desired file needs that")
    return data


def folder_digest(folder: Path, path: str) -> str:
    """`sha256:…` over names, kinds, executable bits and contents of all in the folder at `path` under `folder`.

    Times and owners don't count, so that every clone of a repository gives the same. Symlinks must stay in that folder.
    """
    top = inside(folder, path)
    if not top.is_dir():
        raise Unreadable("it is no folder", "name the folder that is the build's context")
    total = hashlib.sha256()
    left = MAX_FOLDER_BYTES
    names = sorted(_walk(top), key=lambda name: name.encode("utf-8", "surrogateescape"))
    if len(names) > MAX_FOLDER_FILES:
        raise Unreadable(f"it holds more than {MAX_FOLDER_FILES} files", "use a git source for that much")
    for name in names:
        kind, content = _entry(top, name, left)
        left -= len(content)
        total.update(f"{kind} {len(name.encode('utf-8', 'surrogateescape'))} {len(content)}\n".encode())
        total.update(name.encode("utf-8", "surrogateescape") + content)
    return f"sha256:{total.hexdigest()}"


def _walk(top: Path) -> list[str]:
    def give_up(error: OSError) -> None:
        raise Unreadable(f"it can't be read: {error.strerror}", "check its permissions")

    found: list[str] = []
    for place, folders, files in os.walk(top, onerror=give_up):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(top).as_posix() for name in [*files, *links]]
        if len(found) > MAX_FOLDER_FILES:
            break
    return found


def _entry(top: Path, name: str, left: int) -> tuple[str, bytes]:
    path = top / name
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            if not path.resolve().is_relative_to(top):
                raise Unreadable(f"{name!r} in it is a link that leads out of it", "replace it by a file")
            return "link", os.fsencode(path.readlink())
        if not stat.S_ISREG(mode):
            raise Unreadable(f"{name!r} in it is no regular file", "remove it")
        if path.stat().st_size > left:
            raise Unreadable(f"it holds more than {MAX_FOLDER_BYTES >> 20} MiB", "use a git source for that much")
        return "program" if mode & 0o100 else "file", path.read_bytes()
    except (OSError, RuntimeError) as error:
        raise Unreadable(f"{name!r} in it can't be read", "check it") from error
