"""How an image is built: everything that decides its content, as data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from reconciler.model.reference import TagRef


@dataclass(frozen=True, slots=True)
class GitSource:
    """A git repository at a ref, pinned to the commit that it named when the plan was made.

    `url` is https (or what the operator allows), `ref` as upstream spells it (`v10.3.1`), `commit` in full.
    """

    url: str
    ref: str
    commit: str
    submodules: bool = False


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder beside the desired file: its path relative to the desired folder, and the digest over all it holds."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in a file of the source, which must match exactly `count` times."""

    file: str
    find: str
    replace: str
    regex: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a download must be: `url` (platform placeholders allowed) and its sha256, given or to be read at `at`."""

    url: str
    sha256: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Smoke:
    """A command run in the built image on each platform: its exit status, and a text that its output must hold."""

    command: tuple[str, ...]
    status: int = 0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image of one release is built. Strings may hold platform placeholders, filled in per platform.

    `context` and `dockerfile` are paths in the source ("." is its top). `own_dockerfile`, where not empty, is the text
    of a Dockerfile of ours that is used instead of the source's. `bases` maps a name in FROM to the tag whose digest
    replaces it. `args`, `labels` and `annotations` are sorted by key.
    """

    source: GitSource | FolderSource
    context: str = "."
    dockerfile: str = "Dockerfile"
    own_dockerfile: str = ""
    target: str = ""
    unpin: bool = False
    edits: tuple[Edit, ...] = ()
    bases: tuple[tuple[str, TagRef], ...] = ()
    args: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    checksums: tuple[Checksum, ...] = ()
    smoke: Smoke | None = None
    cache: str = ""
    created: str = ""

    @property
    def hash(self) -> str:
        """Changes whenever the content may.

        What only tests it (`smoke`, `checksums`) or makes it faster (`cache`) is left out: a checksum that is added
        later must not make all that was published look stale.
        """
        return _hash(self, smoke=None, checksums=(), cache="")

    @property
    def attempt(self) -> str:
        """What a failed build is remembered by: changes also with what tests it, so that an edit of that counts."""
        return _hash(self)


def _hash(recipe: Recipe, **instead: object) -> str:
    """`sha256:…` over a recipe, with some fields as they are given here."""
    content = _plain(recipe) | {"bases": [[name, str(tag)] for name, tag in recipe.bases]} | instead
    return "sha256:" + hashlib.sha256(_encode(content).encode()).hexdigest()


def _plain(value: Any) -> dict[str, Any]:
    """One level of a dataclass: `asdict` would copy all that is below, too, which takes three times as long."""
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain).encode
