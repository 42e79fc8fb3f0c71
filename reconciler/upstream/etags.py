"""A folder of answers by URL, for conditional requests: GitHub doesn't count a 304 to a request with a token (6.4).

It holds what mattered of each answer, not its bytes: a page of 100 releases is megabytes, its tags a few kilobytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Key = tuple[str, str, str]
"""URL, Accept, and whether a token was sent: all three select the answer (protocols 6.4)."""

_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cached:
    """An answer's ETag, its Link header, and what was kept of its JSON."""

    etag: str
    link: str
    value: Any


@dataclass(frozen=True, slots=True)
class ETags:
    """The cache in `folder`, which is made when needed. It may be deleted at any time; failures only cost requests."""

    folder: Path

    def read(self, key: Key) -> Cached | None:
        """What is kept for `key`; None where nothing usable is."""
        path = self._path(key)
        try:
            if path.stat().st_size > _MAX_BYTES:
                return None
            entry = json.loads(path.read_bytes())
            if entry["key"] != list(key) or not all(isinstance(entry[k], str) for k in ("etag", "link")):
                return None
            # what goes into a header must be able to stand there
            if not entry["etag"] or not (entry["etag"] + entry["link"]).isascii() or not entry["etag"].isprintable():
                return None
            return Cached(entry["etag"], entry["link"], entry["value"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, key: Key, cached: Cached) -> None:
        """Keeps `cached` for `key`, atomically."""
        entry = {"key": list(key), "etag": cached.etag, "link": cached.link, "value": cached.value}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(entry, file, separators=(",", ":"))
                Path(name).replace(self._path(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return

    def _path(self, key: Key) -> Path:
        return self.folder / f"{hashlib.sha256(chr(10).join(key).encode()).hexdigest()[:40]}.json"
