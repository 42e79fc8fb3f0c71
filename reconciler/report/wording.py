"""Sentences that every report shares."""

from __future__ import annotations

from collections import Counter

from reconciler.plan.changes import SYMBOLS, Change, words
from reconciler.plan.plan import Drift, Held, Plan
from reconciler.plan.saved import state, summary

HELD_SYMBOLS = {"blocked": "!", "waiting": ".", "unknown": "?"}
DRIFT_SYMBOL = "≠"
_PLURALS = {"move pointer": "move pointers"}


def count(number: int, noun: str) -> str:
    """`1 change`, `2 changes`, `5,000 changes`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def verdict(plan: Plan) -> str:
    """The plan in one sentence."""
    numbers = summary(plan)
    parts = []
    if plan.changes:
        parts.append(f"{count(len(plan.changes), 'change')} ({kinds(plan.changes)})")
    parts += [f"{numbers[name]:,} {name}" for name in HELD_SYMBOLS if numbers[name]]
    drifted = len({drift.target for drift in plan.drift})
    whole = f"all {plan.satisfied:,} tags and pointers are as wanted"
    if not parts:
        also = f"; {drifted:,} drifted" if drifted else ""
        satisfied = whole if plan.satisfied else "nothing is wanted"
        return f"Nothing to do: no changes, {satisfied}{also}."
    if not plan.changes:
        parts.insert(0, "nothing to do now")
    if drifted:
        parts.append(f"{drifted:,} drifted")
    if plan.satisfied:
        parts.append(f"{plan.satisfied:,} as wanted")
    sentence = ", ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


def kinds(changes: tuple[Change, ...] | list[Change]) -> str:
    """How many changes of each kind: `2 publish, 1 sign, 3 move pointers`."""
    numbers = Counter((list(SYMBOLS).index(change.kind), words(change)) for change in changes)
    return ", ".join(
        f"{number:,} {_PLURALS.get(word, word) if number > 1 else word}"
        for (_, word), number in sorted(numbers.items())
    )


def is_quiet(plan: Plan) -> bool:
    """Whether one sentence says it all."""
    return not (plan.changes or plan.held or plan.drift)


def scope(plan: Plan) -> str:
    """A sentence for a plan that was narrowed, or nothing."""
    if not plan.scope:
        return ""
    return f"This plan is partial: only {', '.join(plan.scope)}. Its hash can't satisfy a full apply."


def symbol(change: Change) -> str:
    """The change's symbol."""
    return SYMBOLS[change.kind]


def held_symbol(held: Held) -> str:
    """The symbol of what is held back."""
    return HELD_SYMBOLS[state(held)]


def target(of: Change | Held | Drift) -> str:
    """The tag within its namespace, as people call it: `outline:1.2.0`; empty where it is about a whole app."""
    return f"{of.target.repository.name.rpartition('/')[2]}:{of.target.tag}" if of.target else ""
