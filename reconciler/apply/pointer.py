"""Moving one pointer: only forward, only to a version that is complete and proven now (rule 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from reconciler.apply import recording
from reconciler.apply.content import Content, read_content
from reconciler.apply.proofs import Prover
from reconciler.apply.publish import Steps
from reconciler.apply.results import Done, NotTried, Unconfirmed
from reconciler.apply.tagging import Tagger
from reconciler.errors import EvidenceError, Moved, ReconcileError
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.observed import Absent
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.plan.changes import MovePointer
from reconciler.record import Records
from reconciler.registry.client import Registry


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Why a version's tag isn't complete after the change to it; `moved`: because somebody else wrote it."""

    reason: str
    moved: bool = False


# the digest of a version's tag once the change to it (if there is one) has ended
Settled = Callable[[TagRef, Digest | None], Awaitable[Digest | Incomplete]]


class _Unfit(ReconcileError):
    """A candidate that can't be pointed to."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """Moves pointers. `settled` waits for the change to a version's tag and says what became of it."""

    registry: Registry
    records: Records
    prover: Prover
    tagger: Tagger
    settled: Settled

    async def make(self, change: MovePointer, steps: Steps) -> Done | Unconfirmed | NotTried:
        """Moves it to the first candidate that is complete; NotTried where that isn't above what it names.

        Raises Moved where the pointer isn't what the plan saw, RegistryError, EvidenceError.
        """
        reasons: list[str] = []
        names = change.names if change.names is not None else await self._names_now(change)
        for version, source, planned in _candidates(change):
            if version != change.to and not _forward(change, names, version):
                break
            digest = await self.settled(source, planned)
            if isinstance(digest, Incomplete):
                reasons.append(f"{version}: {digest.reason}")
                if digest.moved:
                    # whoever writes a higher version points to it as well, maybe between our look and our write
                    break
                continue
            try:
                steps.say(f"verify {version} {digest.short}")
                content = await self._proven(change, version, source, digest)
            except Moved as error:
                reasons.append(f"{version}: {error.reason}")
                break
            except _Unfit as error:
                reasons.append(f"{version}: {error.reason}")
                continue
            return await self._move(change, version, content, reasons, steps)
        stays = f"stays on {names}" if names else "isn't moved"
        return NotTried(change, f"it {stays}; {'; '.join(reasons)}")

    async def _names_now(self, change: MovePointer) -> str | None:
        """The version that the pointer is proven to name now, where the plan couldn't tell; None where nothing is.

        Raises Moved where that is above where it was to go, EvidenceError where it can't be told (rules 1 and 6).
        """
        if change.exists is None:
            return None
        repository = change.target.repository
        if isinstance(await self.registry.head(repository, change.exists), Absent):
            return None
        content = await read_content(self.registry, repository, change.exists)
        evidence = await self.prover.examine(repository, content.subject)
        unsure = None if evidence.authority else evidence.unknown(frozenset(Kind))
        if unsure is not None:
            raise EvidenceError(f"what it names can't be told now: {unsure.reason}", where=str(change.target))
        binding = evidence.binding
        if binding is None or binding.repository != str(repository):
            return None
        if not await self.prover.authority(repository, content.subject, evidence):
            return None
        if _above(binding.version, change.to):
            raise Moved(
                f"it is proven to name {binding.version} now, and doesn't go back to {change.to} by itself",
                where=str(change.target),
                todo="nothing was written; make a new plan",
            )
        return binding.version

    async def _proven(self, change: MovePointer, version: Version, source: TagRef, digest: Digest) -> Content:
        """The digest's content, if the version's tag names it, no proof lacks, and one says that it is that version."""
        await self.tagger.check(source, digest)
        content = await read_content(self.registry, source.repository, digest)
        evidence = await self.prover.examined(source.repository, content.subject, frozenset(change.evidence))
        lacking = evidence.lacking(frozenset(change.evidence))
        if lacking:
            raise _Unfit(f"it lacks {', '.join(lacking)} now")
        binding = evidence.binding
        ours = await self.prover.authority(source.repository, content.subject, evidence)
        if not ours or binding is None or binding.repository != str(change.target.repository):
            raise _Unfit("it isn't proven to be ours")
        if binding.version != str(version):
            raise _Unfit(f"it is proven to be {binding.version}")
        return content

    async def _move(
        self, change: MovePointer, version: Version, content: Content, reasons: list[str], steps: Steps
    ) -> Done | Unconfirmed:
        digest = content.subject.digest
        detail = f"to {version}" + (f" ({'; '.join(reasons)})" if reasons else "")
        with steps.hold():
            steps.say(f"point {change.target.tag} to {version}")
            media_type = content.subject.descriptor.media_type
            shown = await self.tagger.write(change.target, change.exists, content.data, media_type)
            steps.say("record")
            self.records.update(change.app, recording.pointed(change.target, version, digest))
        if shown:
            return Done(change, digest, detail)
        return Unconfirmed(change, digest, f"{detail}; the registry took it, but doesn't show it yet")


def _candidates(change: MovePointer) -> Iterator[tuple[Version, TagRef, Digest | None]]:
    yield change.to, change.source, change.digest
    yield from change.candidates


def _forward(change: MovePointer, names: str | None, version: Version) -> bool:
    """Whether the pointer may go to this candidate instead of the planned one: never below what it `names` now.

    Where the plan itself goes back (the version that it names was withdrawn), the next lower candidate is as good.
    """
    if names is None:
        return True
    try:
        now = Version.parse(names)
    except ValueError:
        return True
    return version >= now or change.to < now


def _above(names: str, version: Version) -> bool:
    try:
        return Version.parse(names) > version
    except ValueError:
        return False
