"""Mirrors to be broken: many on one registry, a client that waits for nothing, and a judge of every tag that is put."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.apply.recording import rfc3339
from reconciler.apply.remember import remember
from reconciler.apply.results import Outcome
from reconciler.evidence import statements
from reconciler.evidence.judge import Judge
from reconciler.local.registry import Auth, LocalRegistry, Manners, Referrers, Store, User, View
from reconciler.local.sigstore import sign_statement
from reconciler.model.digest import Digest
from reconciler.model.evidence import ANNOTATION_REPOSITORY, ANNOTATION_VERSION, MIRROR_PREDICATE, Binding, Kind
from reconciler.model.platform import Platform
from reconciler.model.record import ImageRecord
from reconciler.model.reference import Repository
from reconciler.model.wanted import Wanted
from reconciler.observe import Observer, Trust
from reconciler.plan.make import make
from reconciler.registry.client import Registry
from reconciler.registry.credential import Credential
from reconciler.registry.credentials import Credentials
from reconciler.registry.wire import Timeouts
from tests.support.applying import Applying, Steps
from tests.support.images import SLSA, SPDX, fallback, referrer
from tests.support.images import Built as Image
from tests.support.images import built as built_images
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock

ME = User("me", "secret-of-me")
PREDICATE = "dev.sigstore.bundle.predicateType"
SIGN = "https://sigstore.dev/cosign/sign/v1"
# a stall costs milliseconds; what fails, fails at once
HASTY = Timeouts(connect=1.0, read=0.05, answer=0.1, blob=0.15, patience=60.0, attempts=1, dial_attempts=1)


def sleep_by(clock: Clock) -> Callable[[float], Awaitable[None]]:
    """A sleep that turns the clock instead."""

    async def sleep(seconds: float) -> None:
        clock.turn(seconds)
        await asyncio.sleep(0)

    return sleep


def open_client(
    registry: LocalRegistry,
    timeouts: Timeouts | None = None,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Registry:
    """A client whose waits turn its clock instead; with patience unless told otherwise."""
    clock = clock or Clock()
    return Registry(
        Credentials(fixed={registry.host: Credential(ME.name, ME.password)}),
        allow_private=True,
        timeouts=timeouts or Timeouts(),
        clock=clock,
        sleep=sleep_by(clock),
        transport=transport,
    )


@dataclass
class World(Applying):
    """One mirror of many: `name` is its image."""

    name: str = "hello"

    @property
    def repository(self) -> Repository:
        """Where the tags live."""
        return Repository.parse(f"{self.registry.host}/mirror/{self.name}")

    def wanted(self, version: str, image: str = "", **fields: Any) -> Wanted:
        """One tag of it."""
        return super().wanted(version, image or self.name, **fields)

    def digest(self, tag: str, image: str = "") -> str:
        """What the store has under a tag."""
        return super().digest(tag, image or self.name)

    async def reconcile(self, steps: Steps | None = None, *, fresh: bool = False, **given: Any) -> Outcome:
        """As the command does it: what the plan saw as wanted goes on record first."""
        records, judge = self.records, Judge(self.signing.policy)
        observer = Observer(self.client, judge, Trust(fresh=fresh), sleep=self.wait)
        view = await observer.view(self.app, records.load("hello"))
        remember([view], records, judge.policy.hash, self.now)
        return await self.apply(make([view], policy=judge.policy.hash, now=rfc3339(self.now)), steps, **given)

    @property
    def known(self) -> ImageRecord:
        """What its record says."""
        return self.records.load("hello").images.get(str(self.repository)) or ImageRecord()

    def visible(self) -> dict[str, str]:
        """Every tag that people pull, and what it names."""
        tags = self.registry.store.tags(self.repository.name)
        return {tag: str(digest) for tag, digest in tags.items() if not tag.startswith("sha256-")}

    def blemishes(self) -> list[str]:
        """What is wrong with what people can pull, and with what the record says of it; where all is ours."""
        store, name = self.registry.store, self.repository.name
        wanted = {*self.versions, "latest"}
        there = {tag: at for tag, at in self.visible().items() if tag in wanted}
        api = self.registry.manners.referrers is Referrers.API
        wrong = [what for tag, at in there.items() for what in faults_of(store, name, tag, Digest.parse(at), api)]
        said = {tag: one.digest for tag, one in self.known.tags.items() if tag in wanted}
        said |= {tag: one.digest for tag, one in self.known.pointers.items()}
        wrong += [f"recorded: {tag} at {digest}" for tag, digest in said.items() if there.get(tag) != str(digest)]
        return wrong + [path.name for path in self.records.folder.glob(".*")]

    def ready(self) -> list[str]:
        """The builds that need not be made again: pushed, on record, and signed."""
        store, name = self.registry.store, self.repository.name
        found = []
        for version in self.versions:
            for platform, pushed in self.known.pending.get(self.wanted(version).recipe.hash, {}).items():
                index = store.manifest(name, pushed)
                assert index is not None
                if store.fallback(name, Digest.parse(index.json()["manifests"][0]["digest"])):
                    found.append(f"{version} {platform}")
        return found

    @asynccontextmanager
    async def hurried(self) -> AsyncIterator[None]:
        """Inside, its client has no patience."""
        usual = self.client
        async with open_client(self.registry, HASTY) as hasty:
            self.client = hasty
            try:
                yield
            finally:
                self.client = usual

    @asynccontextmanager
    async def anew(self) -> AsyncIterator[None]:
        """Inside, as in a process that has just begun."""
        usual = self.client
        async with open_client(self.registry) as fresh:
            self.client = fresh
            try:
                yield
            finally:
                self.client = usual

    def put(self, version: str, *platforms: Platform, lacks: frozenset[Kind] = frozenset()) -> Image:
        """A version as an apply left it, straight in the store: `platforms` (both), without the proofs in `lacks`."""
        store, name = self.registry.store, self.repository.name
        wanted = self.wanted(version)
        said = {ANNOTATION_REPOSITORY: str(self.repository), ANNOTATION_VERSION: version}
        whole = built_images(store, name, platforms or (AMD64, ARM64), text=version, tag=version, annotations=said)
        about = Binding(str(self.repository), version, wanted.recipe.hash, "")
        made: dict[Kind, Any] = {
            Kind.SIGNATURE: sign_statement(str(whole.digest)),
            Kind.SBOM: statements.statement(SPDX, {"spdxVersion": "SPDX-2.3"}, str(self.repository), [whole.digest]),
            Kind.PROVENANCE: statements.statement(SLSA, {"buildDefinition": {}}, str(self.repository), [whole.digest]),
            Kind.MIRROR: statements.mirror_statement(whole.digest, about, source="x", ref=f"v{version}", platforms={}),
        }
        types = {Kind.SIGNATURE: SIGN, Kind.SBOM: SPDX, Kind.PROVENANCE: SLSA, Kind.MIRROR: MIRROR_PREDICATE}
        proofs = [
            referrer(store, name, whole, self.mint.key_bundle(made[kind], self.key), predicate=types[kind])
            for kind in sorted(set(made) - lacks)
        ]
        # all at once, as apply does: before that write there was nothing
        fallback(store, name, whole, *proofs)
        return whole


@dataclass
class Court:
    """Rule 2, judged at every PUT of a tag, before anyone can see it."""

    api: bool = False
    wrong: list[str] = field(default_factory=list)
    judged: int = 0

    def __call__(self, repository: str, tag: str, digest: Digest, view: View) -> None:
        """A tag of ours names an index with both platforms, whose images are there, and every proof."""
        if tag.startswith("sha256-"):
            return
        self.judged += 1
        found = faults_of(view, repository, tag, digest, self.api)
        self.wrong += [f"{repository}:{tag} {digest.short} {what}" for what in found]


def faults_of(view: View | Store, repository: str, tag: str, digest: Digest, api: bool = False) -> Iterator[str]:
    """What is wrong with a tag that names this digest: nothing, if it is ours. `api`: the registry lists referrers."""
    found = view.manifest(repository, digest)
    if found is None:
        yield "isn't there"
        return
    content = json.loads(found.data)
    images = [entry for entry in content.get("manifests", []) if entry["platform"]["os"] != "unknown"]
    there = {entry["platform"]["architecture"] for entry in images}
    if not {"amd64", "arm64"} <= there:
        yield f"has only {sorted(there)}"
    if any(view.manifest(repository, Digest.parse(entry["digest"])) is None for entry in images):
        yield "lists an image that isn't there"
    version = content.get("annotations", {}).get(ANNOTATION_VERSION, "")
    if tag != "latest" and version != tag:
        yield f"says that it is {version!r}"
    listed = view.referrers(repository, digest) if api else view.fallback(repository, digest)
    kinds = {entry.get("annotations", {}).get(PREDICATE, "") for entry in listed}
    if SIGN not in kinds:
        yield "isn't signed"
    if len(kinds) < 4:
        yield f"has only {sorted(kinds)}"


@contextmanager
def registry_under_watch(
    folder: Path, clock: Callable[[], float] = time.monotonic, **manners: Any
) -> Iterator[tuple[LocalRegistry, Court]]:
    """A registry that asks for a token to push, as GHCR does, and the judge of its tags."""
    court = Court(api=manners.get("referrers") is Referrers.API)
    auth = Auth(users=(ME,))
    with LocalRegistry(folder / "registry", auth=auth, clock=clock, manners=Manners(**manners)) as registry:
        registry.on_tag_put(court)
        yield registry, court
        assert court.wrong == []
        assert registry.violations == []


def forget_peak() -> None:
    """From here on the peak of this process's memory counts anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> int:
    """The most memory that this process had since then, over what it has now, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split()[:2] for line in lines if line.startswith(("VmHWM:", "VmRSS:")))
    return int(found["VmHWM:"]) - int(found["VmRSS:"])
