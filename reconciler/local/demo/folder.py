"""The folder of one demo: it goes with the demo, and what a killed one left is cleared away by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.errors import ToolError, UsageError

PREFIX = "reconcile-demo-"
_LOCK = "lock"


@contextmanager
def room(chosen: Path | None) -> Iterator[Path]:
    """An empty folder: `chosen`, which stays, or a temporary one, which doesn't.

    Raises UsageError where `chosen` holds something, ToolError where it can't be made.
    """
    if chosen is not None:
        yield _kept(chosen)
        return
    base = Path(tempfile.gettempdir()).absolute()
    clear_stale(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ToolError(
            f"the demo's folder can't be made: {error.strerror}",
            where=str(base),
            todo="set TMPDIR to a folder that can be written, or name one with --folder",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _kept(chosen: Path) -> Path:
    folder = chosen.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("the demo's folder isn't empty", where=str(folder), todo="name a new one")
    except OSError as error:
        raise UsageError(f"the demo's folder can't be made: {error.strerror}", where=str(folder)) from None
    return folder


def clear_stale(base: Path) -> None:
    """Remove the folders of demos that are dead: nobody holds their lock, which goes with its process."""
    for folder in base.glob(f"{PREFIX}*"):
        # somebody else's, gone meanwhile, not locked yet, or locked by a demo that lives
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
