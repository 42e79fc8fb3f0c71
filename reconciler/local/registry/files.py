"""Content by its digest, in files: whole or not there, whenever the process dies.

Nothing is synced to the disk: a killed process loses nothing that the kernel has, and only a power cut could.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

from reconciler.errors import ReconcileError
from reconciler.model.digest import Digest

_CHUNK = 1024 * 1024


class Files:
    """`content/<algorithm>/<two hex>/<hex>`; what isn't finished stands in `unfinished/`."""

    def __init__(self, root: Path) -> None:
        """Make the folders, and clear away what an earlier process didn't finish."""
        self._content = root / "content"
        self._unfinished = root / "unfinished"
        self._names = itertools.count()
        self._unfinished.mkdir(parents=True, exist_ok=True)
        for left in self._unfinished.iterdir():
            left.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where that content is, if it's there."""
        return self._content / digest.algorithm / digest.hex[:2] / digest.hex

    def unfinished(self) -> Path:
        """A new path to write to, in the same file system."""
        return self._unfinished / f"{os.getpid()}-{next(self._names)}"

    def put(self, digest: Digest, data: bytes) -> Path:
        """Write that content; the caller has made sure that it matches."""
        target = self.path(digest)
        if not target.exists():
            source = self.unfinished()
            try:
                source.write_bytes(data)
                self.adopt(source, digest)
            except OSError as error:
                raise ReconcileError(f"can't be written: {error}", where=str(target), todo="make room") from error
        return target

    def adopt(self, source: Path, digest: Digest) -> Path:
        """Move a finished file to where its content belongs."""
        target = self.path(digest)
        try:
            source.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        return target


def digest_file(path: Path, algorithm: str) -> Digest:
    """The digest of a file, read in pieces."""
    running = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            running.update(data)
    return Digest(algorithm, running.hexdigest())
