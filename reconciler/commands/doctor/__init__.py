"""`reconcile doctor`: what is missing or too old, each with what to do; nothing is changed.

finding   what a check says, and how many of them are run at once without one hindering another
machine   the programs on this machine, and the builder
signer    cosign, and what it would sign with
mirror    desired files, records, registry, upstreams
actions   what GitHub Actions gives a job, and when it stops running schedules
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from reconciler.apply.lines import Redactor
from reconciler.apply.runconfig import RunConfig
from reconciler.apply.toolbox import Toolbox
from reconciler.commands import Printed, Settings
from reconciler.commands.doctor import actions, machine, mirror, signer
from reconciler.commands.doctor.finding import Check, Finding, Level, failed, run_all
from reconciler.commands.session import Session, session
from reconciler.desired.schema.mirror import Defaults
from reconciler.errors import DesiredError, ReconcileError, UsageError
from reconciler.model.platform import Platform
from reconciler.report import findings as report


def run(
    settings: Settings,
    *,
    builder: str = "",
    key: str | None = None,
    token: Path | None = None,
    format: str = "text",  # noqa: A002
) -> Printed:
    """All findings; status 1 where one of them is a failure. UsageError for an app that there isn't."""
    found = asyncio.run(_look(settings, builder, key or "", token))
    status = 1 if any(finding.level is Level.FAIL for finding in found) else 0
    rows = [(str(finding.level), finding.what, finding.detail, finding.todo) for finding in found]
    content = report.as_json(rows) if format == "json" else report.text(rows, colour=settings.colour)
    return Printed(content, status)


async def _look(settings: Settings, builder: str, key: str, token: Path | None) -> Sequence[Finding]:
    async with AsyncExitStack() as stack:
        about: Session | ReconcileError
        try:
            about = await stack.enter_async_context(session(settings))
        except UsageError:
            raise
        except ReconcileError as error:
            about = error
        config = stack.enter_context(RunConfig("", environ=settings.env))
        tools = Toolbox(
            config,
            config.scratch / "logs",
            settings.env,
            Redactor(settings.secrets),
            docker=settings.env.get("RECONCILE_DOCKER", "docker"),
            cosign=settings.env.get("RECONCILE_COSIGN", "cosign"),
        )
        return await _all(settings, about, tools, builder, key, token)


async def _all(
    settings: Settings, about: Session | ReconcileError, tools: Toolbox, builder: str, key: str, token: Path | None
) -> Sequence[Finding]:
    here = about if isinstance(about, Session) else None
    checks: list[Check] = [
        *machine.checks(tools, builder, _platforms(here)),
        *signer.checks(tools, here.desired.signing if here else None, settings.env, key, token),
        Check("desired", lambda: _said(_desired(settings, about))),
        *(mirror.checks(here) if here else ()),
        *actions.checks(settings),
    ]
    return await run_all(checks)


def _desired(settings: Settings, about: Session | ReconcileError) -> Iterable[Finding]:
    if isinstance(about, Session):
        return mirror.desired_files(settings, about.desired)
    if isinstance(about, DesiredError):
        return mirror.desired_files(settings, about)
    return [failed("session", about)]


async def _said(findings: Iterable[Finding]) -> Sequence[Finding]:
    return tuple(findings)


def _platforms(here: Session | None) -> Iterable[Platform]:
    if here is None:
        return Defaults().platforms
    return {platform for app in here.apps for platform in here.desired.platforms(app)}
