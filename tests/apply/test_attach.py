"""Nothing that is attached gets lost: one merged write, others' entries kept, and what they overwrite repaired."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.attach import Attacher
from reconciler.apply.referrer import BUNDLE
from reconciler.errors import Malformed, RegistryError
from reconciler.local.registry import Fault, Lag, LocalRegistry, Manners, Referrers
from reconciler.local.registry.actions import Reply
from reconciler.local.registry.faults import on
from reconciler.local.sigstore import Key, Mint, sign_statement
from reconciler.model.digest import Digest
from reconciler.model.reference import Repository
from reconciler.registry import media
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.registry.descriptor import Descriptor
from tests.support.applying import client
from tests.support.images import Built, fallback, image, referrer
from tests.support.nouns import AMD64

NAME = "mirror/hello"


async def at_once(_seconds: float) -> None:
    """No waiting."""
    await asyncio.sleep(0)


@dataclass
class World:
    """An image, and bundles about it."""

    registry: LocalRegistry
    asked: Registry
    of: Built
    key: Key = field(default_factory=Key.generate)
    mint: Mint = field(default_factory=Mint)

    @property
    def repository(self) -> Repository:
        """Where the image is."""
        return Repository.parse(f"{self.registry.host}/{NAME}")

    @property
    def subject(self) -> Descriptor:
        """What points to it."""
        return Descriptor(self.of.media_type, self.of.digest, self.of.size)

    def bundle(self) -> bytes:
        """A signature; each is another one."""
        return self.mint.key_bundle(sign_statement(str(self.of.digest)), self.key)

    def attacher(self, registry: Registry | None = None, **options: Any) -> Attacher:
        """A writer."""
        return Attacher(
            registry or self.asked, now=lambda: "2026-01-01T00:00:00Z", **{"lag": 0, "sleep": at_once, **options}
        )

    def listed(self) -> Mapping[str, dict[str, Any]]:
        """The fallback index, by the digest of the bundle that each entry attaches."""
        store = self.registry.store
        found = {}
        for entry in store.fallback(NAME, self.of.digest):
            manifest = store.manifest(NAME, Digest.parse(entry["digest"]))
            assert manifest is not None
            found[json.loads(manifest.data)["layers"][0]["digest"]] = entry
        return found

    def has(self, *bundles: bytes) -> bool:
        """Whether all of them are attached."""
        return {str(Digest.of(bundle)) for bundle in bundles} <= self.listed().keys()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """On a registry without the referrers API, as GHCR."""
    with LocalRegistry(tmp_path) as registry:
        of = image(registry.store, NAME, AMD64)
        async with client(registry) as asked:
            yield World(registry, asked, of)


async def test_one_write_with_all_that_the_spec_wants(world: World) -> None:
    """All bundles in one PUT of the index; artifactType and annotations copied, subject and empty config right."""
    bundles = [world.bundle() for _ in range(4)]
    await world.attacher().attach(world.repository, world.subject, bundles)
    tag = world.of.digest.fallback_tag
    assert world.registry.requests.count(method="PUT", reference=tag) == 1
    assert world.has(*bundles)
    for entry in world.listed().values():
        manifest = world.registry.store.manifest(NAME, Digest.parse(entry["digest"]))
        assert manifest is not None
        content = json.loads(manifest.data)
        assert entry["artifactType"] == content["artifactType"] == BUNDLE
        assert entry["annotations"] == content["annotations"]
        assert content["annotations"]["dev.sigstore.bundle.predicateType"] == "https://sigstore.dev/cosign/sign/v1"
        assert content["subject"]["digest"] == str(world.of.digest)
        assert content["config"]["digest"].endswith("caaff8a")
        assert len(content["layers"]) == 1


async def test_others_entries_stay_as_they_are(world: World) -> None:
    """What actions/attest or cosign listed is neither dropped nor changed, in its order, unknown fields included."""
    store = world.registry.store
    theirs = [referrer(store, NAME, world.of, b"{%d}" % n, kind="application/x") for n in range(3)]
    fallback(store, NAME, world.of, *theirs)
    before = store.fallback(NAME, world.of.digest)
    before[0]["x-unknown"] = {"kept": True}
    put(world, before)
    bundle = world.bundle()
    await world.attacher().attach(world.repository, world.subject, [bundle])
    after = store.fallback(NAME, world.of.digest)
    assert after[:3] == before
    assert len(after) == 4


async def test_with_the_api_no_index_is_written(tmp_path: Path) -> None:
    """A registry that says OCI-Subject keeps the list itself."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=Referrers.API)) as registry:
        of = image(registry.store, NAME, AMD64)
        async with client(registry) as asked:
            world = World(registry, asked, of)
            await world.attacher().attach(world.repository, world.subject, [world.bundle(), world.bundle()])
            assert registry.store.resolve(NAME, of.digest.fallback_tag) is None
            assert len(registry.store.referrers(NAME, of.digest)) == 2
            assert len((await asked.referrers(world.repository, of.digest)).descriptors) == 2


def put(world: World, entries: list[dict[str, Any]]) -> None:
    """The fallback index, written by someone else."""
    data = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}).encode()
    world.registry.store.put_manifest(NAME, data, media.OCI_INDEX, tag=world.of.digest.fallback_tag)


class Held(Registry):
    """A client whose writes of the fallback index wait for a word, its read long done: a slow, stale writer."""

    go: asyncio.Event
    done: asyncio.Event

    async def put_manifest(
        self,
        repository: Repository,
        reference: str | Digest,
        data: bytes,
        media_type: str,
        *,
        if_match: str = "",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Digest:
        """Later."""
        await self.go.wait()
        written = await super().put_manifest(repository, reference, data, media_type, if_match=if_match, before=before)
        self.done.set()
        return written


def until_read(world: World) -> None:
    """Waits until somebody has read the fallback index."""
    deadline = time.monotonic() + 30
    while not world.registry.requests.count(method="GET", reference=world.of.digest.fallback_tag):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_writer_with_a_stale_read_loses_nothing(world: World) -> None:
    """Two writers read the same index; the slower overwrites the faster, and in the end both bundles are there."""
    async with Held(Credentials(), trusted=frozenset({world.registry.host})) as slow:
        slow.go, slow.done = asyncio.Event(), asyncio.Event()

        async def lag(_seconds: float) -> None:
            # the first has written and read back; now the second writes what it made of its old read
            slow.go.set()
            await slow.done.wait()

        first, second = world.bundle(), world.bundle()
        fast = world.attacher(lag=1, sleep=lag)
        late = world.attacher(slow, lag=0)
        behind = asyncio.create_task(late.attach(world.repository, world.subject, [second]))
        await asyncio.to_thread(until_read, world)
        await asyncio.gather(fast.attach(world.repository, world.subject, [first]), behind)
    assert world.has(first, second)


async def test_two_writers_on_a_registry_that_lags(tmp_path: Path) -> None:
    """Both attach at once while reads are stale; after both, everything is there (protocols 2.15)."""
    lag = 0.2
    with LocalRegistry(tmp_path, manners=Manners.ghcr(lag=Lag(seconds=lag), hides_unknown=False)) as registry:
        of = image(registry.store, NAME, AMD64)
        async with client(registry) as one, client(registry) as two:
            world = World(registry, one, of)
            options = {"lag": 2 * lag, "sleep": asyncio.sleep}
            writers = [world.attacher(one, **options), world.attacher(two, **options)]
            bundles = [world.bundle() for _ in range(4)]
            await asyncio.gather(
                *(
                    writer.attach(world.repository, world.subject, bundles[2 * n : 2 * n + 2])
                    for n, writer in enumerate(writers)
                )
            )
            assert world.has(*bundles)


async def test_one_writer_serialises_itself(world: World) -> None:
    """Many attachments to one digest from one run never overwrite each other."""
    attacher = world.attacher()
    bundles = [world.bundle() for _ in range(8)]
    await asyncio.gather(*(attacher.attach(world.repository, world.subject, [bundle]) for bundle in bundles))
    assert world.has(*bundles)


async def test_if_match_where_there_is_an_etag(tmp_path: Path) -> None:
    """With a registry that compares, a write over someone else's is refused, read again and merged."""
    with LocalRegistry(tmp_path, manners=Manners(conditional=True)) as registry:
        of = image(registry.store, NAME, AMD64)
        async with client(registry) as asked:
            world = World(registry, asked, of)
            theirs = referrer(registry.store, NAME, of, b"{0}", kind="application/x")
            fallback(registry.store, NAME, of, theirs)
            others = [world.bundle(), world.bundle()]
            await asyncio.gather(
                *(world.attacher().attach(world.repository, world.subject, [bundle]) for bundle in others)
            )
            assert world.has(*others)
            assert registry.store.fallback(NAME, of.digest)[0]["digest"] == str(theirs.digest)


async def test_what_never_shows_is_an_error_in_bounded_time(world: World) -> None:
    """A registry that forgets what was written: said, with what to do, and not asked for ever."""
    clock = iter(range(0, 10_000, 10))
    world.registry.read_stale(NAME, world.of.digest.fallback_tag, 10_000)
    put(world, [])
    attacher = world.attacher(clock=lambda: float(next(clock)))
    with pytest.raises(RegistryError, match="doesn't show what was written"):
        await attacher.attach(world.repository, world.subject, [world.bundle()])


async def test_something_else_under_the_tag_is_left_alone(world: World) -> None:
    """A fallback tag that holds an image isn't overwritten (distribution-spec: report the failure)."""
    image(world.registry.store, NAME, AMD64, text="odd", tag=world.of.digest.fallback_tag)
    before = world.registry.store.resolve(NAME, world.of.digest.fallback_tag)
    with pytest.raises(Malformed, match="no index"):
        await world.attacher().attach(world.repository, world.subject, [world.bundle()])
    assert world.registry.store.resolve(NAME, world.of.digest.fallback_tag) == before


async def test_nothing_goes_on_after_a_failure(world: World) -> None:
    """Where one bundle can't be pushed, the others end with it: none writes once that is told."""
    world.registry.faults.add(Fault(Reply(403), on(kind="upload"), times=None))
    tasks = asyncio.all_tasks()
    with pytest.raises(RegistryError):
        await world.attacher().attach(world.repository, world.subject, [world.bundle() for _ in range(4)])
    assert asyncio.all_tasks() == tasks
