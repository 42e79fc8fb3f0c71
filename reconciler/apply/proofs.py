"""The proofs of one digest: made side by side, attached at once, read back and verified from scratch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.apply.annotations import commit_of, ref_of, upstream_of
from reconciler.apply.attach import Attacher
from reconciler.errors import BuildError, EvidenceError
from reconciler.evidence.examine import examine, platform_proofs
from reconciler.evidence.judge import Judge
from reconciler.evidence.statements import dump, mirror_statement, statement
from reconciler.evidence.verdict import kind_of
from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Evidence, Invalid, Kind, Missing, Unknown
from reconciler.model.observed import Absent, Child
from reconciler.model.platform import Platform
from reconciler.model.reference import DigestRef, Repository
from reconciler.model.signing import Signing
from reconciler.model.wanted import Wanted
from reconciler.plan.decide import is_bound
from reconciler.registry import parsing
from reconciler.registry.client import Registry
from reconciler.registry.descriptor import Descriptor
from reconciler.registry.manifests import Image, parse
from reconciler.together import together

# BuildKit cuts an attestation at 40 MiB (protocols 4.5)
MAX_STATEMENT = 48 * 1024 * 1024
PREDICATE_TYPE = "in-toto.io/predicate-type"
_PER_PLATFORM = (Kind.SBOM, Kind.PROVENANCE)
_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the desired state comes from: the mirror's own repository, and the commit of it that is applied."""

    source: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A digest to prove: what points to it, the images in it, and its own annotations."""

    descriptor: Descriptor
    platforms: Mapping[Platform, Child]
    annotations: Mapping[str, str]

    @property
    def digest(self) -> Digest:
        """The digest."""
        return self.descriptor.digest


class Signer(Protocol):
    """Whoever makes bundles; `cosign.Cosign` does."""

    @property
    def signing(self) -> Signing:
        """How, and whose count."""
        ...

    async def sign(self, target: DigestRef) -> bytes:
        """A bundle that signs the digest; ToolError where it can't be made."""
        ...

    async def attest(self, statement: bytes, what: str) -> bytes:
        """A bundle that holds the statement byte by byte; ToolError where it can't be made."""
        ...

    async def sign_legacy(self, target: DigestRef) -> None:
        """Signs the digest as cosign 2 does, in the registry; ToolError where it can't be done."""
        ...


class Prover:
    """Makes and checks proofs. `sleep` and `pause` (seconds) bound how a registry that lags is asked again."""

    def __init__(
        self,
        registry: Registry,
        judge: Judge,
        signer: Signer,
        attacher: Attacher,
        origin: Origin,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pause: float = 1.0,
    ) -> None:
        self._registry = registry
        self._judge = judge
        self._signer = signer
        self._attacher = attacher
        self._origin = origin
        self._sleep = sleep
        self._pause = pause
        # an SBOM is megabytes, several times over while it is read, rewritten and signed
        self._large = asyncio.Semaphore(2)

    @property
    def policy(self) -> str:
        """The hash of the policy that proofs are verified by."""
        return self._judge.policy.hash

    async def sign_platform(self, repository: Repository, child: Child) -> None:
        """Signs one image right after its push: that is our right to sign an index with it later (rule 4)."""
        bundle = await self._signer.sign(repository.at(child.digest))
        subject = Descriptor(child.media_type, child.digest, child.size)
        await self._attacher.attach(repository, subject, [bundle], alone=True)

    async def make(
        self, wanted: Wanted, subject: Subject, kinds: Mapping[Kind, tuple[Platform, ...]], *, adopted: str = ""
    ) -> None:
        """Makes the proofs in `kinds` and attaches them; SBOM and provenance for the platforms given with their kind.

        `adopted` says where a digest comes from that wasn't built here. Raises BuildError where BuildKit's attestation
        isn't there to be signed, ToolError where cosign fails, RegistryError.
        """
        repository = wanted.target.repository
        digest = subject.digest
        jobs: list[Coroutine[Any, Any, list[bytes]]] = []
        if Kind.SIGNATURE in kinds:
            jobs.append(self._signature(repository, digest))
        if Kind.MIRROR in kinds:
            jobs.append(self._mirror(wanted, subject, adopted))
        for platform in sorted(subject.platforms):
            needed = tuple(k for k in _PER_PLATFORM if platform in kinds.get(k, ()))
            if needed:
                jobs.append(self._attestations(repository, digest, platform, subject.platforms[platform], needed))
        bundles = [bundle for made in await together(jobs) for bundle in made]
        await self._attacher.attach(repository, subject.descriptor, bundles)

    async def examine(self, repository: Repository, subject: Subject) -> Evidence:
        """All that is proven of the digest, read and verified now."""
        return await examine(
            self._registry, self._judge, repository, subject.digest, subject.platforms, subject.annotations
        )

    async def verified(self, wanted: Wanted, subject: Subject) -> Evidence:
        """The digest's evidence once all that is wanted holds and binds it to this version.

        What the registry doesn't show yet is asked for again a few times, also where somebody else's proof that doesn't
        hold shows already. Raises EvidenceError where it doesn't hold.
        """
        evidence = await self.examined(wanted.target.repository, subject, wanted.evidence, wanted)
        lacking = evidence.lacking(wanted.evidence)
        if not lacking and is_bound(wanted, evidence.binding):
            return evidence
        raise EvidenceError(
            f"{subject.digest.short} isn't proven after it was attested: {_what(wanted, evidence, lacking)}",
            where=str(wanted.target),
            todo="the tag was not written; compare the signing policy of mirror.yaml with who signs",
        )

    async def examined(
        self, repository: Repository, subject: Subject, kinds: frozenset[Kind], wanted: Wanted | None = None
    ) -> Evidence:
        """As `examine`, and again a few times while `kinds` aren't all there, or it isn't bound to `wanted`."""
        attempt = 0
        while True:
            evidence = await self.examine(repository, subject)
            attempt += 1
            bound = wanted is None or is_bound(wanted, evidence.binding)
            if attempt == _ATTEMPTS or (bound and not evidence.lacking(kinds)):
                return evidence
            await self._sleep(self._pause * attempt)

    async def authority(self, repository: Repository, subject: Subject, evidence: Evidence) -> bool:
        """Whether a verified proof of ours is on the digest, or on each image in it: then we may sign it (rule 4)."""
        if evidence.authority:
            return True
        return bool(subject.platforms) and not await self.unproven(repository, subject.platforms)

    async def unproven(self, repository: Repository, platforms: Mapping[Platform, Child]) -> tuple[Platform, ...]:
        """The platforms whose image has no verified proof of ours of its own; EvidenceError if that can't be told."""
        proven = await platform_proofs(self._registry, self._judge, repository, platforms)
        if isinstance(proven, Unknown):
            raise EvidenceError(proven.reason, where=str(repository))
        return tuple(sorted(frozenset(platforms) - proven))

    async def _signature(self, repository: Repository, digest: Digest) -> list[bytes]:
        if "legacy" in self._signer.signing.policy.layouts:
            await self._signer.sign_legacy(repository.at(digest))
        return [await self._signer.sign(repository.at(digest))]

    async def _mirror(self, wanted: Wanted, subject: Subject, adopted: str) -> list[bytes]:
        binding = Binding(
            str(wanted.target.repository),
            str(wanted.release.version),
            "" if adopted else wanted.recipe.hash,
            commit_of(wanted),
        )
        content = mirror_statement(
            subject.digest,
            binding,
            source=upstream_of(wanted),
            ref=ref_of(wanted),
            platforms={platform: child.digest for platform, child in subject.platforms.items()},
            mirror_source=self._origin.source,
            mirror_revision=self._origin.revision,
            adopted=adopted,
        )
        return [await self._signer.attest(dump(content), f"{wanted.target} mirror")]

    async def _attestations(
        self, repository: Repository, digest: Digest, platform: Platform, child: Child, kinds: tuple[Kind, ...]
    ) -> list[bytes]:
        """One bundle per statement of BuildKit's, about the index and that platform's image."""
        where = str(repository.at(child.digest))
        layers = await self._layers(repository, child, where)
        made: list[Coroutine[Any, Any, bytes]] = []
        for kind in kinds:
            found = [layer for layer in layers if kind_of(layer.annotations.get(PREDICATE_TYPE, "")) is kind]
            if not found:
                raise BuildError(
                    f"the image for {platform} has no {kind} that could be attested: it was built without one",
                    where=where,
                    todo=f"take {kind} out of `evidence`, or have the version built again",
                )
            made += [self._attestation(repository, digest, platform, child, layer, kind) for layer in found]
        return await together(made)

    async def _layers(self, repository: Repository, child: Child, where: str) -> tuple[Descriptor, ...]:
        if child.attestation is None:
            return ()
        manifest = await self._registry.manifest(repository, child.attestation)
        content = None if isinstance(manifest, Absent) else parse(manifest)
        if not isinstance(content, Image):
            raise BuildError("its attestation manifest is gone", where=where, todo="have the version built again")
        return content.layers

    async def _attestation(
        self,
        repository: Repository,
        digest: Digest,
        platform: Platform,
        child: Child,
        layer: Descriptor,
        kind: Kind,
    ) -> bytes:
        where = f"{repository.at(child.digest)} {kind}"
        async with self._large:
            data = await self._registry.blob(repository, layer.digest, cap=MAX_STATEMENT)
            if isinstance(data, Absent):
                raise BuildError("BuildKit's attestation is gone", where=where, todo="have the version built again")
            content = await asyncio.to_thread(_restated, data, str(repository), (digest, child.digest), where)
            return await self._signer.attest(content, f"{repository.at(digest)} {kind} {platform}")


def _restated(data: bytes, name: str, subjects: tuple[Digest, Digest], where: str) -> bytes:
    """BuildKit's statement with our subjects: its own name files or nothing at all."""
    content = parsing.load_object(data, where)
    predicate = content.get("predicate")
    if not isinstance(predicate, dict):
        raise BuildError("BuildKit's attestation has no predicate", where=where)
    return dump(statement(parsing.text(content, "predicateType", where), predicate, name, subjects))


def kinds_for(
    subject: Subject, kinds: frozenset[Kind], evidence: Evidence | None = None
) -> dict[Kind, tuple[Platform, ...]]:
    """What to make: each kind, for all platforms, or just for those that `evidence` says lack it."""
    needed: dict[Kind, tuple[Platform, ...]] = {}
    for kind in Kind:
        if kind in kinds:
            finding = evidence.findings[kind] if evidence else None
            lacking = finding.platforms if isinstance(finding, Missing | Invalid) else ()
            needed[kind] = lacking or tuple(sorted(subject.platforms))
    return needed


def _what(wanted: Wanted, evidence: Evidence, lacking: tuple[Kind, ...]) -> str:
    reasons = []
    for kind in lacking:
        finding = evidence.findings[kind]
        reasons.append(f"{kind} {finding.reason if isinstance(finding, Invalid | Unknown) else 'missing'}")
    if not lacking:
        bound = evidence.binding
        reasons.append(
            f"it is bound to {bound.repository} {bound.version}" if bound else "nothing binds it to a version"
        )
    return "; ".join([*reasons, *evidence.notes[:3]])
