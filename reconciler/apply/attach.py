"""Bundles written to the registry as referrers of a digest, so that none is lost.

A registry with the referrers API lists them by itself. Others, GHCR among them, have one mutable index per digest under
the tag `sha256-<hex>`, which every writer reads, changes and writes back; two within the registry's read lag have lost
attestations in the wild (protocols 2.15). So here all manifests are pushed first, then the index is written once,
merged with all that was ever seen in it, read back until it shows, read again after the lag, and what someone else
overwrote is appended again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from reconciler.apply.referrer import entries, fallback_index, referrer
from reconciler.errors import Conflict, RegistryError
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.reference import Repository
from reconciler.registry import media
from reconciler.registry.client import Registry
from reconciler.registry.descriptor import Descriptor, Manifest
from reconciler.together import together

# how long a write may take to be seen everywhere: seconds-scale on GHCR (protocols 2.12)
LAG = 2.0
# someone who read just before our write showed may write until one lag later, and that shows another lag later
_SETTLE = 2.5
_PATIENCE = 60.0
_PAUSE = 0.5


class Attacher:
    """Attaches bundles, one writer per digest at a time.

    `lag` is the registry's, in seconds (0 where a write is seen at once). `now` gives RFC 3339; `clock` and `sleep` are
    the loop's, in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        now: Callable[[], str],
        lag: float = LAG,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.registry = registry
        self.now = now
        self.lag = lag
        self.clock = clock
        self.sleep = sleep
        self._locks: dict[tuple[Repository, Digest], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._empty: dict[Repository, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._has_empty: set[Repository] = set()

    async def attach(
        self, repository: Repository, subject: Descriptor, bundles: Sequence[bytes], *, alone: bool = False
    ) -> None:
        """Attaches `bundles` to `subject`; when it returns, the registry lists all of them.

        `alone`: nobody else writes about this digest (a platform's image that was just pushed), so nothing is awaited
        after the index shows. Raises RegistryError where the registry doesn't take or keep them.
        """
        async with self._locks[repository, subject.digest]:
            pushed = await together(self._push(repository, subject, bundle) for bundle in bundles)
            if all(listed for _, listed in pushed):
                return
            ours = [descriptor for descriptor, _ in pushed]
            await _Fallback(self, repository, subject.digest, ours).write(settle=not alone)

    async def _push(self, repository: Repository, subject: Descriptor, bundle: bytes) -> tuple[Descriptor, bool]:
        """Pushes one bundle; what points to its manifest, and whether the registry lists it by itself."""
        data, descriptor = referrer(bundle, subject, self.now())
        await together((self._put_empty(repository), self.registry.put_blob(repository, bundle)))
        written = await self.registry.put_referrer(repository, data, descriptor.media_type)
        # distribution-spec, pushing manifests with subject: the header says that the registry keeps the list
        return descriptor, written.subject == subject.digest

    async def _put_empty(self, repository: Repository) -> None:
        async with self._empty[repository]:
            if repository not in self._has_empty:
                await self.registry.put_blob(repository, media.EMPTY_BLOB)
                self._has_empty.add(repository)


class _Fallback:
    """One writing of one fallback index."""

    def __init__(self, owner: Attacher, repository: Repository, subject: Digest, ours: Sequence[Descriptor]) -> None:
        self._owner = owner
        self._repository = repository
        self._tag = subject.fallback_tag
        self._ours = ours
        self._seen: dict[str, Mapping[str, Any]] = {}
        self._deadline = owner.clock() + _PATIENCE

    async def write(self, *, settle: bool) -> None:
        before = await self._read()
        while True:
            while not self._lists(before):
                self._in_time("someone else keeps writing it")
                await self._put(before)
                before = await self._shown(before)
            if not settle or not self._owner.lag:
                return
            await self._owner.sleep(self._owner.lag * _SETTLE)
            settle, before = False, await self._read()

    async def _put(self, before: Manifest | None) -> None:
        data = fallback_index(before, self._seen.values(), self._ours)
        registry = self._owner.registry
        try:
            await registry.put_manifest(
                self._repository, self._tag, data, media.OCI_INDEX, if_match=before.etag if before else ""
            )
        except Conflict:
            # someone else wrote first: what they wrote is read next, and ours appended to it
            return

    async def _shown(self, before: Manifest | None) -> Manifest | None:
        """The index once it is another one than `before`: ours, or someone else's. A stale read shows `before`."""
        while True:
            found = await self._read()
            if self._lists(found) or _digest(found) != _digest(before):
                return found
            self._in_time("it doesn't show what was written to it")
            await self._owner.sleep(_PAUSE)

    async def _read(self) -> Manifest | None:
        found = await self._owner.registry.manifest(self._repository, self._tag)
        if isinstance(found, Absent):
            return None
        self._seen.update(entries(found))
        return found

    def _lists(self, index: Manifest | None) -> bool:
        listed = entries(index)
        return all(digest in listed for digest in self._all())

    def _all(self) -> Iterable[str]:
        return (*self._seen, *(str(descriptor.digest) for descriptor in self._ours))

    def _in_time(self, what: str) -> None:
        if self._owner.clock() > self._deadline:
            raise RegistryError(
                f"the index of what is attached can't be written: {what}",
                where=f"{self._repository}:{self._tag}",
                todo="the bundles are pushed; the next apply attaches what is missing",
            )


def _digest(index: Manifest | None) -> Digest | None:
    return index.digest if index else None
