"""The plan for a comment on a pull request: the verdict first, one row per change, the rest folded.

The first line becomes the subject line and the preview of a mail, so it says everything in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from reconciler.model.recipe import GitSource
from reconciler.plan.changes import Change, MovePointer, words
from reconciler.plan.plan import Drift, Held, Plan
from reconciler.plan.saved import state, will
from reconciler.report import wording
from reconciler.report.escape import code, command_free, html_code, is_link, link, log, markdown
from reconciler.report.fitting import Block, Measure, characters, fit, size
from reconciler.report.wording import count, held_symbol, is_quiet, kinds, scope, symbol, verdict

MARKER = "<!-- reconcile:plan -->"
"""The last line of our comment: it is found again by it, and by its author."""

# what the notice of a cut and the line breaks around it take at most, links included
_RESERVED = 1200
# more changes than this are folded by app
_MANY = 30
_LINE = 100
_CHANGES = "changes"
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the run that a plan was made in; empty where it isn't.

    `commit`: that the plan was made for. `run_url`: where the whole plan is. `touches_state`: the pull request edits
    records. `notes`: sentences of ours to be shown below the verdict.
    """

    commit: str = ""
    run_url: str = ""
    touches_state: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Medium:
    """Where Markdown goes: how much of it is taken (None: all), how that is measured, and where the rest is."""

    limit: int | None
    measure: Measure
    rest: str
    marked: bool


# GitHub says 65,536 characters and has been seen to take 262,144 bytes; 60,000 UTF-16 units are below both
COMMENT = Medium(60_000, characters, "the step summary has more of it, the artefact all", marked=True)
# GitHub drops a summary of more than 1,024 KiB
SUMMARY = Medium(1000 * 1024, size, "the artefact has all of it", marked=False)
WHOLE = Medium(None, characters, "", marked=False)

_NO_CONTEXT = Context()


def render(plan: Plan, context: Context = _NO_CONTEXT, medium: Medium = COMMENT) -> str:
    """The plan as GitHub-flavoured Markdown that ends with a newline and is never over the medium's limit."""
    head = [f"**reconcile plan:** {verdict(plan)}", *_notes(plan, context)]
    tail = ["", _footer("" if is_quiet(plan) else plan.hash, context)]
    if medium.marked:
        tail += ["", MARKER]
    room = None
    if medium.limit is not None:
        room = medium.limit - sum(medium.measure(line) + 1 for line in (*head, *tail)) - _RESERVED
    fitted = fit(_blocks(plan), room, medium.measure)
    if any(noun == _CHANGES for noun, _, _ in fitted.cut):
        # where not every change can be shown, every app is named at least
        fitted = fit([_overview(plan.changes), *_blocks(plan)], room, medium.measure)
    if fitted.cut:
        head += ["", *_alert("IMPORTANT", _cut(fitted.cut, context, medium))]
    return _text([*head, *fitted.lines, *tail])


def render_failure(errored: str, context: Context = _NO_CONTEXT, medium: Medium = COMMENT) -> str:
    """The same where there is no plan, only what prevented it, as `str(error)` gives it."""
    head = ["**reconcile plan:** There is no plan: it couldn't be made.", *_notes(None, context)]
    # nothing in the text can end the fence: no line of it is as long
    fence = "~" * (_LINE + 20)
    lines = list(_broken(log(errored)))
    shown, cut = lines[:_MOST_LINES], max(0, len(lines) - _MOST_LINES)
    more = [f"… and {count(cut, 'more line')}"] if cut else []
    tail = ["", _footer("", context), *(["", MARKER] if medium.marked else [])]
    return _text([*head, "", f"{fence}text", *shown, *more, fence, *tail])


def _broken(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield from (command_free(line[at : at + _LINE]) for at in range(0, max(1, len(line)), _LINE))


def _text(lines: list[str]) -> str:
    """Without the empty lines that parts which aren't there leave behind."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n"


def _notes(plan: Plan | None, context: Context) -> list[str]:
    lines: list[str] = []
    if plan is not None and plan.scope:
        lines += ["", markdown(scope(plan))]
    for note in context.notes:
        lines += ["", markdown(note)]
    if context.touches_state:
        lines += [
            "",
            *_alert(
                "WARNING",
                "This pull request edits `state/`. Records are written by `reconcile apply` alone, and this plan "
                "doesn't go by these edits: leave them out unless you repair a record on purpose.",
            ),
        ]
    return lines


def _alert(kind: str, text: str) -> list[str]:
    return [f"> [!{kind}]", f"> {text}"]


def _footer(digest: str, context: Context) -> str:
    parts = [f"Plan {code(digest)}"] if digest else []
    if context.commit:
        parts.append(f"{'for' if digest else 'For'} commit {code(context.commit, 64)}")
    line = " ".join(parts)
    if is_link(context.run_url):
        line += (" · " if line else "") + link("full plan", context.run_url)
    return line


def _cut(cut: tuple[tuple[str, int, int], ...], context: Context, medium: Medium) -> str:
    left_out = ", ".join(f"{missing:,} of {total:,} {noun}" for noun, missing, total in cut)
    where = f"in {link('its run', context.run_url)} {medium.rest}" if is_link(context.run_url) else medium.rest
    return f"Too long to be shown whole: {left_out} are left out here; {where}."


def _blocks(plan: Plan) -> list[Block]:
    """In the order they are shown; what is cut first has the highest rank."""
    blocks: list[Block] = []
    for app, changes in _by_app(plan.changes):
        blocks.append(_of_app(app, changes, folded=len(plan.changes) > _MANY))
    if plan.held:
        blocks.append(_held(plan.held))
    if plan.drift:
        blocks.append(_drift(plan.drift))
    if plan.changes:
        blocks.append(_details(plan.changes))
    return blocks


def _by_app(changes: tuple[Change, ...]) -> Iterator[tuple[str, tuple[Change, ...]]]:
    ordered = sorted(changes, key=lambda change: change.app)
    return ((app, tuple(group)) for app, group in groupby(ordered, key=lambda change: change.app))


def _overview(changes: tuple[Change, ...]) -> Block:
    by_app = tuple(_by_app(changes))

    def rows() -> Iterator[str]:
        for app, of_app in by_app:
            yield f"- {code(app)}: {count(len(of_app), 'change')} ({kinds(of_app)})"

    opening = ("", f"<details><summary>Overview of {count(len(by_app), 'app')}</summary>", "")
    return Block("apps", len(by_app), opening, rows, ("", "</details>"), rank=0, share=0.3)


def _of_app(app: str, changes: tuple[Change, ...], *, folded: bool) -> Block:
    head = ("| | change | tag | will be | why |", "|---|---|---|---|---|")
    if folded:
        summary = f"{html_code(app)}: {count(len(changes), 'change')} ({kinds(changes)})"
        opening = ("", f"<details><summary>{summary}</summary>", "", *head)
        closing: tuple[str, ...] = ("", "</details>")
    else:
        opening, closing = ("", f"### {markdown(app)}", "", *head), ()

    def rows() -> Iterator[str]:
        for change in changes:
            cells = (
                code(symbol(change)),
                words(change),
                code(wording.target(change)),
                markdown(will(change)),
                markdown(change.reason),
            )
            yield f"| {' | '.join(cells)} |"

    return Block(_CHANGES, len(changes), opening, rows, closing, rank=1)


def _held(held: tuple[Held, ...]) -> Block:
    head = ("| | state | app | tag | why |", "|---|---|---|---|---|")
    title = "Blocked, waiting or unknown"
    opening: tuple[str, ...] = ("", f"### {title}", "", *head)
    closing: tuple[str, ...] = ()
    if len(held) > _MANY:
        opening = ("", f"<details><summary>{title} ({len(held):,})</summary>", "", *head)
        closing = ("", "</details>")

    def rows() -> Iterator[str]:
        for one in held:
            tag, why = code(wording.target(one)), markdown(one.why.reason)
            yield f"| {code(held_symbol(one))} | {state(one)} | {markdown(one.app)} | {tag} | {why} |"

    # before the changes, as someone has to act on it, but never instead of them
    return Block("held back", len(held), opening, rows, closing, rank=0, share=0.34)


def _drift(drift: tuple[Drift, ...]) -> Block:
    opening = ("", f"<details><summary>Not as recorded ({len(drift):,})</summary>", "")

    def rows() -> Iterator[str]:
        for one in drift:
            yield f"- {code(wording.target(one))}: {markdown(one.what)}"

    return Block("remarks on drift", len(drift), opening, rows, ("", "</details>"), rank=2)


def _details(changes: tuple[Change, ...]) -> Block:
    opening = ("", "<details><summary>Details: digests, sources, recipes</summary>", "")

    def rows() -> Iterator[str]:
        for change in changes:
            yield f"- {code(str(change.target))}: {'; '.join(_facts(change))}"

    return Block("details", len(changes), opening, rows, ("", "</details>"), rank=3)


def _facts(change: Change) -> Iterator[str]:
    yield (
        f"{'replaces' if change.kind == 'rebuild' else 'is now'} {code(str(change.exists))}"
        if change.exists
        else "is not there"
    )
    if isinstance(change, MovePointer):
        yield f"goes to {code(str(change.source))}" + (f" ({code(str(change.digest))})" if change.digest else "")
        return
    source = change.wanted.recipe.source
    if isinstance(source, GitSource):
        yield f"from {code(source.url)} at {code(source.ref)}" + (f" ({code(source.commit)})" if source.commit else "")
    else:
        yield f"from {code(source.path)} ({code(source.digest)})"
    yield f"recipe {code(change.wanted.recipe.hash)}"
    if change.wanted.needs:
        yield f"needs {', '.join(code(str(need)) for need in change.wanted.needs)}"
