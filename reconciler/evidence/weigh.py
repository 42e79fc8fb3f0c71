"""From verdicts to evidence: what holds for each kind, pure.

A signature and a mirror statement are about the whole digest: one that is verified is enough. An SBOM or provenance is
about one platform's image: it is proven if for every platform in the index there is a verified statement whose
subjects are the index digest and that platform's manifest digest, or one whose only subject is the index digest, which
then speaks of the whole (what actions/attest writes).

What isn't proven is unknown where something couldn't be read that may hold it, invalid where something claims to be it
and doesn't hold, and missing otherwise, which then is a definite answer from every layout (rule 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reconciler.evidence import statements
from reconciler.evidence.parse import Unreadable
from reconciler.evidence.raw import Attached, Fault, Raw
from reconciler.evidence.verdict import Rejected, Verdict, Verified
from reconciler.model.digest import Digest
from reconciler.model.evidence import (
    ANNOTATION_RECIPE,
    ANNOTATION_REPOSITORY,
    ANNOTATION_VERSION,
    Binding,
    Evidence,
    Finding,
    Invalid,
    Kind,
    Missing,
    Proven,
    Unknown,
)
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository

# how many things that don't count are told of, one line each
MAX_NOTES = 20
_WHOLE = (Kind.SIGNATURE, Kind.MIRROR)


class Judged(NamedTuple):
    """One attached thing and what it came to."""

    attached: Attached
    verdict: Verdict


class _Proof(NamedTuple):
    """A verified proof; the best sorts first: bundles before cosign 2's, the latest before older ones."""

    legacy: bool
    age: int
    digest: Digest
    verified: Verified

    @property
    def proven(self) -> Proven:
        """It, as a finding."""
        return Proven(self.verified.by, self.verified.at, self.digest, "legacy" if self.legacy else "bundle")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: a digest in a repository, the images in it, and its own annotations."""

    repository: Repository
    digest: Digest
    platforms: Mapping[Platform, Child]
    annotations: Mapping[str, str]


def weigh(
    subject: Subject,
    raw: Raw,
    judged: Sequence[Judged],
    faults: Sequence[Fault] = (),
    recalled: Mapping[Kind, Proven] | None = None,
    binding: Binding | None = None,
    layouts: tuple[str, ...] = ("bundle",),
) -> Evidence:
    """What all of it proves of `subject`. `faults` come on top of `raw`'s.

    With "legacy" among `layouts` a signature counts only where cosign 2 finds one too.

    `recalled`: kinds that were verified earlier and whose proofs are still attached, with the `binding` of then.
    """
    recalled = recalled or {}
    proofs = _by_kind(judged)
    unread = (*raw.faults, *faults)
    findings: dict[Kind, Finding] = {}
    for kind in Kind:
        found = recalled.get(kind) or _proven(kind, proofs[kind], subject)
        if kind is Kind.SIGNATURE and "legacy" in layouts and not any(one.legacy for one in proofs[kind]):
            found = ()
        findings[kind] = found if isinstance(found, Proven) else _lacking(kind, found, unread, judged)
    best = next((one for kind in Kind if (one := _first(kind, proofs, recalled)) is not None), None)
    return Evidence(
        findings,
        authority=best or "",
        binding=_binding(subject, proofs[Kind.MIRROR], binding if Kind.MIRROR in recalled else None, best),
        index=raw.index,
        legacy=raw.legacy,
        notes=_notes(raw, judged),
        recalled=bool(recalled),
    )


def _by_kind(judged: Sequence[Judged]) -> dict[Kind, list[_Proof]]:
    proofs: dict[Kind, list[_Proof]] = {kind: [] for kind in Kind}
    for attached, verdict in judged:
        if isinstance(verdict, Verified) and verdict.kind is not None:
            legacy = attached.form.layout == "legacy"
            age = -int("".join(filter(str.isdigit, verdict.at)) or 0)
            proofs[verdict.kind].append(_Proof(legacy, age, attached.digest, verdict))
    return {kind: sorted(found, key=lambda one: one[:3]) for kind, found in proofs.items()}


def _first(kind: Kind, proofs: Mapping[Kind, list[_Proof]], recalled: Mapping[Kind, Proven]) -> str | None:
    if proofs[kind]:
        return proofs[kind][0].verified.by
    return recalled[kind].by if kind in recalled else None


def _proven(kind: Kind, proofs: Sequence[_Proof], subject: Subject) -> Proven | tuple[Platform, ...]:
    """The finding, or the platforms that lack it, where it exists per platform."""
    if kind in _WHOLE:
        return proofs[0].proven if proofs else ()
    whole = next((one for one in proofs if one.verified.subjects == {subject.digest}), None)
    if whole is not None:
        return whole.proven
    about = {
        platform: next((one for one in proofs if child.digest in one.verified.subjects), None)
        for platform, child in sorted(subject.platforms.items())
    }
    used = list(dict.fromkeys(one for one in about.values() if one is not None))
    lacking = tuple(platform for platform, one in about.items() if one is None)
    if lacking or not used:
        return lacking
    first = used[0].proven
    return Proven(first.by, first.at, first.proof, first.layout, tuple(one.digest for one in used[1:]))


def _lacking(kind: Kind, platforms: tuple[Platform, ...], faults: Sequence[Fault], judged: Sequence[Judged]) -> Finding:
    for fault in faults:
        if kind in fault.kinds:
            return Unknown(fault.reason)
    for attached, verdict in judged:
        if isinstance(verdict, Rejected) and (verdict.claims or attached.claims) is kind:
            return Invalid(verdict.reason, platforms)
    return Missing(platforms)


def _binding(subject: Subject, mirrors: Sequence[_Proof], recalled: Binding | None, ours: str | None) -> Binding | None:
    """What the digest is, by a mirror statement, or by its own annotations once it is proven ours (rule 5).

    A digest that was copied keeps the statement of where it was copied from: one that names this repository is
    preferred, then the latest.
    """
    bindings = [statements.binding(one.verified.predicate or {}) for one in mirrors]
    here = [one for one in (*bindings, recalled) if one is not None]
    for one in here:
        if one.repository == str(subject.repository):
            return one
    if here:
        return here[0]
    return None if ours is None else annotated(subject.annotations)


def annotated(annotations: Mapping[str, str]) -> Binding | None:
    """What an index says of itself; it counts only where the index is proven ours."""
    fields = {
        "repository": annotations.get(ANNOTATION_REPOSITORY, ""),
        "version": annotations.get(ANNOTATION_VERSION, ""),
        "recipe": annotations.get(ANNOTATION_RECIPE, ""),
    }
    try:
        return statements.binding(fields)
    except Unreadable:
        return None


def _notes(raw: Raw, judged: Sequence[Judged]) -> tuple[str, ...]:
    notes = list(raw.notes)
    for attached, verdict in judged:
        where = f"{attached.form.layout} {attached.digest.short}"
        if isinstance(verdict, Rejected):
            notes.append(f"{where}: {verdict.reason}")
        elif attached.claims is not None and verdict.kind is not attached.claims:
            notes.append(f"{where}: says it is a {attached.claims}, but is {verdict.kind or 'none of ours'}")
    if len(notes) > MAX_NOTES:
        notes = [*notes[:MAX_NOTES], f"and {len(notes) - MAX_NOTES} more"]
    return tuple(notes)
