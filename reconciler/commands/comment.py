"""`reconcile comment`: the plan under its pull request, as one comment that is edited in place.

A job of `workflow_run` posts the plan of a run that had no rights: the plan is then an artefact that anyone may have
made, so only its JSON is read, size-capped and checked, and all its text is escaped here.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from reconciler.apply.lines import Redactor
from reconciler.commands import Printed, Settings
from reconciler.errors import GitHubError, ReconcileError, UsageError
from reconciler.github import GitHub, Pull, Unsure, connect
from reconciler.plan import saved
from reconciler.plan.plan import Plan
from reconciler.report import actions, markdown
from reconciler.report.comment import is_ours, marked, says_the_same, superseded, too_long
from reconciler.report.escape import is_link, log
from reconciler.report.markdown import COMMENT, SUMMARY, Context, Medium
from reconciler.report.wording import is_quiet

# ten times a plan of 1,000 apps whose versions all changed; a hostile one may not cost more than this either
MAX_PLAN = 64 * 1024 * 1024
MAX_BODY = 1024 * 1024
_ATTEMPTS = 3

_HEAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}:[^\x00-\x20\x7f~^:?*\[\\]{1,250}")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)

NOTICE = "GitHub doesn't let this job comment on the pull request, so the plan is shown here instead."


@dataclass(frozen=True, slots=True)
class Target:
    """Which pull request: its number, or the `owner:branch` it comes from with the commit at its head.

    `sha`: it is only commented on while this is its head. `run_url`: where the plan was made; empty: in this run.
    """

    pr: int | None = None
    head: str = ""
    sha: str = ""
    run_url: str = ""

    def __post_init__(self) -> None:
        if (self.pr is None) == (not self.head):
            raise UsageError(
                "which pull request?", todo="write --pr NUMBER, or --head OWNER:BRANCH and --sha COMMIT for one to find"
            )
        if self.head and (_HEAD.fullmatch(self.head) is None or not self.sha):
            raise UsageError("that names no head", todo="write --head OWNER:BRANCH and --sha COMMIT, both of the run")
        if self.sha and _SHA.fullmatch(self.sha) is None:
            raise UsageError("--sha names no commit", todo="write all 40 (or 64) of its lower-case hex digits")
        if self.run_url and not is_link(self.run_url):
            raise UsageError("--run-url is no https URL", todo="write the address of the run that made the plan")


@dataclass(frozen=True, slots=True)
class _Said:
    """What is to be posted: a plan, an error that kept one from being made, or Markdown as it is."""

    plan: Plan | None = None
    errored: str = ""
    body: str = ""

    @property
    def status(self) -> int:
        """The plan's own (behaviours.md 20)."""
        if self.body:
            return 0
        return 0 if self.plan is not None and self.plan.complete else 1

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell who was never told of anything."""
        return self.plan is not None and is_quiet(self.plan)

    def markdown(self, context: Context, medium: Medium) -> str:
        if self.body:
            return marked(self.body) if medium.marked else self.body
        if self.plan is not None:
            return markdown.render(self.plan, context, medium)
        return markdown.render_failure(self.errored, context, medium)


class Posted(StrEnum):
    """What became of the comment, in words."""

    ADDED = "commented on pull request {pr}"
    EDITED = "edited the comment on pull request {pr}"
    UNCHANGED = "the comment on pull request {pr} says the same already"
    NOTHING = "nothing to do and nothing said before on pull request {pr}: no comment"
    OUTDATED = "pull request {pr} has another head by now: its own run will comment"
    NO_PULL = "no open pull request has that head any more: no comment"


def run(settings: Settings, target: Target, *, plan: Path | None, body: Path | None) -> Printed:
    """Posts the plan (JSON) or the Markdown in `body`; the status is the plan's unless something fails."""
    said = _said(plan, body)
    redact = Redactor(settings.secrets)
    try:
        posted, number = asyncio.run(_post(settings, target, said, redact))
    except GitHubError as error:
        if error.status != 403:
            raise
        return Printed(_instead(settings, target, said, error, redact), said.status)
    settings.say(posted.format(pr=number))
    return Printed("", said.status)


def _said(plan: Path | None, body: Path | None) -> _Said:
    if (plan is None) == (body is None):
        raise UsageError("what is to be posted?", todo="write --plan PLAN.json, or --body FILE with Markdown")
    if body is not None:
        text = _read(body, MAX_BODY).decode("utf-8", "replace").replace("\x00", "\ufffd")
        if not text.strip():
            raise UsageError(f"{body} is empty")
        if too_long(marked(text)):
            raise UsageError(
                f"{body} is longer than GitHub takes",
                todo="use --plan, or `reconcile plan --format markdown`, which are cut to fit",
            )
        return _Said(body=text)
    assert plan is not None  # noqa: S101 - tells mypy
    data = _read(plan, MAX_PLAN)
    errored = _errored(data)
    return _Said(errored=errored) if errored else _Said(plan=saved.load(data, str(plan)))


def _errored(data: bytes) -> str:
    """Why no plan was made, where the document says so."""
    try:
        document: Any = json.loads(data)
        errored = document["errored"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return errored if isinstance(errored, str) else ""


def _read(path: Path, most: int) -> bytes:
    """The whole of a plain file; UsageError where it is none or has more than `most` bytes.

    An artefact may hold links that lead out of it, and pipes that never end.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is no plain file")
            data = file.read(most + 1)
    except OSError as error:
        what = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise UsageError(f"{path} can't be read: {what}") from None
    if len(data) > most:
        raise UsageError(f"{path} is over {most // 1024 // 1024} MiB", todo="see the run's summary instead")
    return data


async def _post(settings: Settings, target: Target, said: _Said, redact: Redactor) -> tuple[Posted, int | None]:
    async with connect(settings.env, allow_private=settings.allow_private) as github:
        pull = await _pull(github, target)
        if pull is None:
            return Posted.NO_PULL, None
        if target.sha and pull.head != target.sha:
            return Posted.OUTDATED, pull.number
        touched = await github.touches(pull.number, settings.state.name)
        context = _context(settings, target, touched=touched)
        text = redact(said.markdown(context, COMMENT))
        return await _stick(github, pull, text, quiet=said.quiet, sha=target.sha), pull.number


async def _pull(github: GitHub, target: Target) -> Pull | None:
    if target.pr is not None:
        return await github.pull(target.pr)
    found = [pull for pull in await github.pulls_from(target.head) if pull.head == target.sha]
    if len(found) > 1:
        numbers = ", ".join(str(pull.number) for pull in found)
        raise GitHubError(f"pull requests {numbers} have that head", todo="say which one: --pr NUMBER")
    return found[0] if found else None


def _context(settings: Settings, target: Target, *, touched: bool) -> Context:
    context = actions.context(settings.env)
    return replace(
        context,
        commit=target.sha or context.commit,
        run_url=target.run_url or context.run_url,
        touches_state=touched,
    )


async def _stick(github: GitHub, pull: Pull, text: str, *, quiet: bool, sha: str) -> Posted:
    """Edits our comment, or makes it; looks again after every attempt whose end is unknown, so that none is doubled."""
    login = await github.login()
    for attempt in range(_ATTEMPTS):
        ours = [c async for c in github.comments(pull.number) if is_ours(c.author, c.body, login)]
        try:
            for more in ours[1:]:
                await github.edit(more, superseded(ours[0].url))
            if ours and says_the_same(ours[0].body, text):
                return Posted.UNCHANGED
            if not ours and quiet:
                return Posted.NOTHING
            # right before the effect: what was the head when the plan was made may not be any more
            if sha and (await github.pull(pull.number)).head != sha:
                return Posted.OUTDATED
            if ours:
                await github.edit(ours[0], text)
                return Posted.EDITED
            await github.add(pull.number, text)
            return Posted.ADDED
        except Unsure:
            if attempt + 1 == _ATTEMPTS:
                raise
        except GitHubError as error:
            # deleted since it was read
            if error.status != 404 or not ours or attempt + 1 == _ATTEMPTS:
                raise
        await github.clock.sleep(2.0**attempt)
    raise AssertionError("the last attempt returns or raises")


def _instead(settings: Settings, target: Target, said: _Said, error: GitHubError, redact: Redactor) -> str:
    """Shows the plan where GitHub lets nobody comment: in the step's summary, or where there is none on stdout."""
    context = _context(settings, target, touched=False)
    text = f"{NOTICE}\n\n{said.markdown(context, SUMMARY)}"
    try:
        summarised = actions.summarise(text, settings.env, redact)
    except ReconcileError as failure:
        settings.say(log(f"reconcile: {failure}"))
        summarised = False
    where = "the plan is in the step's summary instead" if summarised else "the plan follows instead"
    settings.say(log(f"not allowed to comment ({error.what}): {where}"))
    return "" if summarised else text
