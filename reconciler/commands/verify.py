"""`reconcile verify`: every proof from scratch, records ignored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.commands import Printed, Settings
from reconciler.commands.session import Session, session
from reconciler.errors import UsageError
from reconciler.evidence.commands import verify_commands
from reconciler.evidence.examine import platform_proofs
from reconciler.model.evidence import Kind, Unknown
from reconciler.model.observed import Present
from reconciler.model.platform import Platform
from reconciler.model.record import Record
from reconciler.model.reference import DigestRef, TagRef
from reconciler.model.version import Version
from reconciler.model.wanted import Waiting, Wanted
from reconciler.observe import Trust
from reconciler.report import verification as report
from reconciler.report.verification import Checked
from reconciler.survey import Survey
from reconciler.together import together


@dataclass(frozen=True, slots=True)
class _Asked:
    """One tag to verify: what it should be."""

    app: str
    target: TagRef
    version: str
    platforms: tuple[Platform, ...]
    evidence: frozenset[Kind]
    waiting: str = ""


def run(settings: Settings, what: Sequence[str], *, format: str, print_commands: bool) -> Printed:  # noqa: A002
    """The report, or the commands with which anyone can check the same; status 1 where anything required fails."""
    return asyncio.run(_run(settings, what, format, print_commands))


async def _run(settings: Settings, what: Sequence[str], format: str, print_commands: bool) -> Printed:  # noqa: A002
    async with session(settings) as run:
        asked, unknown = await _asked(run, what)
        checked = await together(_check(run, one) for one in asked)
        found = (*unknown, *checked)
        if print_commands:
            return Printed(_commands(run, checked), _status(found))
        content = report.as_json(found) if format == "json" else report.text(found)
        return Printed(content, _status(found))


def _status(checked: Sequence[Checked]) -> int:
    return 0 if all(one.holds for one in checked) else 1


async def _asked(run: Session, what: Sequence[str]) -> tuple[list[_Asked], list[Checked]]:
    """What is named, or else all that is wanted; and the apps whose upstream can't tell what that is."""
    asked: list[_Asked] = []
    unknown: list[Checked] = []
    whole = list(run.apps) if not what else []
    for name in what:
        app_name, colon, version = name.partition(":")
        app = run.desired.app(app_name)
        if not colon:
            whole.append(app)
            continue
        try:
            Version.parse(version)
        except ValueError as error:
            raise UsageError(str(error), where=name[:80], todo="write APP:VERSION, like outline:1.2.0") from None
        asked += [
            _Asked(
                app.app,
                run.desired.repository(image).tag(version),
                version,
                run.desired.platforms(app),
                run.desired.evidence(app),
            )
            for image in sorted(app.images)
        ]
    survey = Survey(run.desired, run.upstreams, run.observer(Trust(fresh=True)), run.records)
    for wanted in await together(survey.wanted(app, Record(app.app)) for app in whole):
        if wanted.unknown is not None:
            unknown.append(Checked(wanted.app, None, Unknown(wanted.unknown.reason)))
        asked += [
            _Asked(tag.app, tag.target, str(tag.release.version), tag.platforms, tag.evidence, _waiting(tag))
            for tag in wanted.tags
        ]
    return asked, unknown


def _waiting(tag: Wanted) -> str:
    """Why a wanted tag can't have been built yet; empty where it should be there."""
    return tag.hindrance.reason if isinstance(tag.hindrance, Waiting) else ""


async def _check(run: Session, asked: _Asked) -> Checked:
    repository = asked.target.repository
    seen = await run.observer(Trust(fresh=True)).look(repository, asked.target.tag)
    signed: frozenset[Platform] | Unknown = frozenset()
    if isinstance(seen, Present):
        signed = await platform_proofs(run.registry, run.judge, repository, seen.platforms)
    return Checked(asked.app, asked.target, seen, asked.version, asked.platforms, asked.evidence, signed, asked.waiting)


def _commands(run: Session, checked: Sequence[Checked]) -> str:
    lines = []
    for one in checked:
        if one.target is not None and isinstance(one.seen, Present):
            digest = DigestRef(one.target.repository, one.seen.digest)
            lines.append(f"# {one.target}")
            lines += verify_commands(
                run.desired.signing.policy, [digest], one.required, http=run.desired.mirror.plain_http
            )
    return "\n".join(lines) + "\n" if lines else ""
