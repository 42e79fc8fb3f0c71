"""From wanted, observed and remembered to the plan: the same inputs in any order give the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.model.digest import Digest
from reconciler.model.evidence import Unknown
from reconciler.model.observed import Absent, Observation, PointerObserved, Present
from reconciler.model.record import ImageRecord, Record, RecordedTag
from reconciler.model.reference import Repository, TagRef
from reconciler.model.wanted import Blocked, Waiting, Wanted, WantedApp
from reconciler.plan.changes import Assembly, Change, MovePointer, Publish, Rebuild, Restore
from reconciler.plan.decide import Decision, Past, Satisfied, decide
from reconciler.plan.drift import differences
from reconciler.plan.plan import Drift, Held, Plan, Tally
from reconciler.plan.pointers import point


@dataclass(frozen=True, slots=True)
class View:
    """All that the plan needs to know of one app."""

    wanted: WantedApp
    tags: Mapping[TagRef, Observation] = field(default_factory=dict)
    pointers: Mapping[TagRef, PointerObserved] = field(default_factory=dict)
    record: Record | None = None
    seen: frozenset[str] = frozenset()


def make(views: Iterable[View], *, policy: str, now: str, scope: Sequence[str] = (), retry: bool = False) -> Plan:
    """The plan for all `views`; `policy` is the signing policy's hash, `scope` the apps it was narrowed to.

    `View.seen` are the repositories that a record or the history of `state/` has ever seen. `retry` ignores back-off.
    """
    by_app = sorted(views, key=lambda view: view.wanted.app)
    decisions: dict[TagRef, Decision] = {}
    for view in by_app:
        for wanted in view.wanted.tags:
            decisions[wanted.target] = decide(wanted, view.tags[wanted.target], _past(view, wanted, retry), now)
    _hold_dependents(by_app, decisions)
    new = {target.repository for target, decision in decisions.items() if _is_presumed_new(decision)}

    changes: list[Change] = []
    held: list[Held] = []
    drift: list[Drift] = []
    satisfied = 0
    for view in by_app:
        app = view.wanted.app
        if view.wanted.unknown is not None:
            held.append(Held(app, view.wanted.unknown))
            continue
        for wanted in _ordered(view.wanted.tags):
            decision = decisions[wanted.target]
            drift += [Drift(app, wanted.target, line) for line in decision.drift]
            match decision.outcome:
                case Satisfied(present):
                    satisfied += 1
                    recorded = _recorded(view, wanted.target)
                    if recorded is not None and recorded.digest == present.digest:
                        lines = differences(recorded, present, wanted)
                        drift += [Drift(app, wanted.target, line) for line in lines]
                case Blocked() | Waiting() | Unknown() as why:
                    held.append(Held(app, why, wanted.target))
                case change:
                    changes.append(change)
        for pointer in sorted(view.wanted.pointers, key=lambda p: p.target):
            pointed = point(pointer, view.pointers[pointer.target], decisions, pointer.target.repository in new)
            drift += [Drift(app, pointer.target, line) for line in pointed.drift]
            match pointed.outcome:
                case MovePointer() as move:
                    changes.append(move)
                case Digest():
                    satisfied += 1
                case why:
                    held.append(Held(app, why, pointer.target))
    return Plan(
        changes=tuple(_in_order_of_needs(changes)),
        held=tuple(held),
        drift=tuple(drift),
        satisfied=satisfied,
        scope=tuple(sorted(scope)),
        policy=policy,
        tally=_tally(by_app, changes),
    )


def _image(view: View, target: TagRef) -> ImageRecord:
    images = view.record.images if view.record else {}
    return images.get(str(target.repository)) or ImageRecord()


def _recorded(view: View, target: TagRef) -> RecordedTag | None:
    return _image(view, target).tags.get(target.tag)


def _past(view: View, wanted: Wanted, retry: bool) -> Past:
    image = _image(view, wanted.target)
    repository = str(wanted.target.repository)
    return Past(
        recorded=image.tags.get(wanted.target.tag),
        repository_seen=bool(image.tags) or repository in view.seen or _answers(view, wanted.target.repository),
        failure=image.failures.get(wanted.recipe.attempt) if image.failures and not retry else None,
    )


def _answers(view: View, repository: Repository) -> bool:
    """Whether the registry told us of any tag in it: then it isn't new, whatever it denies of others."""
    return any(
        target.repository == repository and isinstance(seen.tag, Present | Absent) for target, seen in view.tags.items()
    )


def _hold_dependents(views: Sequence[View], decisions: dict[TagRef, Decision]) -> None:
    """Holds back what has to be built on something that is held back itself, however far down."""
    wanted = {w.target: w for view in views for w in view.wanted.tags}
    settled = False
    while not settled:
        settled = True
        for target, decision in decisions.items():
            if not isinstance(decision.outcome, Assembly) or not decision.outcome.build:
                continue
            for need in wanted[target].needs:
                base = decisions.get(need)
                if base is None or isinstance(base.outcome, Satisfied) or not _is_held(base):
                    continue
                reason = f"it is built on {need}, which is held back: {base.outcome.reason}"
                mistake = isinstance(base.outcome, Blocked) and base.outcome.mistake
                outcome = Waiting(reason) if isinstance(base.outcome, Waiting) else Blocked(reason, mistake)
                decisions[target] = Decision(decision.row, outcome, decision.drift)
                settled = False
                break


def _is_held(decision: Decision) -> bool:
    return isinstance(decision.outcome, Blocked | Waiting | Unknown)


def _ordered(tags: Iterable[Wanted]) -> list[Wanted]:
    """By image, then the highest version first."""
    newest_first = sorted(tags, key=lambda w: w.release.version, reverse=True)
    return sorted(newest_first, key=lambda w: w.target.repository)


def _is_presumed_new(decision: Decision) -> bool:
    return isinstance(decision.outcome, Publish) and decision.outcome.presumed_new


def _in_order_of_needs(changes: Sequence[Change]) -> list[Change]:
    """What others are built on comes first; apart from that the order stays as it is."""
    places = {change.target: change for change in changes}
    done: dict[TagRef, None] = {}

    def place(change: Change) -> None:
        # circles are refused when the desired state is loaded
        if change.target in done:
            return
        if not isinstance(change, MovePointer):
            for need in change.wanted.needs:
                if need in places:
                    place(places[need])
        done[change.target] = None

    for change in changes:
        place(change)
    return [places[target] for target in done]


def _tally(views: Sequence[View], changes: Sequence[Change]) -> Tally:
    """What the tripwire goes by; a wider window or another platform in the desired state counts for nothing."""
    recorded = lost = 0
    for view in views:
        for wanted in view.wanted.tags:
            known = _recorded(view, wanted.target)
            if known is not None:
                recorded += 1
                lost += _lost(known, view.tags[wanted.target])
    replaced = sum(
        1
        for change in changes
        if (isinstance(change, Rebuild) and not change.edited)
        or (isinstance(change, Restore) and change.exists is not None)
    )
    return Tally(recorded, lost, replaced)


def _lost(known: RecordedTag, observation: Observation) -> bool:
    """Whether the tag lacks what its record says it had: itself, a platform, or a proof."""
    match observation.tag:
        case Absent():
            return True
        case Present() as tag:
            there = {p for p in tag.platforms if p not in tag.gone}
            return not set(known.platforms) <= there or bool(tag.evidence.lacking(frozenset(known.proofs)))
        case _:
            return False
