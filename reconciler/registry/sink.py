"""A body that goes to a file, and is checked on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Self

from reconciler.model.digest import Digest


class FileSink:
    """Writes beside `path`, and puts it there only once all bytes came and match. Raises OSError."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._path = path
        self._digest = digest
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._hash = hashlib.new(digest.algorithm, usedforsecurity=False)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        return self

    def restart(self) -> None:
        """Forget what came: it comes again."""
        assert self._file is not None  # noqa: S101 - entered
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self._digest.algorithm, usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """The next bytes."""
        assert self._file is not None  # noqa: S101 - entered
        self._file.write(chunk)
        self._hash.update(chunk)

    def keep(self) -> bool:
        """Puts the file in its place if its bytes match the digest; False if they don't."""
        if self._hash.hexdigest() != self._digest.hex:
            return False
        assert self._file is not None  # noqa: S101 - entered
        self._file.close()
        self._part.replace(self._path)
        return True

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._part.unlink(missing_ok=True)
