"""The plan for a comment on a pull request: the verdict first, one row per change, the rest folded."""

from __future__ import annotations

from itertools import groupby

from reconciler.plan.changes import words
from reconciler.plan.plan import Plan
from reconciler.plan.saved import state, will
from reconciler.report.escape import code, markdown
from reconciler.report.wording import held_symbol, is_quiet, scope, symbol, verdict


def render(plan: Plan) -> str:
    """The plan as GitHub-flavoured Markdown that ends with a newline."""
    lines = [f"**reconcile plan:** {verdict(plan)}"]
    if scope(plan):
        lines += ["", markdown(scope(plan))]
    if is_quiet(plan):
        return "\n".join(lines) + "\n"
    for app, changes in groupby(sorted(plan.changes, key=lambda change: change.app), key=lambda change: change.app):
        lines += ["", f"### {markdown(app)}", "", "| | change | tag | will be | why |", "|---|---|---|---|---|"]
        for change in changes:
            target = code(f"{change.image}:{change.target.tag}")
            lines.append(
                f"| {code(symbol(change))} | {words(change)} | {target} | {markdown(will(change))} | "
                f"{markdown(change.reason)} |"
            )
    if plan.held:
        lines += ["", "### Held back", "", "| | state | app | tag | why |", "|---|---|---|---|---|"]
        for held in plan.held:
            tag = code(f"{held.target.repository.name}:{held.target.tag}") if held.target else ""
            lines.append(
                f"| {code(held_symbol(held))} | {state(held)} | {markdown(held.app)} | {tag} | "
                f"{markdown(held.why.reason)} |"
            )
    if plan.drift:
        lines += ["", f"<details><summary>Drift ({len(plan.drift)})</summary>", ""]
        for drift in plan.drift:
            tag = code(f"{drift.target.repository.name}:{drift.target.tag}")
            lines.append(f"- {tag}: {markdown(drift.what)}")
        lines += ["", "</details>"]
    lines += ["", f"Plan {code(plan.hash)}"]
    return "\n".join(lines) + "\n"
