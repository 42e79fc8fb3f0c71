"""What happened to every repository, in order: one line of JSON per event, read back at the next start."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.errors import ReconcileError

Event = list[str | int]


class Journal:
    """An append-only file that one process at a time may hold.

    An event is one write, so a killed process leaves whole lines; a torn last one (a full disk) is cut off when the
    journal is opened again.
    """

    def __init__(self, path: Path) -> None:
        """Open or make it; ReconcileError where another process has it."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ReconcileError(
                "another registry uses this folder", where=str(path.parent), todo="stop it, or name another folder"
            ) from error

    def events(self) -> Iterator[Event]:
        """All events so far."""
        with self._path.open("rb") as lines:
            whole = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, whole)
                    return
                whole += len(line)
                yield json.loads(line)

    def add(self, *event: str | int) -> None:
        """Note one event."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):
                with suppress(OSError):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError("the disk is full")
        except OSError as error:
            raise ReconcileError(f"can't be written: {error}", where=str(self._path), todo="make room") from error

    def close(self) -> None:
        """Let go of it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
