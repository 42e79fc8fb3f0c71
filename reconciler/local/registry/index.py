"""The store's index in memory: made from the journal's events, one after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.errors import ReconcileError
from reconciler.local.registry import contents
from reconciler.local.registry.files import Files
from reconciler.local.registry.journal import Event
from reconciler.model.digest import Digest


class Manifest:
    """A stored manifest; its bytes are read when they are asked for and kept."""

    __slots__ = ("_data", "_path", "digest", "media_type", "size", "subject", "text")

    def __init__(self, digest: Digest, media_type: str, size: int, subject: Digest | None, path: Path) -> None:
        self.digest = digest
        self.text = str(digest)  # the hot path sends it with every answer
        self.media_type = media_type
        self.size = size
        self.subject = subject
        self._path = path
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The bytes as pushed."""
        if self._data is None:
            self._data = self._path.read_bytes()
        return self._data

    def json(self) -> dict[str, Any]:
        """The manifest, parsed."""
        value = json.loads(self.data)
        if not isinstance(value, dict):
            raise ReconcileError("the manifest is no JSON object", where=self.text)
        return value

    def descriptor(self) -> dict[str, Any]:
        """Its descriptor as the referrers API lists it (distribution-spec v1.1.1, "Listing Referrers")."""
        said = contents.read(self.data, self.media_type)
        whole = {
            "mediaType": self.media_type,
            "digest": self.text,
            "size": self.size,
            "artifactType": said.artifact_type,
            "annotations": dict(said.annotations),
        }
        return {key: value for key, value in whole.items() if value}


class RepositoryIndex:
    """What one repository has. Dictionaries keep their order: the tag written last stands last."""

    __slots__ = ("before", "blobs", "manifests", "referrers", "tags")

    def __init__(self) -> None:
        self.blobs: dict[Digest, int] = {}
        self.manifests: dict[Digest, Manifest] = {}
        self.tags: dict[str, Digest] = {}
        self.before: dict[str, Digest | None] = {}
        self.referrers: dict[Digest, dict[Digest, None]] = {}

    @property
    def exists(self) -> bool:
        """Whether anything is there."""
        return bool(self.blobs or self.manifests)


_NOTHING = RepositoryIndex()


class Index:
    """All repositories."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._repositories: dict[str, RepositoryIndex] = {}

    def at(self, repository: str) -> RepositoryIndex:
        """That repository's part; an empty one, only to be read, where there is none."""
        return self._repositories.get(repository, _NOTHING)

    def names(self) -> tuple[str, ...]:
        """The repositories that exist, sorted."""
        return tuple(sorted(name for name, index in self._repositories.items() if index.exists))

    def replay(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case ["blob", str(name), str(digest), int(size)]:
                self._make(name).blobs[Digest.parse(digest)] = size
            case ["unblob", str(name), str(digest)]:
                self._make(name).blobs.pop(Digest.parse(digest), None)
            case ["manifest", str(name), str(digest), str(kind), int(size), str(subject)]:
                self._add_manifest(self._make(name), Digest.parse(digest), kind, size, subject)
            case ["unmanifest", str(name), str(digest)]:
                gone = self._make(name).manifests.pop(Digest.parse(digest), None)
                if gone is not None and gone.subject is not None:
                    self._make(name).referrers[gone.subject].pop(gone.digest, None)
            case ["tag", str(name), str(tag), str(digest)]:
                index = self._make(name)
                index.before[tag] = index.tags.pop(tag, None)
                index.tags[tag] = Digest.parse(digest)
            case ["untag", str(name), str(tag)]:
                index = self._make(name)
                index.before[tag] = index.tags.pop(tag, None)
            case _:
                raise ReconcileError(f"the journal has an event of an unknown kind: {str(event)[:200]}")

    def _add_manifest(self, index: RepositoryIndex, digest: Digest, kind: str, size: int, subject: str) -> None:
        of = Digest.parse(subject) if subject else None
        index.manifests[digest] = Manifest(digest, kind, size, of, self._files.path(digest))
        if of is not None:
            index.referrers.setdefault(of, {})[digest] = None

    def _make(self, repository: str) -> RepositoryIndex:
        return self._repositories.setdefault(repository, RepositoryIndex())
