"""The plan as one page that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import groupby

from reconciler.model.recipe import GitSource
from reconciler.plan.changes import Change, MovePointer, words
from reconciler.plan.plan import Plan
from reconciler.plan.saved import state, will
from reconciler.report.escape import html, is_link
from reconciler.report.markdown import Context
from reconciler.report.wording import DRIFT_SYMBOL, count, held_symbol, kinds, scope, symbol, target, verdict

_NO_CONTEXT = Context()

# whatever was to slip through can't run, load or send anything
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(plan: Plan, context: Context = _NO_CONTEXT) -> str:
    """The page, which ends with a newline."""
    return "\n".join(_page(plan, context)) + "\n"


def _page(plan: Plan, context: Context) -> Iterator[str]:
    sentence = html(verdict(plan))
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{html(_POLICY)}">'
    yield f"<title>reconcile plan: {sentence}</title>"
    yield f"<style>\n{_css()}</style></head>"
    yield f'<body><header><h1>reconcile plan</h1><p class="verdict">{sentence}</p>'
    if plan.scope:
        yield f'<p class="note">{html(scope(plan))}</p>'
    if context.touches_state:
        yield '<p class="note">This pull request edits state/: records are written by apply alone.</p>'
    yield "</header><main>"
    by_app = sorted(plan.changes, key=lambda change: change.app)
    for app, group in groupby(by_app, key=lambda change: change.app):
        yield from _app(app, tuple(group))
    if plan.held:
        rows = (
            _row(state(held), held_symbol(held), state(held), target(held) or held.app, html(held.why.reason))
            for held in plan.held
        )
        yield from _table("Blocked, waiting or unknown", str(len(plan.held)), ("state", "tag", "why"), rows)
    if plan.drift:
        rows = (_row("drift", DRIFT_SYMBOL, "drift", target(drift), html(drift.what)) for drift in plan.drift)
        yield from _table("Not as recorded", str(len(plan.drift)), ("", "tag", "what"), rows)
    yield f"</main>{_footer(plan, context)}</body></html>"


def _css() -> str:
    return files("reconciler.report").joinpath("page.css").read_text(encoding="utf-8")


def _app(app: str, changes: tuple[Change, ...]) -> Iterator[str]:
    rows = (_row(change.kind, symbol(change), words(change), target(change), _change(change)) for change in changes)
    about = f"{count(len(changes), 'change')}: {kinds(changes)}"
    yield from _table(app, about, ("change", "tag", "what and why"), rows)


def _table(title: str, about: str, heads: tuple[str, ...], rows: Iterable[str]) -> Iterator[str]:
    yield f"<section><h2>{html(title)} <small>{html(about)}</small></h2>"
    yield f"<table><thead><tr>{''.join(f'<th>{html(head)}</th>' for head in heads)}</tr></thead><tbody>"
    yield from rows
    yield "</tbody></table></section>"


def _row(kind: str, mark: str, word: str, tag: str, rest: str) -> str:
    """A row; `rest` is HTML."""
    what = f'<td class="what {html(kind.replace(" ", "-"))}"><b>{html(mark)}</b> {html(word)}</td>'
    return f'<tr>{what}<td class="tag"><code>{html(tag)}</code></td><td>{rest}</td></tr>'


def _change(change: Change) -> str:
    facts = "".join(f"<dt>{html(name)}</dt><dd><code>{html(value)}</code></dd>" for name, value in _facts(change))
    details = f"<details><summary>details</summary><dl>{facts}</dl></details>"
    return f"{html(will(change))}<br>{html(change.reason)}{details}"


def _facts(change: Change) -> Iterator[tuple[str, str]]:
    yield "tag", str(change.target)
    yield "is now", str(change.exists) if change.exists else "not there"
    if isinstance(change, MovePointer):
        yield "goes to", f"{change.source}" + (f" ({change.digest})" if change.digest else "")
        return
    source = change.wanted.recipe.source
    if isinstance(source, GitSource):
        yield "source", f"{source.url} at {source.ref}" + (f" ({source.commit})" if source.commit else "")
    else:
        yield "source", f"{source.path} ({source.digest})"
    yield "recipe", change.wanted.recipe.hash
    for need in change.wanted.needs:
        yield "needs", str(need)


def _footer(plan: Plan, context: Context) -> str:
    lines = [f'Plan <span class="hash">{html(plan.hash)}</span>']
    if context.commit:
        lines.append(f'For commit <span class="hash">{html(context.commit)}</span>')
    if is_link(context.run_url):
        lines.append(f'<a href="{html(context.run_url)}" rel="noopener noreferrer">The run that made it</a>')
    return f"<footer>{''.join(f'<p>{line}</p>' for line in lines)}</footer>"
