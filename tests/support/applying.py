"""Apply without processes: a registry in this process, images put into it as a builder would, proofs made by a key.

What is tested is the walk over the plan and all that is asked of the registry on the way; builder and cosign
themselves are in tests/stack.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.apply.annotations import annotations_of
from reconciler.apply.attach import Attacher
from reconciler.apply.builds import Built, read_back
from reconciler.apply.executor import Executor
from reconciler.apply.proofs import Origin, Prover
from reconciler.apply.publish import Publisher, SmokeTest
from reconciler.apply.recording import rfc3339
from reconciler.apply.results import Outcome, Result
from reconciler.apply.slots import Slots
from reconciler.apply.tagging import Tagger
from reconciler.errors import ReconcileError
from reconciler.evidence.judge import Judge
from reconciler.local.registry import LocalRegistry, User
from reconciler.local.sigstore import Key, Mint, sign_statement
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import FolderSource, Recipe
from reconciler.model.reference import DigestRef, Repository, TagRef
from reconciler.model.release import Release
from reconciler.model.signing import KeyPair, Policy, PublicKey, Signing
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted, WantedApp, WantedPointer
from reconciler.observe import Observer, Trust
from reconciler.plan.changes import Change
from reconciler.plan.make import make
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry
from reconciler.registry.credential import Credential
from reconciler.registry.credentials import Credentials
from reconciler.registry.wire import Timeouts
from tests.support.images import attestation, image, index
from tests.support.nouns import AMD64, ARM64

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "mirror/hello"


class Steps:
    """Progress that keeps every step as a line, and tells `at` of each."""

    def __init__(self, at: Callable[[str], None] = lambda line: None) -> None:
        self.lines: list[str] = []
        self.results: list[Result] = []
        self._at = at

    def started(self, change: Change) -> None:
        """Nothing to keep."""

    def step(self, change: Change, text: str) -> None:
        """A line like `1.0.0 build linux/amd64`."""
        self.lines.append(f"{change.target.tag} {text}")
        self._at(self.lines[-1])

    def finished(self, result: Result) -> None:
        """Kept."""
        self.results.append(result)


@dataclass
class KeySigner:
    """Makes bundles as cosign does with a key; `fails` is raised instead."""

    signing: Signing
    key: Key
    mint: Mint
    fails: ReconcileError | None = None

    def _made(self, statement: bytes) -> bytes:
        if self.fails:
            raise self.fails
        return self.mint.key_bundle(statement, self.key)

    async def sign(self, target: DigestRef) -> bytes:
        """A signature."""
        return self._made(sign_statement(str(target.digest)))

    async def attest(self, statement: bytes, what: str) -> bytes:
        """A statement, signed."""
        return self._made(statement)

    async def sign_legacy(self, target: DigestRef) -> None:
        """These tests have one layout."""
        raise AssertionError(target)


@dataclass
class Builds:
    """A builder that puts images into the store; `fails` says for which tag and platform it raises what.

    The same recipe gives the same image, but for another `salt`.
    """

    world: Applying
    made: list[str] = field(default_factory=list)
    fails: dict[str, ReconcileError] = field(default_factory=dict)
    running: int = 0
    most: int = 0
    before: Callable[[str], Awaitable[None]] | None = None
    salt: str = ""

    async def __call__(self, wanted: Wanted, platform: Platform, bases: Mapping[str, DigestRef]) -> Built:
        """The platform; the same recipe gives the same image."""
        name = f"{wanted.target.tag} {platform}"
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.before is not None:
                await self.before(name)
            for part, error in self.fails.items():
                if part in name:
                    raise error
        finally:
            self.running -= 1
        self.made.append(name)
        text = f"{wanted.recipe.hash} {platform} {sorted(map(str, bases.values()))}{self.salt}"
        repository = wanted.target.repository
        store = self.world.registry.store
        one = image(store, repository.name, platform, text=text, annotations=annotations_of(wanted, bases))
        pushed = index(store, repository.name, one, attestation(store, repository.name, one))
        return await read_back(self.world.client, repository, platform, pushed.digest)


@dataclass
class Applying:
    """A mirror of one app, `hello`. Its clock is `now`; nothing waits for real."""

    registry: LocalRegistry
    client: Registry
    folder: Path
    versions: tuple[str, ...] = ("1.0.0",)
    platforms: tuple[Platform, ...] = (AMD64, ARM64)
    key: Key = field(default_factory=Key.generate)
    mint: Mint = field(default_factory=Mint)
    now: datetime = NOW
    smoke: SmokeTest | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        public = PublicKey(self.key.public_pem)
        self.signing = Signing(KeyPair(public), Policy((public,)))
        self.signer = KeySigner(self.signing, self.key, self.mint)
        self.builds = Builds(self)
        self.health = ""
        self.wait = self.sleep or _at_once

    @property
    def repository(self) -> Repository:
        """Where the tags live."""
        return Repository.parse(f"{self.registry.host}/{NAME}")

    @property
    def records(self) -> Records:
        """The records as they are on disk."""
        return Records(self.folder / "state")

    def wanted(self, version: str, image: str = "hello", **fields: Any) -> Wanted:
        """One tag."""
        repository = Repository.parse(f"{self.registry.host}/mirror/{image}")
        whole = Wanted(
            app="hello",
            image=image,
            target=repository.tag(version),
            release=Release(Version.parse(version), f"v{version}", "c" * 40, "2026-01-01T00:00:00Z"),
            platforms=self.platforms,
            evidence=frozenset(Kind),
            recipe=Recipe(FolderSource(image, "sha256:1"), args=(("VERSION", version),)),
        )
        return replace(whole, **fields)

    @property
    def app(self) -> WantedApp:
        """Every version, and `latest`."""
        tags = tuple(self.wanted(version) for version in self.versions)
        candidates = tuple(sorted((tag.release.version for tag in tags), reverse=True))
        evidence = frozenset(kind for tag in tags for kind in tag.evidence)
        pointer = WantedPointer("hello", "hello", self.repository.tag("latest"), candidates, evidence=evidence)
        return WantedApp("hello", tags, (pointer,))

    async def plan(self, app: WantedApp | None = None, *, fresh: bool = False) -> Plan:
        """What there is to do."""
        observer = Observer(self.client, Judge(self.signing.policy), Trust(fresh=fresh), sleep=self.wait)
        view = await observer.view(app or self.app, self.records.load("hello"))
        return make([view], policy=self.signing.policy.hash, now=rfc3339(self.now))

    async def apply(
        self,
        plan: Plan,
        steps: Steps | None = None,
        *,
        jobs: int = 2,
        max_builds: int | None = None,
        stop: asyncio.Event | None = None,
        grace: float = 0.0,
    ) -> Outcome:
        """Makes it so; `grace` is the tagger's patience, for registries that lag."""
        records = self.records
        attacher = Attacher(self.client, now=lambda: rfc3339(self.now), lag=0, clock=self.clock, sleep=self.wait)
        prover = Prover(self.client, Judge(self.signing.policy), self.signer, attacher, Origin(), sleep=self.wait)
        tagger = Tagger(self.client, patience=grace, clock=self.clock, sleep=self.wait)
        slots = Slots(jobs, max_builds)
        publisher = Publisher(
            self.client, records, prover, tagger, self.builds, self.smoke, slots, lambda: self.now, self._diagnose
        )
        executor = Executor(
            plan,
            publisher,
            registry=self.client,
            records=records,
            prover=prover,
            tagger=tagger,
            slots=slots,
            progress=steps or Steps(),
            now=lambda: self.now,
        )
        return await executor.walk(stop or asyncio.Event())

    async def reconcile(self, steps: Steps | None = None, **given: Any) -> Outcome:
        """Plan and apply."""
        return await self.apply(await self.plan(), steps, **given)

    async def _diagnose(self) -> str:
        return self.health

    def digest(self, tag: str, image: str = "hello") -> str:
        """What the registry's store has under a tag; empty where there is none."""
        found = self.registry.store.resolve(f"mirror/{image}", tag)
        return str(found) if found else ""

    def tag(self, tag: str, image: str = "hello") -> TagRef:
        """A tag."""
        return Repository.parse(f"{self.registry.host}/mirror/{image}").tag(tag)


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@contextmanager
def applying(folder: Path, **fields: Any) -> Iterator[tuple[LocalRegistry, Callable[[Registry], Applying]]]:
    """A registry, and what makes a mirror on it of a client."""
    options = fields.pop("registry", {})
    with LocalRegistry(folder / "registry", **options) as registry:
        yield registry, lambda client: Applying(registry, client, folder, **fields)


def client(registry: LocalRegistry, user: User | None = None) -> Registry:
    """A client that asks once and goes to this machine; anonymous unless told as whom."""
    fixed = {registry.host: Credential(user.name, user.password)} if user else {}
    return Registry(
        Credentials(fixed=fixed), trusted=frozenset({registry.host}), timeouts=Timeouts(attempts=1, dial_attempts=1)
    )
