"""`reconcile apply`: plan, check that it may and can be done, do it, write down what became of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpx

from reconciler.apply.attach import LAG
from reconciler.apply.buildx import BuildOptions
from reconciler.apply.elsewhere import Elsewhere
from reconciler.apply.elsewhere import read as read_results
from reconciler.apply.proofs import Origin
from reconciler.apply.remember import remember
from reconciler.apply.results import Done, Failed, Outcome
from reconciler.apply.run import Options
from reconciler.apply.run import apply as make_it_so
from reconciler.apply.runconfig import logs_folder
from reconciler.apply.source import Fetch
from reconciler.apply.stamp import Run, place
from reconciler.commands import Printed, Settings
from reconciler.commands.output import told, written
from reconciler.commands.session import RECHECK, Session, cache_folder, session, timestamp
from reconciler.commands.visibility import hidden
from reconciler.desired.state import Desired
from reconciler.errors import Interrupted, PlanMismatch, ReconcileError, UsageError
from reconciler.model.evidence import Kind
from reconciler.model.recipe import GitSource
from reconciler.net import is_loopback
from reconciler.observe import Trust
from reconciler.plan import guards, saved
from reconciler.plan.changes import Change, MovePointer, Publish
from reconciler.plan.matrix import matrix
from reconciler.plan.plan import Plan
from reconciler.report import actions, text
from reconciler.report import outcome as report
from reconciler.report.actions import in_actions
from reconciler.report.progress import progress

_RESULTS = "write: reconcile apply PLAN.json --results DIR --run ID, with the ID that `reconcile matrix` gave"

# GitHub drops a step's summary over 1 MiB
SUMMARY_BYTES = 1000 * 1024


@dataclass(frozen=True, slots=True)
class Flags:
    """What only apply takes; see `reconcile apply --help`."""

    plan: Path | None = None
    expect_plan: str | None = None
    format: str = "text"
    output: Path | None = None
    builder: str = ""
    build_flags: tuple[str, ...] = ()
    jobs: int = 2
    max_builds: int | None = None
    allow_lost: int | None = None
    allow_replaced: int | None = None
    key: str = ""
    token: Path | None = None
    lag: float | None = None
    logs: Path | None = None
    results: Path | None = None
    run: str | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The flags as argparse read them."""
        return cls(
            plan=options.plan,
            expect_plan=options.expect_plan,
            format=options.format,
            output=options.output,
            builder=options.builder,
            build_flags=tuple(options.build_flag),
            jobs=options.jobs,
            max_builds=options.max_builds,
            allow_lost=options.allow_lost,
            allow_replaced=options.allow_replaced,
            key=options.key or "",
            token=options.identity_token,
            lag=options.lag,
            logs=options.logs,
            results=options.results,
            run=options.run,
        )


def run(settings: Settings, flags: Flags) -> Printed:
    """Applies, and reports in the format asked for, also on failure."""
    try:
        plan, outcome = asyncio.run(_apply(settings, flags))
    except ReconcileError as error:
        if flags.format == "json":
            settings.say(f"reconcile: {error}")
            content = report.as_json(None, None, error, error.exit_code)
            return written(settings, content, flags.output, error.exit_code)
        raise
    told(settings, lambda env, redact: actions.summarise(report.as_markdown(plan, outcome, SUMMARY_BYTES), env, redact))
    status = outcome.exit_code
    match flags.format:
        case "json":
            content = report.as_json(plan, outcome, status=status)
        case "markdown":
            content = report.as_markdown(plan, outcome)
        case _:
            content = report.text(plan, outcome)
    return written(settings, content, flags.output, status)


async def _apply(settings: Settings, flags: Flags) -> tuple[Plan, Outcome]:
    async with session(settings) as run:
        plan = saved_plan(run.desired, flags.plan) if flags.plan else await _fresh(run)
        if flags.expect_plan is not None:
            guards.expect(plan, flags.expect_plan)
        elsewhere = _elsewhere(flags, plan)
        guards.trip(plan.tally, allow_lost=flags.allow_lost, allow_replaced=flags.allow_replaced)
        settings.say(text.render(plan, colour=False).rstrip())
        if not plan.changes:
            return plan, Outcome((), complete=plan.complete)
        known = {name for app in run.apps for name, image in run.records.load(app.app).images.items() if image.tags}
        with _stopped_by_signals(settings) as stop, logs_in(flags.logs) as logs:
            terminal = sys.stderr.isatty() and settings.env.get("CI", "") in ("", "false")
            with progress(len(plan.changes), settings.say, terminal=terminal) as shown:
                outcome = await make_it_so(
                    plan,
                    registry=run.registry,
                    judge=run.judge,
                    records=run.records,
                    signing=run.desired.signing,
                    fetch=fetcher(run),
                    options=replace(await options_of(run, plan, flags, logs.folder), results=elsewhere),
                    downloads=run.upstreams,
                    progress=shown,
                    stop=stop,
                )
            logs.keep = logs.keep or any(failed.log for failed in outcome.of(Failed))
        if elsewhere is not None:
            outcome = replace(outcome, notes=(*outcome.notes, *elsewhere.notes))
        return plan, await _with_notes(run, outcome, known)


def _elsewhere(flags: Flags, plan: Plan) -> Elsewhere | None:
    """What other jobs of this run built of the plan; None where it is built here."""
    if flags.results is None and flags.run is None:
        return None
    if flags.results is None or flags.run is None or flags.plan is None:
        raise UsageError("--results takes the plan that was built, and --run", todo=_RESULTS)
    return read_results(flags.results, matrix(plan), Run.parse(flags.run, plan.hash))


async def _with_notes(run: Session, outcome: Outcome, known: set[str]) -> Outcome:
    """The outcome with what is to be said of repositories that were published to for the first time."""
    first = [
        result.change.target
        for result in outcome.of(Done)
        if isinstance(result.change, Publish) and str(result.change.target.repository) not in known
    ]
    notes = await hidden(run.settings, run.desired, first)
    return replace(outcome, notes=(*outcome.notes, *notes.values()))


async def _fresh(run: Session) -> Plan:
    """Today's plan; what it saw as wanted is remembered, so that the next one is warm."""
    trust = Trust(fresh=run.settings.fresh, checked_since=timestamp(RECHECK))
    views = await run.views(trust)
    plan = run.plan_of(views)
    remember(views, run.records, run.judge.policy.hash, datetime.now(UTC))
    return plan


def saved_plan(desired: Desired, path: Path) -> Plan:
    """The plan in a file; PlanMismatch where it isn't one of this desired state's."""
    try:
        with path.open("rb") as file:
            data = file.read(saved.MAX_BYTES + 1)
    except OSError as error:
        raise PlanMismatch(f"the plan can't be read: {error.strerror}", where=str(path)) from None
    plan = saved.load(data, str(path))
    todo = "make a new plan with `reconcile plan --format json --output FILE`"
    if plan.policy != desired.signing.policy.hash:
        raise PlanMismatch("the signing policy changed since the plan was made", where=str(path), todo=todo)
    for change in plan.changes:
        strange = _strange(desired, change)
        if strange:
            raise PlanMismatch(f"the plan {strange}", where=str(path), todo=todo)
    return plan


def _strange(desired: Desired, change: Change) -> str:
    """What a saved change says that the desired state doesn't; empty where they agree (rule 4, behaviours.md 24)."""
    apps = [app for app in desired.apps if app.app == change.app and change.image in app.images]
    if not apps or change.target.repository != desired.repository(change.image):
        return f"changes {change.target}, which the desired state knows nothing of"
    if isinstance(change, MovePointer) or change.wanted.adopt is None:
        return ""
    wanted = change.wanted
    if apps[0].images[change.image].adopt.get(wanted.release.version) != wanted.adopt:
        return f"adopts {wanted.adopt} as {change.target}, which the desired state doesn't"
    return ""


def fetcher(run: Session) -> Fetch:
    """Checks out git sources by this run's upstreams."""

    async def fetch(source: GitSource, target: Path) -> int:
        tree = await run.upstreams.checkout(
            source.url, source.commit, target, ref=source.ref, submodules=source.submodules
        )
        return tree.epoch

    return fetch


async def options_of(run: Session, plan: Plan, flags: Flags, logs: Path) -> Options:
    """What flags, environment and desired state say of how `plan` is made so; `logs` gets the logs of programs."""
    settings = run.settings
    host = run.desired.mirror.registry
    credential = await asyncio.to_thread(run.credentials.for_host, host)
    needs_sbom = any(
        not isinstance(change, MovePointer) and Kind.SBOM in change.wanted.evidence for change in plan.changes
    )
    return Options(
        desired=settings.desired,
        logs=logs,
        jobs=flags.jobs,
        max_builds=flags.max_builds,
        build=BuildOptions(
            builder=flags.builder,
            sbom=run.desired.mirror.sbom_generator if needs_sbom else "",
            cache=cache_folder(settings, "build"),
            flags=flags.build_flags,
            builder_id=place(settings.env, run.desired.mirror.source) if in_actions(settings.env) else "",
        ),
        key=flags.key,
        token=flags.token.absolute() if flags.token else None,
        origin=Origin(run.desired.mirror.source, _revision(settings)),
        credential=credential,
        secrets=tuple(settings.secrets),
        plain_http=run.desired.mirror.plain_http,
        lag=flags.lag if flags.lag is not None else _usual_lag(host),
        environ=dict(settings.env),
    )


def _usual_lag(host: str) -> float:
    """A registry on this machine shows at once what was written; any other may take as long as GHCR does."""
    return 0.0 if is_loopback(httpx.URL(f"http://{host}").host) else LAG


def _revision(settings: Settings) -> str:
    """The commit of the desired state; empty where that isn't in git."""
    if sha := settings.env.get("GITHUB_SHA"):
        return sha
    try:
        done = subprocess.run(
            ["git", "-C", str(settings.desired), "rev-parse", "HEAD"],
            capture_output=True,
            timeout=30,
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass(slots=True)
class Logs:
    """Where the logs of programs go: the folder that was asked for, or one of this run.

    The latter goes with the run unless a program failed (`keep`): then an error names a file in it.
    """

    folder: Path
    keep: bool


@contextmanager
def logs_in(chosen: Path | None) -> Iterator[Logs]:
    """The folder for logs: `chosen`, or one that goes with the run."""
    if chosen is not None:
        yield Logs(chosen, keep=True)
        return
    with logs_folder(lambda: logs.keep) as folder:
        logs = Logs(folder, keep=False)
        yield logs


@contextmanager
def _stopped_by_signals(settings: Settings) -> Iterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(name: str) -> None:
        if stop.is_set():
            # what runs dies with this process, and the next run clears what it left
            os._exit(Interrupted.exit_code)
        settings.say(f"{name}: no new change starts; once more stops at once")
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, handle, one.name)
    try:
        yield stop
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
