"""The plan for a terminal and for logs: symbols with words beside them, as colour is lost in CI."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from reconciler.plan.changes import words
from reconciler.plan.plan import Drift, Held, Plan
from reconciler.plan.saved import state, will
from reconciler.report.escape import command_free, plain
from reconciler.report.wording import held_symbol, is_quiet, scope, symbol, verdict

Row = tuple[str, str, str, str]


def render(plan: Plan, *, colour: bool = False) -> str:
    """The plan as text that ends with a newline; one sentence where there is nothing to do."""
    lines = [verdict(plan)]
    if scope(plan):
        lines.append(scope(plan))
    if is_quiet(plan):
        return "\n".join(lines) + "\n"
    for app, rows in _by_app(plan):
        lines += ["", plain(app), *_aligned(rows, colour)]
    lines += ["", f"Plan {plan.hash}"]
    if plan.changes:
        narrowed = "".join(f" --app {app}" for app in plan.scope)
        lines.append(f"Apply exactly this: reconcile apply{narrowed} --expect-plan {plan.hash}")
    return "\n".join(map(command_free, lines)) + "\n"


def _by_app(plan: Plan) -> Iterable[tuple[str, list[Row]]]:
    rows: list[tuple[str, Row]] = []
    for change in plan.changes:
        target = f"{change.image}:{change.target.tag}"
        rows.append((change.app, (symbol(change), words(change), target, change.reason)))
        rows.append((change.app, ("", "", "", f"-> {will(change)}")))
    rows += [(held.app, _held(held)) for held in plan.held]
    rows += [(drift.app, _drift(drift)) for drift in plan.drift]
    # stable, so that what belongs together stays in the plan's order
    rows.sort(key=lambda row: row[0])
    return [(app, [row for _, row in group]) for app, group in groupby(rows, key=lambda row: row[0])]


def _held(held: Held) -> Row:
    target = f"{held.target.repository.name.rpartition('/')[2]}:{held.target.tag}" if held.target else ""
    return held_symbol(held), state(held), target, held.why.reason


def _drift(drift: Drift) -> Row:
    return "≠", "drift", f"{drift.target.repository.name.rpartition('/')[2]}:{drift.target.tag}", drift.what


_COLOURS = {"+": "32", "~": "33", "*": "36", ">": "34", "!": "31", "?": "35", ".": "2", "≠": "33"}


def _aligned(rows: list[Row], colour: bool) -> Iterable[str]:
    shown = [(mark, word, plain(target), plain(reason)) for mark, word, target, reason in rows]
    wide = [max(len(row[i]) for row in shown) for i in (1, 2)]
    for mark, word, target, reason in shown:
        line = f"  {mark:1} {word:{wide[0]}}  {target:{wide[1]}}  {reason}".rstrip()
        yield f"\x1b[{_COLOURS[mark]}m{line}\x1b[0m" if colour and mark else line
