"""Git repositories made from given files, and served as a git host serves them (gitprotocol-http(5))."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import ToolError, ToolMissing

_PATH = re.compile(r'[^\x00-\x1f"/][^\x00-\x1f"]*')


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path: a file, a program (100755), a symlink (120000) or a submodule's commit (160000)."""

    data: bytes
    mode: str = "100644"

    @classmethod
    def of(cls, value: Entry | str | bytes) -> Entry:
        """A plain file of these bytes or this text."""
        return value if isinstance(value, Entry) else cls(value.encode() if isinstance(value, str) else value)


def program(text: str) -> Entry:
    """A file that may be executed."""
    return Entry(text.encode(), "100755")


def symlink(target: str) -> Entry:
    """A symlink to `target`."""
    return Entry(target.encode(), "120000")


def submodule(commit: str) -> Entry:
    """A submodule at a commit; `.gitmodules` says where its repository is."""
    return Entry(commit.encode(), "160000")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag to make on a commit of its own with exactly these files; `date` is RFC 3339 in UTC."""

    tag: str
    files: Mapping[str, Entry] = field(default_factory=dict)
    annotated: bool = False
    date: str = "2024-01-01T00:00:00Z"

    @property
    def epoch(self) -> int:
        """The date in seconds since 1970."""
        return int(datetime.fromisoformat(self.date).astimezone(UTC).timestamp())


@dataclass(frozen=True, slots=True)
class BareRepository:
    """A bare repository in `folder`."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> BareRepository:
        """A new, empty one, whose branch is `main`."""
        folder.mkdir(parents=True)
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(folder))
        # as the big hosts do: a commit may be asked for by its name while a ref reaches it
        _git("-C", str(folder), "config", "uploadpack.allowReachableSHA1InWant", "true")
        return cls(folder)

    def add(self, many: Sequence[Tagged]) -> list[str]:
        """Makes tags in one go, each on a commit of its own, and returns the commits; a tag that is there moves."""
        stream = bytearray()
        for mark, tagged in enumerate(many, start=1):
            who = f"Local Upstream <upstream@example.org> {tagged.epoch} +0000"
            stream += f"commit refs/heads/main\nmark :{mark}\ncommitter {who}\n".encode()
            stream += _data(f"Release {tagged.tag}".encode())
            if mark == 1 and (self.folder / "refs/heads/main").exists():
                stream += b"from refs/heads/main^0\n"
            stream += b"deleteall\n"
            for path, entry in sorted(tagged.files.items()):
                if _PATH.fullmatch(path) is None:
                    raise ValueError(f"{path!r} can't stand in a tree")
                if entry.mode == "160000":
                    stream += f"M 160000 {entry.data.decode()} {path}\n".encode()
                else:
                    stream += f"M {entry.mode} inline {path}\n".encode() + _data(entry.data)
            if tagged.annotated:
                stream += f"tag {tagged.tag}\nfrom :{mark}\ntagger {who}\n".encode() + _data(tagged.tag.encode())
            else:
                stream += f"reset refs/tags/{tagged.tag}\nfrom :{mark}\n\n".encode()
        with tempfile.NamedTemporaryFile(prefix="marks-") as marks:
            arguments = ("fast-import", "--quiet", "--force", f"--export-marks={marks.name}")
            _git("-C", str(self.folder), *arguments, data=bytes(stream))
            rows = dict(line.split() for line in Path(marks.name).read_text().splitlines())
        return [rows[f":{mark}"] for mark in range(1, len(many) + 1)]

    def delete_tag(self, tag: str) -> None:
        """Takes a tag away."""
        _git("-C", str(self.folder), "update-ref", "-d", f"refs/tags/{tag}")

    def advertise(self, protocol: str) -> bytes:
        """The answer to `GET info/refs?service=git-upload-pack`."""
        told = _git("upload-pack", "--stateless-rpc", "--advertise-refs", str(self.folder), protocol=protocol)
        return b"001e# service=git-upload-pack\n0000" + told

    def upload_pack(self, request: bytes, protocol: str) -> bytes:
        """The answer to `POST git-upload-pack`; what git refuses is in it, as an ERR line."""
        return _git("upload-pack", "--stateless-rpc", str(self.folder), data=request, protocol=protocol, check=False)


def _data(data: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(data), data)


def _git(*arguments: str, data: bytes = b"", protocol: str = "", check: bool = True) -> bytes:
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        **({"GIT_PROTOCOL": protocol} if protocol else {}),
    }
    try:
        done = subprocess.run(["git", *arguments], input=data, capture_output=True, env=env, cwd="/", timeout=120)
    except FileNotFoundError:
        raise ToolMissing("git isn't there", todo="install git") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"git {arguments[0]} took longer than 120 s") from None
    if check and done.returncode != 0:
        tail = done.stderr.decode("utf-8", "replace").splitlines()[-8:]
        raise ToolError(f"git {arguments[0]} ended with status {done.returncode}", tail=tail)
    return done.stdout
