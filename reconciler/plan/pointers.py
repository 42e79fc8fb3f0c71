"""Where a moving tag goes: to the highest version that is complete or will be, and never back by itself (rule 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.digest import Digest
from reconciler.model.evidence import Unknown
from reconciler.model.observed import Absent, Denied, PointedAt, PointerObserved
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Waiting, WantedPointer
from reconciler.plan.changes import Assembly, MovePointer, OfRelease
from reconciler.plan.decide import Decision, Satisfied


@dataclass(frozen=True, slots=True)
class PointerDecision:
    """What follows for one pointer, and what else is to be said of it."""

    outcome: MovePointer | Digest | Blocked | Waiting | Unknown
    drift: tuple[str, ...] = ()


def point(
    wanted: WantedPointer, observed: PointerObserved, decisions: Mapping[TagRef, Decision], presumed_new: bool
) -> PointerDecision:
    """What follows for one pointer, given what was decided for the tags; a Digest: it is there already.

    `presumed_new`: its repository is denied but will be made by this very plan.
    """
    complete, held = _candidates(wanted, decisions)
    exists = observed.digest if isinstance(observed, PointedAt) else None
    if isinstance(observed, Unknown):
        return PointerDecision(observed)
    if isinstance(observed, Denied) and not presumed_new:
        return PointerDecision(Unknown(observed.reason))
    if not complete:
        return PointerDecision(_nothing(wanted, held))
    (to, source, digest), *others = complete
    names = observed.version if isinstance(observed, PointedAt) else None
    if exists is not None and exists == digest:
        return PointerDecision(exists)
    drift: tuple[str, ...] = ()
    reason = f"{source.tag} is the highest complete version"
    match observed:
        case PointedAt(_, None):
            drift = (f"{exists.short if exists else ''} is pointed to, but nothing signed says which version that is",)
            reason += "; what it names now can't be told"
        case PointedAt(_, str(version)):
            now = _version(version)
            if now is not None and now > to and now not in wanted.ruled_out:
                return PointerDecision(_downgrade(now, to, held))
            reason += _step(version, to, now in wanted.ruled_out if now else False)
        case Absent() | Denied():
            reason += "; the pointer isn't there yet"
        case _:
            pass
    return PointerDecision(
        MovePointer(
            app=wanted.app,
            image=wanted.image,
            target=wanted.target,
            reason=reason,
            exists=exists,
            to=to,
            source=source,
            digest=digest,
            names=names,
            candidates=tuple(others),
            evidence=tuple(sorted(wanted.evidence)),
        ),
        drift,
    )


def _candidates(
    wanted: WantedPointer, decisions: Mapping[TagRef, Decision]
) -> tuple[list[tuple[Version, TagRef, Digest | None]], dict[Version, Blocked | Waiting | Unknown]]:
    """The candidates that are or will be complete, highest first, with any digest known; and the held ones."""
    complete: list[tuple[Version, TagRef, Digest | None]] = []
    held: dict[Version, Blocked | Waiting | Unknown] = {}
    for version in wanted.candidates:
        source = wanted.target.repository.tag(str(version))
        decision = decisions.get(source)
        match decision.outcome if decision else None:
            case Satisfied(present):
                complete.append((version, source, present.digest))
            case Blocked() | Waiting() | Unknown() as why:
                held[version] = why
            case None:
                pass
            case change:
                complete.append((version, source, _known_digest(change)))
    return complete, held


def _known_digest(change: OfRelease) -> Digest | None:
    """The digest that the tag will have, where no new index has to be made."""
    if isinstance(change, Assembly) and not (change.kind == "adopt" and not change.build):
        return None
    return getattr(change, "digest", None)


def _nothing(wanted: WantedPointer, held: Mapping[Version, Blocked | Waiting | Unknown]) -> Unknown | Waiting:
    for version, why in held.items():
        if isinstance(why, Unknown):
            return Unknown(f"{version}, which it would point to, is unknown: {why.reason}")
    if held:
        return Waiting(f"none of the {len(held)} versions that it could point to is complete")
    return Waiting("no release matches it")


def _downgrade(now: Version, to: Version, held: Mapping[Version, Blocked | Waiting | Unknown]) -> Blocked | Unknown:
    why = held.get(now)
    if isinstance(why, Unknown):
        return Unknown(f"it names {now}, which is unknown: {why.reason}")
    return Blocked(
        f"it names {now}, the highest complete version is {to}, and a pointer doesn't go back by itself; "
        f"if {now} was withdrawn, write it under `exclude`"
    )


def _step(names: str, to: Version, withdrawn: bool) -> str:
    if names == str(to):
        return f"; it names an earlier digest of {names}"
    return f"; it names {names}, which is ruled out" if withdrawn else f"; it names {names}"


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None
