"""What apply did: done, failed, refused, not tried, each with its reason; as text, Markdown and JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from reconciler.apply.results import Done, Failed, Moved, NotTried, Outcome, Result, Unconfirmed
from reconciler.errors import ReconcileError
from reconciler.plan.changes import words
from reconciler.plan.plan import Held, Plan
from reconciler.plan.saved import state
from reconciler.report.escape import code, command_free, markdown, plain
from reconciler.report.fitting import Block, fit, size
from reconciler.report.wording import count, held_symbol, symbol

FORMAT_VERSION = 1

_STATES: dict[type, str] = {
    Done: "done",
    Unconfirmed: "unconfirmed",
    Failed: "failed",
    Moved: "refused",
    NotTried: "not tried",
}
_NOT_DONE = {"failed": "!", "refused": "!", "not tried": "."}


def state_of(result: Result) -> str:
    """`done`, `unconfirmed`, `failed`, `refused` or `not tried`."""
    return _STATES[type(result)]


def mark(result: Result) -> str:
    """The change's own symbol where it was made, else that of what became of it."""
    return _NOT_DONE.get(state_of(result)) or symbol(result.change)


def said(result: Result) -> str:
    """What was done, or why not."""
    if isinstance(result, Done | Unconfirmed):
        return f"{result.digest.short}  {result.detail}"
    return result.reason


def verdict(outcome: Outcome) -> str:
    """The outcome in one sentence."""
    states = Counter(map(state_of, outcome.results))
    if not outcome.results:
        return "Nothing to do." if outcome.complete else "Nothing done: what is wanted couldn't all be told."
    parts = [f"{states['done']} of {count(len(outcome.results), 'change')} done"]
    parts += [f"{states[name]} {name}" for name in ("unconfirmed", "failed", "refused", "not tried") if states[name]]
    ending = " Interrupted." if outcome.interrupted else ""
    sentence = ", ".join(parts) + "." + ending
    return sentence[0].upper() + sentence[1:]


def text(plan: Plan, outcome: Outcome) -> str:
    """For a terminal: one line per change, and what the plan held back."""
    rows = [
        (mark(r), state_of(r), words(r.change), f"{r.change.image}:{r.change.target.tag}", said(r))
        for r in outcome.results
    ]
    rows += [
        (held_symbol(h), state(h), "", f"{h.app}:{h.target.tag}" if h.target else h.app, h.why.reason)
        for h in plan.held
    ]
    lines = [verdict(outcome)]
    if rows:
        lines.append("")
    wide = [max((len(plain(row[i])) for row in rows), default=0) for i in (1, 2, 3)]
    for symbol_, became, word, target, reason in rows:
        first, *rest = reason.splitlines() or [""]
        head = f"  {symbol_} {became:{wide[0]}}  {word:{wide[1]}}  {plain(target):{wide[2]}}  {plain(first)}"
        lines += [head.rstrip(), *(f"      {plain(line)}" for line in rest)]
    lines += [f"  {plain(note)}" for note in outcome.notes]
    return "\n".join(map(command_free, lines)) + "\n"


def as_markdown(plan: Plan, outcome: Outcome, limit: int | None = None) -> str:
    """For a step summary of at most `limit` bytes; what went wrong comes first, and what is cut is said."""
    results = sorted(outcome.results, key=lambda result: isinstance(result, Done))
    blocks = (
        Block(
            "results",
            len(results),
            ("", "| | result | change | tag | what |", "|---|---|---|---|---|"),
            lambda: map(_result_row, results),
        ),
        Block(
            "held back",
            len(plan.held),
            ("", "| | held back | tag | why |", "|---|---|---|---|"),
            lambda: map(_held_row, plan.held),
        ),
        Block("notes", len(outcome.notes), ("",), lambda: (f"- {markdown(note)}" for note in outcome.notes)),
    )
    head, foot = f"**reconcile apply:** {verdict(outcome)}", f"Plan {code(plan.hash)}"
    room = None if limit is None else limit - size(head) - size(foot) - 500
    fitted = fit([block for block in blocks if block.count], room, size)
    cut = [f"{missing} of {total} {noun}" for noun, missing, total in fitted.cut]
    ending = [f"Too long to be shown whole: {', '.join(cut)} are left out here.", ""] if cut else []
    return "\n".join([head, *fitted.lines, "", *ending, foot]) + "\n"


def _result_row(result: Result) -> str:
    target = code(f"{result.change.image}:{result.change.target.tag}")
    what = f"| {code(mark(result))} | {state_of(result)} | {words(result.change)} | {target} |"
    return f"{what} {markdown(said(result))} |"


def _held_row(held: Held) -> str:
    tag = code(f"{held.app}:{held.target.tag}" if held.target else held.app)
    return f"| {code(held_symbol(held))} | {state(held)} | {tag} | {markdown(held.why.reason)} |"


def as_json(plan: Plan | None, outcome: Outcome | None, errored: ReconcileError | None = None, status: int = 0) -> str:
    """For machines; written on failure too.

    `format_version`, `status` (the exit status), `hash` of the plan, `errored`, and per result: state, symbol, word,
    app, image, target, digest, said, log.
    """
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "status": status,
        "hash": plan.hash if plan else "",
        "errored": str(errored) if errored else None,
    }
    if plan is not None and outcome is not None:
        document |= {
            "complete": plan.complete,
            "interrupted": outcome.interrupted,
            "results": [_described(result) for result in outcome.results],
            "held": [
                {
                    "state": state(held),
                    "app": held.app,
                    "target": str(held.target) if held.target else None,
                    "reason": held.why.reason,
                }
                for held in plan.held
            ],
            "notes": list(outcome.notes),
        }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _described(result: Result) -> dict[str, Any]:
    change = result.change
    return {
        "state": state_of(result),
        "symbol": mark(result),
        "word": words(change),
        "app": change.app,
        "image": change.image,
        "target": str(change.target),
        "digest": str(result.digest) if isinstance(result, Done | Unconfirmed) else None,
        "said": result.detail if isinstance(result, Done | Unconfirmed) else result.reason,
        "log": result.log if isinstance(result, Failed) else "",
    }
