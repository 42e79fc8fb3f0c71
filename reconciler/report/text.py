"""The plan for a terminal and for logs: symbols with words beside them, as colour is lost in CI."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

from reconciler.plan.changes import words
from reconciler.plan.plan import Plan
from reconciler.plan.saved import state, will
from reconciler.report.escape import command_free, plain
from reconciler.report.wording import DRIFT_SYMBOL, held_symbol, is_quiet, scope, symbol, target, verdict

Row = tuple[str, str, str, str]

# a name longer than this doesn't push everyone's reasons to the right
_WIDEST_TARGET = 40
# with less than this beside the tag, a reason goes below it
_NARROWEST_REASON = 32
_BELOW = 6


def render(plan: Plan, *, colour: bool = False, width: int = 0) -> str:
    """The plan as text that ends with a newline; one sentence where there is nothing to do.

    Reasons are broken at `width` columns, never at 0 (logs): a browser breaks lines itself.
    """
    lines = _wrapped(verdict(plan), 0, width)
    if scope(plan):
        lines += _wrapped(plain(scope(plan)), 0, width)
    if is_quiet(plan):
        return "\n".join(lines) + "\n"
    for app, rows in _by_app(plan):
        lines += ["", plain(app), *_aligned(rows, colour, width)]
    # computed on demand, and it takes longer than all the rest
    digest = plan.hash
    lines += ["", f"Plan {digest}"]
    if plan.changes:
        narrowed = "".join(f" --app {shlex.quote(plain(app))}" for app in plan.scope)
        # not broken: it is there to be copied
        lines.append(f"Apply exactly this: reconcile apply{narrowed} --expect-plan {digest}")
    return "\n".join(map(command_free, lines)) + "\n"


def _by_app(plan: Plan) -> Iterable[tuple[str, list[Row]]]:
    rows = [
        (change.app, (symbol(change), words(change), target(change), f"{change.reason} -> {will(change)}"))
        for change in plan.changes
    ]
    rows += [(held.app, (held_symbol(held), state(held), target(held), held.why.reason)) for held in plan.held]
    rows += [(drift.app, (DRIFT_SYMBOL, "drift", target(drift), drift.what)) for drift in plan.drift]
    # stable, so that what belongs together stays in the plan's order
    rows.sort(key=lambda row: row[0])
    return [(app, [row for _, row in group]) for app, group in groupby(rows, key=lambda row: row[0])]


_COLOURS = {"+": "32", "~": "33", "*": "36", ">": "34", "!": "31", "?": "35", ".": "2", DRIFT_SYMBOL: "33"}


def _aligned(rows: list[Row], colour: bool, width: int) -> Iterator[str]:
    shown = [(mark, word, plain(tag), plain(reason)) for mark, word, tag, reason in rows]
    words_wide = max(len(word) for _, word, _, _ in shown)
    tags_wide = max((w for w in (columns(tag) for _, _, tag, _ in shown) if w <= _WIDEST_TARGET), default=0)
    for mark, word, tag, reason in shown:
        name = f"{word:{words_wide}}"
        if colour:
            mark, name = (f"\x1b[{_COLOURS[mark]}m{part}\x1b[0m" for part in (mark, name))
        gap = " " * max(0, tags_wide - columns(tag))
        start = f"  {mark} {name}  {tag}{gap}  " if tags_wide or tag else f"  {mark} {name}  "
        used = 2 + 1 + 1 + words_wide + 2 + (max(tags_wide, columns(tag)) + 2 if tags_wide or tag else 0)
        if not width or width - used >= _NARROWEST_REASON:
            first, *rest = _wrapped(reason, used, width) or [""]
            yield (start + first).rstrip()
        else:
            yield start.rstrip()
            rest = _wrapped(reason, _BELOW, width)
            used = _BELOW
        yield from (" " * used + line for line in rest)


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    """`text` in lines that fit beside `indent` columns; a word that is too long stays whole, to be copied."""
    if not width or columns(text) <= width - indent:
        return [text] if text else []
    lines: list[str] = []
    line, used = "", 0
    for word in text.split(" "):
        wide = columns(word)
        if line and used + 1 + wide > width - indent:
            lines.append(line)
            line, used = word, wide
        else:
            line, used = (f"{line} {word}", used + 1 + wide) if line else (word, wide)
    return [*lines, line]


def columns(text: str) -> int:
    """How many columns a terminal gives `text`: two for a wide letter, none for a mark on the one before."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
