"""`state/<app>.json`: read, changed and written; one file per app, byte-identical where nothing changed.

A record is a cache and an audit log. It is a file in git that a pull request can edit, so nothing here is trusted to
sign or to overwrite anything: a forged record can cost requests, or hide that something should be checked until the
next check from scratch, but can't make reconcile sign, tag or replace what it couldn't without it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import RecordError
from reconciler.model.record import Record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT_VERSION = 1
# a record of an app with many thousands of tags is some megabytes
MAX_BYTES = 64 * 1024 * 1024
_PART = ".part"
_ABANDONED = 600.0


@cache
def _adapter() -> TypeAdapter[Record]:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def dump(record: Record) -> bytes:
    """The record as JSON, sorted and indented, so that git shows what changed and nothing else.

    Fields that are as they are by default are left out: a new one changes no file that doesn't use it.
    """
    content = {"format_version": FORMAT_VERSION, **_adapter().dump_python(record, mode="json", exclude_defaults=True)}
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, where: str = "") -> Record:
    """The record that `data` holds; RecordError where it holds none."""
    from pydantic import ValidationError

    todo = "restore the file from git, or delete it: a lost record costs requests, nothing else"
    if len(data) > MAX_BYTES:
        raise RecordError(f"the record is larger than {MAX_BYTES} bytes", where=where, todo=todo)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"the record is no JSON: {error}", where=where, todo=todo) from None
    version = content.pop("format_version", None) if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise RecordError(
            f"the record has format_version {version!r}, this reconcile reads {FORMAT_VERSION}", where=where, todo=todo
        )
    try:
        return _adapter().validate_python(content)
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deeply"}
        place = ".".join(map(str, first["loc"]))
        raise RecordError(f"the record doesn't fit at {place}: {first['msg']}", where=where, todo=todo) from None


class Records:
    """The records in one folder. `fresh` ignores what they say of the registry, but keeps what only they know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, Record] = {}
        self._cleared: set[str] = set()

    def path(self, app: str) -> Path:
        """Where the record of `app` is."""
        return self.folder / f"{app}.json"

    def load(self, app: str) -> Record:
        """The record of `app`, empty where there is none yet; RecordError where it can't be read."""
        if app not in self._kept:
            path = self.path(app)
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                self._kept[app] = Record(app)
                return self._kept[app]
            except OSError as error:
                raise RecordError(f"the record can't be read: {error.strerror}", where=str(path)) from None
            record = parse(data, str(path))
            if record.app != app:
                raise RecordError(
                    f"the record is of the app {record.app!r}", where=str(path), todo="restore the file from git"
                )
            self._kept[app] = record
        return self._kept[app]

    def seen_in_history(self, app: str, repositories: Collection[str]) -> frozenset[str]:
        """Those of the repositories that any earlier version of the record of `app` names, as far as git knows them.

        Asked only where the registry denies a repository: one that was seen once isn't new. Without git, or without
        history, nothing was seen.
        """
        # --literal-pathspecs: an app's name is data; -S finds the commits in which the text came or went
        git = ["git", "--literal-pathspecs", "-C", str(self.folder), "log", "--all", "-1", "--format=%H"]
        seen = set()
        for repository in repositories:
            command = [*git, f"-S{json.dumps(repository)}", "--", f"{app}.json"]
            try:
                done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=_git_environment())
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0 and done.stdout.strip():
                seen.add(repository)
        return frozenset(seen)

    def update(self, app: str, change: Callable[[Record], Record]) -> Record:
        """Changes the record of `app` and writes it, atomically and durably, if that changed it.

        A crash at any point leaves the old file or the new one. Raises RecordError where it can't be written; what
        was changed stays in memory, so that a later update writes it too.
        """
        before = self.load(app)
        if app not in self._cleared:
            self._cleared.add(app)
            clear_abandoned(self.path(app))
        after = change(before)
        self._kept[app] = after
        data = dump(after)
        path = self.path(app)
        try:
            if path.exists() and path.read_bytes() == data:
                return after
            if not path.exists() and after == Record(app):
                return after
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        except OSError as error:
            raise RecordError(
                f"the record can't be written: {error.strerror}", where=str(path), todo="make the folder writable"
            ) from None
        return after


def _git_environment() -> dict[str, str]:
    """What git needs to read a history, without anybody's configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}


def clear_abandoned(path: Path) -> None:
    """Removes what somebody left who was killed while writing `path`; a write that lives takes no ten minutes."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        with contextlib.suppress(OSError):
            if time.time() - part.lstat().st_mtime > _ABANDONED:
                part.unlink()


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes `data` to `path` so that a reader or a crash sees the old file or the new one, never half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
