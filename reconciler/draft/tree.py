"""The Dockerfile in a checkout: the one that makes the application, as far as a look can tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reconciler.apply.dockerfile import Needed, images
from reconciler.desired.files import Unreadable, read_text

_NAME = re.compile(r"(?:Docker|Container)file(?:\.[A-Za-z0-9_-]+)?|[A-Za-z0-9_-]+\.Dockerfile")
_ASIDE = re.compile(
    r"(?:^|[/._-])(?:tests?|e2e|examples?|samples?|dev|devcontainer|docs?|ci|demo|hack|tools?|debian|deb|rpm|snap)"
    r"(?:[/._-]|$)",
    re.IGNORECASE,
)
_SKIPPED = frozenset({".git", "node_modules", "vendor", "third_party", "testdata"})
_COPY = re.compile(r"^\s*(?:COPY|ADD)\s+(?!.*--from=)((?:--\S+\s+)*)(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_ARG = re.compile(r"""^\s*ARG\s+([A-Za-z_]\w*)=(?:"([^"\n]*)"|'([^'\n]*)'|(\S*))""", re.IGNORECASE | re.MULTILINE)
_FOLDERS = 20_000


@dataclass(frozen=True, slots=True)
class Found:
    """A Dockerfile: its path in the source, the context that it fits, what it is built on, its arguments.

    `others`: the paths of further Dockerfiles.
    """

    path: str
    context: str
    needs: tuple[Needed, ...]
    arguments: tuple[tuple[str, str], ...]
    others: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether it names an image by digest."""
        return any(one.pinned for one in self.needs)


def find(top: Path) -> Found | None:
    """The likeliest Dockerfile in the tree at `top`: plainly named, high up, not for tests; None without any."""
    candidates = sorted(_candidates(top), key=_rank)
    readable = [(path, text) for path in candidates if (text := _text(top, path)) is not None]
    if not readable:
        return None
    path, text = readable[0]
    arguments = tuple((name, a or b or c) for name, a, b, c in _ARG.findall(text) if a or b or c)
    return Found(path, _context(top, path, text), images(text), arguments, tuple(other for other, _ in readable[1:]))


def _candidates(top: Path) -> Iterator[str]:
    # nothing here follows a symlink; what is found is read with a check that it doesn't lead out
    for count, (folder, folders, files) in enumerate(os.walk(top)):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in files:
            if _NAME.fullmatch(name) and not name.endswith(".dockerignore"):
                yield (Path(folder) / name).relative_to(top).as_posix()
        if count > _FOLDERS:
            return


def _rank(path: str) -> tuple[bool, int, bool, str]:
    pure = PurePosixPath(path)
    return bool(_ASIDE.search(path)), len(pure.parts), pure.name not in ("Dockerfile", "Containerfile"), path


def _text(top: Path, path: str) -> str | None:
    try:
        return read_text(top, path)
    except Unreadable:
        return None


def _context(top: Path, path: str, text: str) -> str:
    """The top, or the Dockerfile's own folder: where more of what it copies is."""
    own = PurePosixPath(path).parent.as_posix()
    if own == ".":
        return "."
    copied = [word for _, words in _COPY.findall(text) for word in _sources(words)]
    at_top = sum((top / word).exists() for word in copied)
    beside = sum((top / own / word).exists() for word in copied)
    if at_top == beside:
        # it copies all there is, or nothing: where it stands alone, that isn't much
        return own if any(not _NAME.fullmatch(path.name) for path in (top / own).iterdir()) else "."
    return "." if at_top > beside else own


def _sources(words: str) -> list[str]:
    """The paths that an instruction copies, as far as they are plain."""
    parts = [part.strip("\"'[],") for part in words.split()]
    plain = [part.lstrip("/").removeprefix("./") for part in parts[:-1]]
    return [part for part in plain if part not in ("", ".") and not set(part) & set("$*?{:") and ".." not in part]
