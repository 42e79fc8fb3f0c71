"""`reconcile plan`: what differs from the registry, and nothing is changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

from reconciler.commands import Printed, Settings
from reconciler.commands.output import told, written
from reconciler.commands.session import session
from reconciler.errors import ReconcileError
from reconciler.plan import saved
from reconciler.plan.plan import Plan
from reconciler.report import actions, text

CHANGES = 2


def run(settings: Settings, *, format: str, output: Path | None, detailed_exitcode: bool) -> Printed:  # noqa: A002
    """The plan in `format`, to `output` or to be printed; the status of behaviours.md."""
    try:
        plan = asyncio.run(_plan(settings))
    except ReconcileError as error:
        told(settings, partial(actions.tell_failure, error))
        if format == "json":
            # whoever reads the JSON learns from it that there is no plan, and why
            return replace(written(settings, saved.dump(None, error), output, error.exit_code), error=error)
        raise
    told(settings, partial(actions.tell, plan))
    shown = replace(settings, colour=False, width=0) if output is not None else settings
    return written(settings, render(plan, format, shown), output, _status(plan, detailed_exitcode))


async def _plan(settings: Settings) -> Plan:
    async with session(settings) as run:
        return run.plan_of(await run.views())


def render(plan: Plan, format: str, settings: Settings) -> str:  # noqa: A002
    """The plan as text, Markdown, HTML or JSON."""
    match format:
        case "json":
            return saved.dump(plan)
        case "markdown":
            from reconciler.report import markdown

            return markdown.render(plan, actions.context(settings.env))
        case "html":
            from reconciler.report import html

            return html.render(plan, actions.context(settings.env))
        case _:
            return text.render(plan, colour=settings.colour, width=settings.width)


def _status(plan: Plan, detailed: bool) -> int:
    if not plan.complete:
        return 1
    return CHANGES if detailed and plan.changes else 0
