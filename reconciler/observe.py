"""From wanted to observed: asks the registry and the evidence room for all tags of an app at once.

With a record, a tag costs one HEAD, and its proofs one HEAD of their index: where both name what the record knows and
the record holds all that is wanted, nothing else is read. Otherwise the tag is read from scratch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.errors import Denied as DeniedError
from reconciler.errors import Malformed, RegistryError
from reconciler.evidence.examine import examine, platform_proofs
from reconciler.evidence.judge import Judge
from reconciler.evidence.recall import legacy_tags, unchanged
from reconciler.evidence.weigh import annotated
from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Kind, Unknown
from reconciler.model.observed import (
    Absent,
    Child,
    Denied,
    Observation,
    Observed,
    PointedAt,
    PointerObserved,
    Present,
)
from reconciler.model.platform import Platform
from reconciler.model.record import ImageRecord, Record, RecordedTag
from reconciler.model.reference import Repository, TagRef
from reconciler.model.wanted import Wanted, WantedApp, WantedPointer
from reconciler.plan.decide import is_bound, is_ours
from reconciler.plan.make import View
from reconciler.registry.client import Registry
from reconciler.registry.descriptor import Descriptor, Manifest
from reconciler.registry.manifests import Image, Index, config_platform, parse
from reconciler.together import together

T = TypeVar("T")

# GHCR is eventually consistent after a tag write, seconds-scale (protocols 2.12)
LAG = 3.0
CONFIG_CAP = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """How far records are believed: not at all (`fresh`), or only where checked from scratch since `checked_since`."""

    fresh: bool = False
    checked_since: str = ""

    def believes(self, recorded: RecordedTag, policy: str) -> bool:
        """Whether this record may stand for reading and verifying again."""
        return not self.fresh and recorded.policy == policy and recorded.checked >= self.checked_since


class Observer:
    """Looks at the registry for one run, and judges what proves it."""

    def __init__(
        self,
        registry: Registry,
        judge: Judge,
        trust: Trust = Trust(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._judge = judge
        self._policy = judge.policy.hash
        self._trust = trust
        self._sleep = sleep

    async def view(self, wanted: WantedApp, record: Record, seen: frozenset[str] = frozenset()) -> View:
        """All that the plan needs to know of one app; never raises for what the registry does."""
        pointed = asyncio.gather(*(self._point_head(pointer.target) for pointer in wanted.pointers))
        try:
            seen_tags = await asyncio.gather(*(self._tag(tag, _image(record, tag.target)) for tag in wanted.tags))
            tags = {tag.target: observation for tag, observation in zip(wanted.tags, seen_tags, strict=True)}
            heads = await pointed
        finally:
            pointed.cancel()
        names = await asyncio.gather(
            *(self._pointer(pointer, head, tags) for pointer, head in zip(wanted.pointers, heads, strict=True))
        )
        pointers = {pointer.target: name for pointer, name in zip(wanted.pointers, names, strict=True)}
        return View(wanted, tags, pointers, record, seen)

    async def _tag(self, wanted: Wanted, image: ImageRecord) -> Observation:
        recorded = image.tags.get(wanted.target.tag)
        trusted = recorded if recorded is not None and self._trust.believes(recorded, self._policy) else None
        if trusted is not None:
            warm = await self._warm(wanted, trusted)
            if warm is not None:
                return Observation(warm)
        tag = await self.look(wanted.target.repository, wanted.target.tag, trusted)
        if isinstance(tag, Absent) and recorded is not None:
            await self._sleep(LAG)
            tag = await self.look(wanted.target.repository, wanted.target.tag, trusted)
        observation = Observation(tag)
        if recorded is not None and _needs_another(wanted, tag, recorded):
            before = await self.look(wanted.target.repository, recorded.digest)
            observation = replace(observation, recorded=before)
        pending = image.pending.get(wanted.recipe.hash, {})
        if pending and (isinstance(tag, Absent) or _lacks(wanted, tag)):
            found = await self._pending(wanted, pending)
            observation = replace(observation, pending=found)
        return observation

    async def _warm(self, wanted: Wanted, recorded: RecordedTag) -> Present | None:
        """The tag by its record, if nothing moved and all that is wanted is in there; None: read it from scratch."""
        repository = wanted.target.repository
        layouts = self._judge.policy.layouts
        names = legacy_tags(recorded, layouts)
        head, index, legacy = await asyncio.gather(
            _settled(self._registry.head(repository, wanted.target.tag)),
            _settled(self._registry.head_referrers(repository, recorded.digest, expected=recorded.evidence)),
            asyncio.gather(
                *(_settled(self._registry.head(repository, recorded.digest.fallback_tag + name)) for name in names)
            ),
        )
        if isinstance(head, Absent | Unknown | Denied) or head.digest != recorded.digest:
            return None
        if isinstance(index, Unknown | Denied):
            return None
        tags = {name: one.digest for name, one in zip(names, legacy, strict=True) if isinstance(one, Descriptor)}
        evidence = unchanged(
            recorded,
            self._policy,
            index if isinstance(index, Digest) else None,
            legacy=tags,
            required=wanted.evidence,
            layouts=layouts,
        )
        if evidence is None or not is_bound(wanted, evidence.binding):
            return None
        platforms = {platform: Child(digest, "", 0) for platform, digest in recorded.platforms.items()}
        present = Present(recorded.digest, recorded.media_type, recorded.size, platforms, evidence)
        return None if present.lacking(wanted.platforms) else present

    async def look(
        self, repository: Repository, reference: str | Digest, recorded: RecordedTag | None = None
    ) -> Observed:
        """What a tag or a digest is: its manifest, whether its images are there, and all that proves it.

        With `recorded`, proofs that were verified before aren't verified again.
        """
        try:
            manifest = await self._registry.manifest(repository, reference)
            if isinstance(manifest, Absent):
                return manifest
            return await self._present(repository, manifest, recorded)
        except DeniedError as error:
            return Denied(error.reason)
        except RegistryError as error:
            return Unknown(error.reason)

    async def _present(self, repository: Repository, manifest: Manifest, recorded: RecordedTag | None) -> Present:
        content = parse(manifest)
        gone: tuple[Platform, ...] = ()
        if isinstance(content, Index):
            platforms = content.platforms
            there = await together(self._registry.head(repository, child.digest) for child in platforms.values())
            gone = tuple(p for p, head in zip(platforms, there, strict=True) if isinstance(head, Absent))
        else:
            config = await self._registry.blob(repository, content.config.digest, cap=CONFIG_CAP)
            if isinstance(config, Absent):
                raise Malformed("its config is gone, so its platform can't be told", where=str(repository))
            platforms = {config_platform(config): content.child}
        evidence = await examine(
            self._registry, self._judge, repository, manifest.digest, platforms, content.annotations, recorded
        )
        present = Present(
            manifest.digest, manifest.media_type, manifest.size, platforms, evidence, content.annotations, gone
        )
        if evidence.authority or evidence.unknown(frozenset(Kind)) is not None:
            return present
        proven = await platform_proofs(self._registry, self._judge, repository, platforms)
        if isinstance(proven, Unknown):
            unsure = dict.fromkeys(Kind, proven)
            return replace(present, evidence=replace(evidence, findings={**evidence.findings, **unsure}))
        if proven and proven == frozenset(platforms):
            evidence = replace(evidence, binding=await self._common_binding(repository, platforms.values()))
        return replace(present, proven_platforms=proven, evidence=evidence)

    async def _common_binding(self, repository: Repository, children: Iterable[Child]) -> Binding | None:
        """What all these images say they are, where each is proven ours by itself.

        The index above them is not: anyone may have put our images of one version under the annotations of another.
        """
        said = {await self._said(repository, child) for child in children}
        return said.pop() if len(said) == 1 else None

    async def _said(self, repository: Repository, child: Child) -> Binding | None:
        manifest = await self._registry.manifest(repository, child.digest)
        content = None if isinstance(manifest, Absent) else parse(manifest)
        return annotated(content.annotations) if isinstance(content, Image) else None

    async def _pending(self, wanted: Wanted, pending: Mapping[Platform, Digest]) -> Mapping[Platform, Child]:
        """Those of the platforms that an earlier apply pushed which are still there, proven, and what is wanted."""
        repository = wanted.target.repository
        found = {}
        for platform, digest in pending.items():
            try:
                manifest = await self._registry.manifest(repository, digest)
                content = None if isinstance(manifest, Absent) else parse(manifest)
                if isinstance(content, Index) and platform in content.platforms:
                    child = content.platforms[platform]
                    said = await self._said(repository, child)
                    if said is not None and is_bound(wanted, said) and said.recipe == wanted.recipe.hash:
                        found[platform] = child
            except RegistryError:
                # a locator, no authority: whatever is wrong with it, the platform is built again
                continue
        proven = await platform_proofs(self._registry, self._judge, repository, found)
        return {} if isinstance(proven, Unknown) else {p: child for p, child in found.items() if p in proven}

    async def _point_head(self, target: TagRef) -> Digest | Absent | Denied | Unknown:
        head = await _settled(self._registry.head(target.repository, target.tag))
        return head if isinstance(head, Absent | Denied | Unknown) else head.digest

    async def _pointer(
        self,
        pointer: WantedPointer,
        head: Digest | Absent | Denied | Unknown,
        tags: Mapping[TagRef, Observation],
    ) -> PointerObserved:
        if not isinstance(head, Digest):
            return head
        repository = pointer.target.repository
        for target, observation in tags.items():
            for seen in (observation.tag, observation.recorded):
                if target.repository == repository and isinstance(seen, Present) and seen.digest == head:
                    return _pointed(repository, seen)
        seen = await self.look(repository, head)
        match seen:
            case Present():
                return _pointed(repository, seen)
            case Absent():
                # nobody can check what a HEAD says: before it is believed, the tag itself is read
                return await self._named(pointer.target, head)
            case _:
                return seen

    async def _named(self, target: TagRef, head: Digest) -> PointerObserved:
        """What a pointer names whose digest, by a HEAD, isn't there."""
        seen = await self.look(target.repository, target.tag)
        match seen:
            case Present():
                return _pointed(target.repository, seen)
            case Absent():
                return PointedAt(head, None)
            case _:
                return seen


def _pointed(repository: Repository, seen: Present) -> PointerObserved:
    """The version that a digest is by a verified statement; unknown where a proof that may say so is."""
    binding = seen.evidence.binding
    if is_ours(seen) and binding is not None and binding.repository == str(repository):
        return PointedAt(seen.digest, binding.version)
    unsure = seen.evidence.unknown(frozenset(Kind))
    return unsure if unsure is not None else PointedAt(seen.digest, None)


def _image(record: Record, target: TagRef) -> ImageRecord:
    return record.images.get(str(target.repository)) or ImageRecord()


def _needs_another(wanted: Wanted, tag: Observed, recorded: RecordedTag) -> bool:
    """Whether the recorded digest is worth a look: the tag is gone, not ours, or not this version's."""
    match tag:
        case Absent():
            return True
        case Present():
            fits = is_ours(tag) and is_bound(wanted, tag.evidence.binding)
            return not fits and tag.digest != recorded.digest
        case _:
            return False


def _lacks(wanted: Wanted, tag: Observed) -> bool:
    return isinstance(tag, Present) and (bool(tag.lacking(wanted.platforms)) or not is_ours(tag))


async def _settled(answer: Awaitable[T]) -> T | Denied | Unknown:
    try:
        return await answer
    except DeniedError as error:
        return Denied(error.reason)
    except RegistryError as error:
        return Unknown(error.reason)
