"""Sentences that every report shares."""

from __future__ import annotations

from reconciler.plan.changes import SYMBOLS, Change
from reconciler.plan.plan import Held, Plan
from reconciler.plan.saved import state, summary

HELD_SYMBOLS = {"blocked": "!", "waiting": ".", "unknown": "?"}


def count(number: int, noun: str) -> str:
    """`1 change`, `2 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verdict(plan: Plan) -> str:
    """The plan in one sentence."""
    numbers = summary(plan)
    parts = []
    if plan.changes:
        kinds = ", ".join(f"{numbers[kind]} {kind}" for kind in SYMBOLS if numbers[kind])
        parts.append(f"{count(len(plan.changes), 'change')} ({kinds})")
    parts += [f"{numbers[name]} {name}" for name in HELD_SYMBOLS if numbers[name]]
    whole = f"all {plan.satisfied} tags and pointers are as wanted"
    if not parts:
        return f"Nothing to do: {whole}." if plan.satisfied else "Nothing to do: nothing is wanted."
    if not plan.changes:
        parts.insert(0, "nothing to do now")
    if plan.satisfied:
        parts.append(f"{plan.satisfied} as wanted")
    sentence = ", ".join(parts) + "."
    return sentence[0].upper() + sentence[1:]


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
