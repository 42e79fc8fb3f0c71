"""What a plan made under a fault may say, compared with the plan that is made without one."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.evidence import Unknown
from reconciler.model.version import Version
from reconciler.plan.changes import Change, MovePointer
from reconciler.plan.plan import Plan


def core(change: Change) -> tuple[object, ...]:
    """What is done to what; not whether a platform is built or taken from an earlier apply."""
    at = getattr(change, "digest", None)
    aim = (change.to, change.digest) if isinstance(change, MovePointer) else (at, getattr(change, "kinds", ()))
    return (change.kind, str(change.target), change.exists, *aim)


def wrongs(plan: Plan, truth: Plan, names: dict[str, str]) -> Iterator[str]:
    """What is wrong with `plan`, given the one without a fault; `names`: the version that each pointer names."""
    right = {core(change) for change in truth.changes}
    held = {held.target.tag if held.target else "" for held in plan.held}
    for change in plan.changes:
        if core(change) in right:
            continue
        # a pointer may go less far while the highest version is unknown, but never back
        lower = isinstance(change, MovePointer) and any(
            isinstance(one, MovePointer) and one.target == change.target and change.to < one.to and str(one.to) in held
            for one in truth.changes
        )
        now = names.get(change.target.tag)
        if not lower or (isinstance(change, MovePointer) and now and Version.parse(now) > change.to):
            yield f"plans to {change.kind} {change.target} ({change.reason})"
    # a pointer is where it should be as long as nothing is known of a higher version
    stay = sum(isinstance(one, MovePointer) for one in truth.changes) - sum(
        isinstance(one, MovePointer) for one in plan.changes
    )
    if plan.satisfied > truth.satisfied + stay:
        yield f"takes {plan.satisfied} for satisfied"
    same = {core(change) for change in plan.changes} == right and plan.satisfied == truth.satisfied
    if not same and plan.complete:
        yield "says that it is complete"
    if not same and not any(isinstance(held.why, Unknown) for held in plan.held):
        yield "doesn't say what is unknown"


def unclear(plan: Plan, host: str, name: str) -> Iterator[str]:
    """Reasons that don't name the host and the image."""
    for held in plan.held:
        if isinstance(held.why, Unknown) and not (host in held.why.reason and name in held.why.reason):
            yield held.why.reason
