"""One change from build to tag, in the order of rule 2: a tag appears only when it is finished.

build each platform, push it by digest, note it as pending, sign it
assemble the index, push it by digest
smoke-test it on every platform
make all proofs side by side, attach them at once
read the digest back and verify everything from scratch
look at the tag again, put it on the very same bytes, see it there
write the record
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reconciler.apply import recording
from reconciler.apply.annotations import annotations_of
from reconciler.apply.assemble import assemble
from reconciler.apply.builds import Build, Built
from reconciler.apply.content import Content, read_content
from reconciler.apply.failures import BuildFailed, SignerFailed, mine
from reconciler.apply.newness import settle_new
from reconciler.apply.proofs import Prover, Subject, kinds_for
from reconciler.apply.replacing import may_replace
from reconciler.apply.results import Done, Unconfirmed
from reconciler.apply.slots import NotNow, Slots
from reconciler.apply.tagging import Tagger
from reconciler.errors import BuildError, EvidenceError, ReconcileError, Refused, ToolError
from reconciler.evidence.weigh import annotated
from reconciler.model.digest import Digest
from reconciler.model.evidence import Evidence, Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import Smoke
from reconciler.model.reference import DigestRef
from reconciler.model.wanted import Wanted
from reconciler.plan.changes import Adopt, Assembly, OfRelease, Prove, Publish, Restore
from reconciler.plan.decide import is_bound
from reconciler.record import Records
from reconciler.registry.client import Registry
from reconciler.registry.descriptor import Descriptor
from reconciler.registry.media import OCI_INDEX
from reconciler.together import together

# runs a command in an image on a platform; the last argument names the release
SmokeTest = Callable[[Smoke, DigestRef, Platform, str], Awaitable[None]]


class Steps(Protocol):
    """How a change in work speaks to the executor."""

    def say(self, text: str) -> None:
        """The next effect is about to happen."""

    def hold(self) -> AbstractContextManager[None]:
        """Inside, the change isn't interrupted: a tag and its record are written together."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Makes changes to tags of releases.

    `smoke` is None where smoke tests were made elsewhere. `diagnose` asks registry and builder after a failed build;
    its answer, if any, is why no new one starts.
    """

    registry: Registry
    records: Records
    prover: Prover
    tagger: Tagger
    build: Build
    smoke: SmokeTest | None
    slots: Slots
    now: Callable[[], datetime]
    diagnose: Callable[[], Awaitable[str]]

    async def make(self, change: OfRelease, bases: Mapping[str, DigestRef], steps: Steps) -> Done | Unconfirmed:
        """Makes `change` so. `bases` has the digest of each base by its name in FROM.

        Raises Moved, NotNow, BuildFailed, SignerFailed, RegistryError or another ReconcileError.
        """
        match change:
            case Prove():
                return await self._prove(change, steps)
            case Restore():
                return await self._restore(change, steps)
            case Adopt() if not change.build:
                return await self._adopt(change, steps)
            case _:
                return await self._assembly(change, bases, steps)

    async def _assembly(self, change: Assembly, bases: Mapping[str, DigestRef], steps: Steps) -> Done | Unconfirmed:
        wanted = change.wanted
        repository = wanted.target.repository
        if isinstance(change, Publish) and change.presumed_new:
            await settle_new(self.registry, wanted)
        await self.tagger.check(wanted.target, change.exists)
        await may_replace(self.registry, self.prover, change)
        await self._may_keep(change)
        built = await self._build_all(change, bases, steps)
        children = {**change.keep, **{one.platform: one.child for one in built}}
        annotations = annotations_of(wanted, bases)
        data = assemble(children, annotations)
        subject = Subject(Descriptor(OCI_INDEX, Digest.of(data), len(data)), children, annotations)
        steps.say(f"push the index {subject.digest.short}")
        await self.registry.put_manifest(repository, subject.digest, data, OCI_INDEX)
        await self._smoke_all(wanted, subject, steps)
        adopted = ""
        if isinstance(change, Adopt):
            adopted = str(repository.at(change.digest))
            await self._sign_images(wanted, Subject(subject.descriptor, change.keep, {}), steps)
        await self._sign(wanted, subject, kinds_for(subject, wanted.evidence), steps, adopted)
        evidence = await self._verify(wanted, subject, steps)
        names = ", ".join(str(one.platform) for one in built)
        return await self._tag(
            change, Content(subject, data), evidence, f"built {names}" if built else "assembled", steps
        )

    async def _prove(self, change: Prove, steps: Steps) -> Done:
        wanted = change.wanted
        await self.tagger.check(wanted.target, change.digest)
        content = await self._read(wanted, change.digest)
        subject, before = content.subject, await self.prover.examine(wanted.target.repository, content.subject)
        await self._may_sign(wanted, subject, before)
        lacking = frozenset(before.lacking(wanted.evidence))
        if lacking:
            await self._sign(wanted, subject, kinds_for(subject, lacking, before), steps)
        evidence = await self._verify(wanted, subject, steps)
        self._record(wanted, content, evidence, None, "")
        made = ", ".join(kind for kind in change.kinds if kind in lacking) or "nothing was missing any more"
        return Done(change, subject.digest, made)

    async def _restore(self, change: Restore, steps: Steps) -> Done | Unconfirmed:
        wanted = change.wanted
        if not await self.tagger.check(wanted.target, change.exists, change.digest):
            await may_replace(self.registry, self.prover, change)
        content = await self._read(wanted, change.digest)
        subject, before = content.subject, await self.prover.examine(wanted.target.repository, content.subject)
        await self._may_sign(wanted, subject, before)
        missing = [p for p in wanted.platforms if not any(have.satisfies(p) for have in subject.platforms)]
        if missing or not is_bound(wanted, before.binding):
            raise EvidenceError(
                f"{change.digest.short} is not a whole {wanted.release.version} any more",
                where=str(wanted.target),
                todo="make a new plan",
            )
        lacking = frozenset(before.lacking(wanted.evidence))
        if lacking:
            await self._sign(wanted, subject, kinds_for(subject, lacking, before), steps)
        evidence = await self._verify(wanted, subject, steps)
        return await self._tag(change, content, evidence, "restored", steps)

    async def _adopt(self, change: Adopt, steps: Steps) -> Done | Unconfirmed:
        """Nothing to build: the digest that the desired state names is proven as it is (rule 4)."""
        wanted = change.wanted
        if wanted.adopt != change.digest:
            raise Refused(f"the desired state doesn't adopt {change.digest.short}", where=str(wanted.target))
        await self.tagger.check(wanted.target, change.exists, change.digest)
        content = await self._read(wanted, change.digest)
        subject, before = content.subject, await self.prover.examine(wanted.target.repository, content.subject)
        lacking = frozenset(before.lacking(wanted.evidence | frozenset(change.kinds)))
        origin = str(wanted.target.repository.at(change.digest))
        await self._sign_images(wanted, subject, steps)
        await self._sign(wanted, subject, kinds_for(subject, lacking, before), steps, origin)
        evidence = await self._verify(wanted, subject, steps)
        return await self._tag(change, content, evidence, "adopted", steps)

    async def _may_keep(self, change: Assembly) -> None:
        """Rule 4 for what goes in unbuilt: each image is in a digest that we may sign, or proven by itself."""
        wanted = change.wanted
        source = change.digest if isinstance(change, Adopt) else change.exists
        sure: frozenset[Digest] = frozenset()
        if change.keep and source is not None:
            content = await self._read(wanted, source)
            evidence = await self.prover.examine(wanted.target.repository, content.subject)
            ours = bool(evidence.authority) and is_bound(wanted, evidence.binding)
            if ours or (isinstance(change, Adopt) and wanted.adopt == source):
                sure = frozenset(child.digest for child in content.subject.platforms.values())
        rest = {platform: child for platform, child in change.keep.items() if child.digest not in sure}
        unproven = await self.prover.unproven(wanted.target.repository, rest)
        for platform in unproven:
            raise Refused(
                f"nothing proves that this mirror built its image for {platform}, so it isn't signed",
                where=str(wanted.target),
                todo="make a new plan",
            )
        for platform, child in rest.items():
            said = annotated((await self._read(wanted, child.digest)).subject.annotations)
            # an image that was adopted says nothing of itself; one of ours says which version it is (rule 5)
            if said is not None and not is_bound(wanted, said):
                raise Refused(
                    f"its image for {platform} is one of {said.repository} {said.version}",
                    where=str(wanted.target),
                    todo="make a new plan",
                )

    async def _build_all(self, change: Assembly, bases: Mapping[str, DigestRef], steps: Steps) -> list[Built]:
        """Every platform that is to be built; each stands in the record as soon as it is pushed.

        Where one fails, those that are being built go on: what they push is of use to the next run.
        """
        failed: list[ReconcileError] = []
        tasks = [
            asyncio.create_task(self._build(change.wanted, platform, bases, steps, failed)) for platform in change.build
        ]
        try:
            built = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # what failed by itself says more than what wasn't begun because of it
        for error in sorted(failed, key=lambda error: isinstance(error, NotNow)):
            raise error
        return [one for one in built if one is not None]

    async def _build(
        self,
        wanted: Wanted,
        platform: Platform,
        bases: Mapping[str, DigestRef],
        steps: Steps,
        failed: list[ReconcileError],
    ) -> Built | None:
        try:
            async with self.slots.build():
                if failed:
                    raise NotNow(f"not begun: {failed[0].reason}")
                steps.say(f"build {platform}")
                try:
                    one = await self.build(wanted, platform, bases)
                except ReconcileError as error:
                    raise (await self._build_failed(error) if mine(error) else error) from None
                self.records.update(wanted.app, recording.pending(wanted, platform, one.pushed))
            steps.say(f"sign {platform} {one.child.digest.short}")
            await self._signing(self.prover.sign_platform(wanted.target.repository, one.child))
        except ReconcileError as error:
            failed.append(error)
            return None
        return one

    async def _smoke_all(self, wanted: Wanted, subject: Subject, steps: Steps) -> None:
        smoke = wanted.recipe.smoke
        if smoke is None or self.smoke is None:
            return
        image = wanted.target.repository.at(subject.digest)
        where = f"{wanted.app}:{wanted.release.version}"

        async def test(run: SmokeTest, smoke: Smoke, platform: Platform) -> None:
            async with self.slots.work():
                steps.say(f"smoke-test {platform}")
                try:
                    await run(smoke, image, platform, where)
                except (BuildError, ToolError) as error:
                    if isinstance(error, BuildError):
                        # built once more the next time: a wrong image must not be taken up again
                        self.records.update(wanted.app, recording.not_pending(wanted, wanted.platforms))
                    raise await self._build_failed(error) from None

        await together(test(self.smoke, smoke, platform) for platform in wanted.platforms)

    async def _build_failed(self, error: ReconcileError) -> BuildFailed:
        """What that failure means; told before the slot is free, so that nothing begins on a builder that is down."""
        blame = await self.diagnose() if isinstance(error, ToolError) else ""
        if blame:
            self.slots.close(blame)
        return BuildFailed(error, blame)

    async def _sign(
        self,
        wanted: Wanted,
        subject: Subject,
        kinds: Mapping[Kind, tuple[Platform, ...]],
        steps: Steps,
        adopted: str = "",
    ) -> None:
        if kinds:
            steps.say(f"attest {subject.digest.short}: {', '.join(map(str, kinds))}")
            await self._signing(self.prover.make(wanted, subject, kinds, adopted=adopted))

    async def _sign_images(self, wanted: Wanted, subject: Subject, steps: Steps) -> None:
        """Signs each adopted image that carries no proof of ours yet, as those that are built here are."""
        repository = wanted.target.repository
        unsigned = await self.prover.unproven(repository, subject.platforms)
        if unsigned:
            steps.say(f"sign {', '.join(map(str, unsigned))}")
        await together(
            self._signing(self.prover.sign_platform(repository, subject.platforms[platform])) for platform in unsigned
        )

    async def _signing(self, work: Awaitable[None]) -> None:
        try:
            await work
        except ToolError as error:
            raise SignerFailed(error) from None

    async def _verify(self, wanted: Wanted, subject: Subject, steps: Steps) -> Evidence:
        steps.say(f"verify {subject.digest.short}")
        try:
            return await self.prover.verified(wanted, subject)
        except EvidenceError as error:
            raise SignerFailed(error) from None

    async def _may_sign(self, wanted: Wanted, subject: Subject, evidence: Evidence) -> None:
        """Rule 4, asked again from scratch: a plan may be old, and a record or a saved plan forged."""
        if not await self.prover.authority(wanted.target.repository, subject, evidence):
            raise Refused(
                f"nothing proves that this mirror built {subject.digest.short}, so it isn't signed",
                where=str(wanted.target),
                todo="make a new plan; if the digest is right, name it under `adopt` in the desired file",
            )

    async def _read(self, wanted: Wanted, digest: Digest) -> Content:
        return await read_content(self.registry, wanted.target.repository, digest)

    async def _tag(
        self, change: Assembly | Restore, content: Content, evidence: Evidence, detail: str, steps: Steps
    ) -> Done | Unconfirmed:
        """The last effect. From here on nothing interrupts, until the record says it too."""
        wanted, digest = change.wanted, content.subject.digest
        with steps.hold():
            steps.say(f"tag {wanted.target.tag} {digest.short}")
            media_type = content.subject.descriptor.media_type
            shown = await self.tagger.write(wanted.target, change.exists, content.data, media_type)
            steps.say("record")
            self._record(wanted, content, evidence, change.exists, change.reason)
        if shown:
            return Done(change, digest, detail)
        return Unconfirmed(change, digest, f"{detail}; the registry took the tag, but doesn't show it yet")

    def _record(
        self, wanted: Wanted, content: Content, evidence: Evidence, instead_of: Digest | None, why: str
    ) -> None:
        subject = content.subject
        update = recording.published(
            wanted,
            subject.digest,
            subject.descriptor.media_type,
            subject.descriptor.size,
            subject.platforms,
            evidence,
            self.prover.policy,
            self.now(),
            instead_of=instead_of,
            why=why,
        )
        self.records.update(wanted.app, update)
