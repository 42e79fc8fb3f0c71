"""What the registry holds: repositories with their blobs, manifests and tags; the truth, without HTTP or manners.

    store.put_blob("mirror/hello", b"...")                    -> Digest
    store.put_manifest("mirror/hello", data, tag="1.0.0")     -> Digest
    store.tag("mirror/hello", "latest", digest)
    store.snapshot()                                          -> {"mirror/hello": {"1.0.0": Digest, "latest": Digest}}

Any thread may call it. Names of repositories are without the host. The index is in memory, content in files.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import ReconcileError
from reconciler.local.registry import contents
from reconciler.local.registry.answer import Code, Refusal
from reconciler.local.registry.files import Files
from reconciler.local.registry.index import Index, Manifest, RepositoryIndex
from reconciler.local.registry.journal import Journal
from reconciler.model.digest import Digest
from reconciler.model.reference import check_name, check_tag


class Store:
    """All repositories under `root`; one process at a time."""

    def __init__(self, root: Path) -> None:
        """Open or make it; ReconcileError where another process uses it or the folder can't be written."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(root / "journal")
            self.files = Files(root)
        except OSError as error:
            raise ReconcileError(f"can't be used: {error}", where=str(root), todo="name another folder") from error
        self._lock = threading.RLock()
        self._index = Index(self.files)
        for event in self._journal.events():
            self._index.replay(event)

    def close(self) -> None:
        """Let another process have it."""
        self._journal.close()

    # reading

    def exists(self, repository: str) -> bool:
        """Whether anything was ever pushed there (and not all deleted)."""
        return self._at(repository).exists

    def resolve(self, repository: str, tag: str) -> Digest | None:
        """What the tag names now."""
        return self._at(repository).tags.get(tag)

    def before(self, repository: str, tag: str) -> Digest | None:
        """What the tag named before it was last written; None where it was new."""
        return self._at(repository).before.get(tag)

    def manifest(self, repository: str, reference: str | Digest) -> Manifest | None:
        """The manifest under a digest or a tag."""
        index = self._at(repository)
        if isinstance(reference, str):
            found = Digest.parse(reference) if ":" in reference else index.tags.get(reference)
            return None if found is None else index.manifests.get(found)
        return index.manifests.get(reference)

    def blob(self, repository: str, digest: Digest) -> bytes | None:
        """A blob's bytes."""
        return self.files.path(digest).read_bytes() if digest in self._at(repository).blobs else None

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """A blob's size; None where it isn't there."""
        return self._at(repository).blobs.get(digest)

    def tags(self, repository: str) -> dict[str, Digest]:
        """Every tag and what it names, the one written last at the end."""
        with self._lock:
            return dict(self._at(repository).tags)

    def manifests(self, repository: str) -> tuple[Digest, ...]:
        """Every manifest, tagged or not, the newest last."""
        with self._lock:
            return tuple(self._at(repository).manifests)

    def referrers(self, repository: str, subject: Digest) -> list[dict[str, Any]]:
        """Descriptors of all manifests whose `subject` this is, listed in a fallback tag or not (spec 1.6)."""
        with self._lock:
            index = self._at(repository)
            found = [index.manifests[digest] for digest in index.referrers.get(subject, ())]
        return [manifest.descriptor() for manifest in found]

    def fallback(self, repository: str, subject: Digest) -> list[dict[str, Any]]:
        """Descriptors in the index under the fallback tag `sha256-<hex>`: what clients without the API find."""
        manifest = self.manifest(repository, subject.fallback_tag)
        return [] if manifest is None else list(manifest.json().get("manifests", []))

    def repositories(self) -> tuple[str, ...]:
        """Every repository that exists, by name."""
        with self._lock:
            return self._index.names()

    def snapshot(self) -> dict[str, dict[str, Digest]]:
        """Every tag of every repository."""
        with self._lock:
            return {name: dict(self._at(name).tags) for name in self.repositories()}

    # writing

    def put_blob(self, repository: str, data: bytes) -> Digest:
        """Store a blob."""
        digest = Digest.of(data)
        self.files.put(digest, data)
        self.link_blob(repository, digest, len(data))
        return digest

    def link_blob(self, repository: str, digest: Digest, size: int) -> None:
        """Let the repository have content that is in the files already: an upload's end, or a mount."""
        check_name(repository)
        with self._lock:
            if digest not in self._at(repository).blobs:
                self._add("blob", repository, str(digest), size)

    def put_manifest(
        self,
        repository: str,
        data: bytes,
        media_type: str = "",
        *,
        tag: str = "",
        digest: Digest | None = None,
        check: bool = True,
    ) -> Digest:
        """Store a manifest, under its digest and, where one is named, a tag.

        `digest` is the one that the client expects (sha512 is possible). Raises Refusal where the bytes are no
        manifest, don't match it, or name a blob or child that isn't there; a missing `subject` is fine (spec 1.9).
        `check=False` stores whatever it is: tests need broken things too, and `media_type` is believed.
        """
        check_name(repository)
        digest = digest or Digest.of(data)
        if check and not digest.matches(data):
            raise Refusal(400, Code.DIGEST_INVALID, f"the manifest is not {digest}")
        subject = None
        try:
            said = contents.read(data, media_type)
            media_type, subject = said.media_type, said.subject
        except Refusal:
            if check:
                raise
        else:
            if check:
                self._check_complete(repository, said)
        with self._lock:
            if self._at(repository).manifests.get(digest) is None:
                self.files.put(digest, data)
                self._add("manifest", repository, str(digest), media_type, len(data), str(subject or ""))
            if tag:
                self.tag(repository, tag, digest)
        return digest

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Let a tag name a manifest that is there."""
        check_tag(tag)
        with self._lock:
            if digest not in self._at(repository).manifests:
                raise Refusal(404, Code.MANIFEST_UNKNOWN, f"no manifest {digest} in {repository}")
            self._add("tag", repository, tag, str(digest))

    def untag(self, repository: str, tag: str) -> None:
        """Take a tag away; the manifest stays. Nothing happens where there is no such tag."""
        with self._lock:
            if tag in self._at(repository).tags:
                self._add("untag", repository, tag)

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Take a manifest away, and every tag that names it; indexes that list it stay."""
        with self._lock:
            index = self._at(repository)
            if digest in index.manifests:
                for tag in [tag for tag, named in index.tags.items() if named == digest]:
                    self.untag(repository, tag)
                self._add("unmanifest", repository, str(digest))

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob away from a repository."""
        with self._lock:
            if digest in self._at(repository).blobs:
                self._add("unblob", repository, str(digest))

    # how it is kept

    def _at(self, repository: str) -> RepositoryIndex:
        return self._index.at(repository)

    def _check_complete(self, repository: str, said: contents.Contents) -> None:
        index = self._at(repository)
        lost = [d for d in said.blobs if d not in index.blobs]
        lost += [d for d in said.manifests if d not in index.manifests]
        if lost:
            raise Refusal(
                400,
                Code.MANIFEST_BLOB_UNKNOWN,
                f"the manifest names what isn't in {repository}: {', '.join(d.short for d in lost[:3])}",
                detail=[str(d) for d in lost],
            )

    def _add(self, *event: str | int) -> None:
        self._journal.add(*event)
        self._index.replay(list(event))


class View:
    """The store, to look at only: what a hook gets."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def manifest(self, repository: str, reference: str | Digest) -> Manifest | None:
        """See `Store.manifest`."""
        return self._store.manifest(repository, reference)

    def blob(self, repository: str, digest: Digest) -> bytes | None:
        """See `Store.blob`."""
        return self._store.blob(repository, digest)

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """See `Store.tags`."""
        return self._store.tags(repository)

    def referrers(self, repository: str, subject: Digest) -> list[dict[str, Any]]:
        """See `Store.referrers`."""
        return self._store.referrers(repository, subject)

    def fallback(self, repository: str, subject: Digest) -> list[dict[str, Any]]:
        """See `Store.fallback`."""
        return self._store.fallback(repository, subject)
