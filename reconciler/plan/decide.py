"""What may be done to one wanted tag: the decision table, as one pure function.

First the answer of the registry:

| row | the tag is | and | decision |
|---|---|---|---|
| unknown | unknown | | held: nothing is planned for what is unknown (rule 1) |
| denied | denied | it was seen before | held as unknown |
| new | denied | never seen, or `create` says so | publish, presumed new |
| restore | absent | the recorded digest answers, is ours and this version's, with all platforms | restore |
| regrow | absent | the recorded digest is ours and this version's, but lacks platforms | add platforms to it |
| lost | absent | whether the recorded digest answers is unknown | held as unknown |
| publish | absent | otherwise | publish |

Then, where it is present, whose it is (ours: a verified proof of an accepted signer on it, or on each image in it), and
which version a verified statement says it is (rules 4 and 5):

| row | ours | bound to | has | decision |
|---|---|---|---|---|
| unproven | can't be told now | | | held as unknown |
| satisfied | yes | this version | all platforms, all evidence | nothing |
| stale | yes | this version, another recipe | all platforms | reported; rebuild where the desired state says so |
| prove | yes | this version | all platforms | sign, attest: just what lacks |
| grow | yes | this version | not all platforms | add platforms: the others keep their digests |
| adopt | no, or no version | the desired state names this digest | | adopt |
| unbound | yes | no version | | blocked: someone must name the digest under `adopt` |
| mixed-up | yes | another version or repository | | restore if the record's digest can be, else rebuild |
| foreign | no | | | restore if the record's digest can be, else rebuild; blocked if `adopt` names another |

What would have to be built is held back where upstream isn't ready, an edit or checksum doesn't fit, or the last build
of the very same recipe failed and backs off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Kind, Missing, Unknown
from reconciler.model.observed import Absent, Child, Denied, Observation, Observed, Present
from reconciler.model.platform import Platform
from reconciler.model.recipe import GitSource
from reconciler.model.record import Failure, RecordedTag
from reconciler.model.wanted import Blocked, Waiting, Wanted
from reconciler.plan.changes import AddPlatforms, Adopt, Assembly, OfRelease, Prove, Publish, Rebuild, Restore


@dataclass(frozen=True, slots=True)
class Satisfied:
    """As wanted: nothing to do."""

    present: Present


@dataclass(frozen=True, slots=True)
class Decision:
    """The row that decided, what follows, and what else is to be said of the tag (drift, one line each)."""

    row: str
    outcome: Satisfied | OfRelease | Blocked | Waiting | Unknown
    drift: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What is remembered of a tag: its record, whether its repository was ever seen, and a build that backs off."""

    recorded: RecordedTag | None = None
    repository_seen: bool = False
    failure: Failure | None = None


def is_ours(present: Present) -> bool:
    """Whether a verified proof of an accepted signer is on the digest, or on every image in it (rule 4)."""
    return bool(present.evidence.authority) or (
        bool(present.platforms) and all(p in present.proven_platforms for p in present.platforms)
    )


def is_bound(wanted: Wanted, binding: Binding | None) -> bool:
    """Whether a verified statement names this repository and this version (rule 5)."""
    return (
        binding is not None
        and binding.repository == str(wanted.target.repository)
        and binding.version == str(wanted.release.version)
    )


def decide(wanted: Wanted, observation: Observation, past: Past, now: str) -> Decision:
    """What follows for one wanted tag; `now` is RFC 3339 in UTC. The module's docstring is its table."""
    tag = observation.tag
    match tag:
        case Unknown():
            return Decision("unknown", tag)
        case Denied(reason):
            return _denied(wanted, reason, observation, past, now)
        case Absent():
            return _absent(wanted, observation, past, now)
        case Present():
            return _present(wanted, tag, observation, past, now)


def _denied(wanted: Wanted, reason: str, observation: Observation, past: Past, now: str) -> Decision:
    if past.repository_seen and not wanted.create:
        return Decision("denied", Unknown(reason))
    because = "`create` says so" if wanted.create else "no record has ever seen it"
    reason = f"presumed new: the registry denies {wanted.target.repository}, and {because}"
    build, keep = _parts(wanted, observation.pending)
    change = Publish(wanted=wanted, reason=reason, build=build, keep=keep, presumed_new=True)
    return _build("new", change, past, now)


def _absent(wanted: Wanted, observation: Observation, past: Past, now: str) -> Decision:
    drift = ("the tag is gone",) if past.recorded else ()
    back = _restorable(wanted, observation.recorded)
    if isinstance(back, Unknown):
        return Decision("lost", back, drift)
    if isinstance(back, Present):
        if back.lacking(wanted.platforms):
            return _build("regrow", _grown(wanted, back, observation.pending, exists=None), past, now, drift)
        return Decision("restore", _restored(wanted, back, None, "the tag is gone"), drift)
    build, keep = _parts(wanted, observation.pending)
    change = Publish(wanted=wanted, reason="no such tag", build=build, keep=keep)
    return _build("publish", change, past, now, drift)


def _present(wanted: Wanted, tag: Present, observation: Observation, past: Past, now: str) -> Decision:
    drift = _drift(wanted, tag, past.recorded)
    if not is_ours(tag):
        unsure = tag.evidence.unknown(frozenset(Kind))
        if unsure is not None:
            return Decision("unproven", unsure, drift)
        return _replace("foreign", _whose(tag), wanted, tag, observation, past, now, drift)
    binding = tag.evidence.binding
    if is_bound(wanted, binding):
        return _ours(wanted, tag, observation, past, now, drift)
    if binding is None:
        unsure = tag.evidence.unknown(frozenset(Kind))
        if unsure is not None:
            return Decision("unproven", unsure, drift)
        if wanted.adopt == tag.digest:
            return _adopted(wanted, tag, observation, past, now, drift)
        return Decision(
            "unbound",
            Blocked(
                f"signed by {tag.evidence.authority or 'us'}, but nothing signed says which version it is; if it is "
                f'{wanted.release.version}, write `adopt: {{"{wanted.release.version}": {tag.digest}}}`',
                mistake=True,
            ),
            drift,
        )
    if binding.repository != str(wanted.target.repository):
        what = f"copied from {binding.repository}"
    else:
        what = f"our own digest of {binding.version} under the tag of {wanted.release.version}"
    return _replace("mixed-up", what, wanted, tag, observation, past, now, (*drift, what))


def _ours(
    wanted: Wanted, tag: Present, observation: Observation, past: Past, now: str, drift: tuple[str, ...]
) -> Decision:
    if tag.lacking(wanted.platforms):
        return _build("grow", _grown(wanted, tag, observation.pending, exists=tag), past, now, drift)
    unsure = tag.evidence.unknown(wanted.evidence)
    if unsure is not None:
        return Decision("unproven", unsure, drift)
    stale = _stale(wanted, tag)
    if stale and wanted.on_recipe_change == "rebuild" and not _moved(wanted, tag):
        build, keep = _parts(wanted, observation.pending)
        change = Rebuild(wanted=wanted, exists=tag.digest, reason=stale, build=build, keep=keep, edited=True)
        return _build("stale", change, past, now, drift)
    kinds = tag.evidence.lacking(wanted.evidence)
    if kinds:
        reason = "; ".join(_lacks(tag, kind) for kind in kinds)
        prove = Prove(
            wanted=wanted, exists=tag.digest, reason=reason, digest=tag.digest, kinds=kinds, platforms=tag.platforms
        )
        return Decision("prove", prove, drift)
    return Decision("stale" if stale else "satisfied", Satisfied(tag), (*drift, stale) if stale else drift)


def _replace(
    row: str,
    what: str,
    wanted: Wanted,
    tag: Present,
    observation: Observation,
    past: Past,
    now: str,
    drift: tuple[str, ...],
) -> Decision:
    """The tag names a digest that isn't ours, or isn't this version's."""
    if wanted.adopt == tag.digest and row == "foreign":
        return _adopted(wanted, tag, observation, past, now, drift)
    back = _restorable(wanted, observation.recorded)
    if isinstance(back, Unknown):
        return Decision(row, back, drift)
    if isinstance(back, Present) and not back.lacking(wanted.platforms):
        return Decision("restore", _restored(wanted, back, tag, what), drift)
    if wanted.adopt is not None and row == "foreign":
        return Decision(
            row,
            Blocked(f"`adopt` names {wanted.adopt.short}, but the tag names {tag.digest.short}: {what}", mistake=True),
            drift,
        )
    build, keep = _parts(wanted, observation.pending)
    reason = f"{what}; replaces {tag.digest.short}"
    change = Rebuild(wanted=wanted, exists=tag.digest, reason=reason, build=build, keep=keep)
    return _build(row, change, past, now, drift)


def _adopted(
    wanted: Wanted, tag: Present, observation: Observation, past: Past, now: str, drift: tuple[str, ...]
) -> Decision:
    lacking = tag.lacking(wanted.platforms)
    build, keep = _parts(wanted, observation.pending, keep=tag)
    # the origin is noted in the mirror statement, and nothing of ours is unsigned
    required = wanted.evidence | {Kind.SIGNATURE, Kind.MIRROR}
    kinds = tuple(k for k in Kind if k in required) if lacking else tag.evidence.lacking(required)
    reason = f"the desired state adopts {tag.digest.short}"
    if lacking:
        reason += f", which lacks {_list(lacking)}"
    change = Adopt(
        wanted=wanted, exists=tag.digest, reason=reason, build=build, keep=keep, digest=tag.digest, kinds=kinds
    )
    return _build("adopt", change, past, now, drift)


def _grown(wanted: Wanted, base: Present, pending: Mapping[Platform, Child], exists: Present | None) -> AddPlatforms:
    lacking = base.lacking(wanted.platforms)
    gone = [p for p in lacking if p in base.gone]
    reason = f"lacks {_list(lacking)}"
    if gone:
        reason += f" ({_list(gone)}: listed, but its manifest is gone)"
    if exists is None:
        reason = f"the tag is gone, and the recorded {base.digest.short} {reason}"
    build, keep = _parts(wanted, pending, keep=base)
    return AddPlatforms(wanted=wanted, exists=_digest(exists), reason=reason, build=build, keep=keep)


def _restored(wanted: Wanted, back: Present, tag: Present | None, what: str) -> Restore:
    reason = f"{what}; the recorded {back.digest.short} is whole and ours"
    if tag is not None:
        reason += f"; replaces {tag.digest.short}"
    return Restore(
        wanted=wanted,
        exists=_digest(tag),
        reason=reason,
        digest=back.digest,
        platforms=back.platforms,
        kinds=back.evidence.lacking(wanted.evidence),
    )


def _restorable(wanted: Wanted, recorded: Observed | None) -> Present | Unknown | None:
    """The recorded digest if it still answers, is provably ours and this version's; Unknown if that can't be told."""
    match recorded:
        case Unknown():
            return Unknown(f"the recorded digest: {recorded.reason}")
        case Denied(reason):
            return Unknown(f"the recorded digest: {reason}")
        case Present():
            if is_ours(recorded) and is_bound(wanted, recorded.evidence.binding):
                return recorded.evidence.unknown(wanted.evidence) or recorded
            return None if is_ours(recorded) else recorded.evidence.unknown(frozenset(Kind))
        case _:
            return None


def _build(row: str, change: Assembly, past: Past, now: str, drift: tuple[str, ...] = ()) -> Decision:
    """`change`, unless what it would have to build can't be built now."""
    if not change.build:
        return Decision(row, change, drift)
    hindrance = change.wanted.hindrance
    if hindrance is not None:
        return Decision(row, hindrance, drift)
    failure = past.failure
    if failure is not None and failure.until > now:
        times = "once" if failure.count == 1 else f"{failure.count} times"
        reason = f"the build failed {times}: {failure.reason}; waiting until {failure.until} (--retry tries at once)"
        return Decision(row, Waiting(reason, failure.until), drift)
    return Decision(row, change, drift)


def _parts(
    wanted: Wanted, pending: Mapping[Platform, Child], keep: Present | None = None
) -> tuple[tuple[Platform, ...], Mapping[Platform, Child]]:
    """What a new index is made of: platforms to build, and images that are there (`keep`'s, an earlier apply's)."""
    kept = {p: c for p, c in keep.platforms.items() if p not in keep.gone} if keep else {}
    kept |= {p: c for p, c in pending.items() if p in wanted.platforms and p not in kept}
    return tuple(p for p in wanted.platforms if p not in kept), kept


def _digest(tag: Present | None) -> Digest | None:
    return tag.digest if tag else None


def _stale(wanted: Wanted, tag: Present) -> str:
    """What to say where the digest was built by another recipe than today's."""
    binding = tag.evidence.binding
    if binding is None or not binding.recipe or binding.recipe == wanted.recipe.hash:
        return ""
    if _moved(wanted, tag):
        return (
            f"upstream's {wanted.release.tag} named commit {binding.commit[:12]} when this was built, "
            f"now it names {_commit(wanted)[:12]}"
        )
    return "built by another recipe than today's"


def _commit(wanted: Wanted) -> str:
    source = wanted.recipe.source
    return source.commit if isinstance(source, GitSource) else ""


def _moved(wanted: Wanted, tag: Present) -> bool:
    binding = tag.evidence.binding
    return binding is not None and bool(binding.commit) and binding.commit != _commit(wanted)


def _whose(tag: Present) -> str:
    notes = f" ({'; '.join(tag.evidence.notes[:3])})" if tag.evidence.notes else ""
    return f"not provably ours{notes}"


def _lacks(tag: Present, kind: Kind) -> str:
    """`lacks sbom for linux/arm64`, or why what is there doesn't count."""
    finding = tag.evidence.findings[kind]
    match finding:
        case Missing(platforms):
            return f"lacks {kind}" + (f" for {_list(platforms)}" if platforms else "")
        case _:
            return f"{kind} is invalid: {getattr(finding, 'reason', '')}"


def _list(platforms: Iterable[Platform]) -> str:
    return ", ".join(map(str, platforms))


def _drift(wanted: Wanted, tag: Present, recorded: RecordedTag | None) -> tuple[str, ...]:
    """What the record says of the tag that isn't so."""
    if recorded is None:
        return ()
    lines = []
    if recorded.digest != tag.digest:
        lines.append(f"the tag was pushed over: {recorded.digest.short} is now {tag.digest.short}")
    return tuple(lines)
