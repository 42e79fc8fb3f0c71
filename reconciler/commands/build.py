"""`reconcile build`: one job of a matrix, on a machine that may push but not sign."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reconciler.apply.elsewhere import write
from reconciler.apply.job import JobOutcome, Unwritten, build_job
from reconciler.apply.stamp import Run, place
from reconciler.commands import Printed, Settings
from reconciler.commands.apply import Flags as ApplyFlags
from reconciler.commands.apply import fetcher, logs_in, options_of, saved_plan
from reconciler.commands.session import session
from reconciler.errors import ToolError, UsageError
from reconciler.plan import guards
from reconciler.plan.matrix import matrix
from reconciler.report.escape import log


@dataclass(frozen=True, slots=True)
class Flags:
    """What only build takes; see `reconcile build --help`."""

    plan: Path
    job: str
    results: Path
    run: str
    expect_plan: str | None = None
    builder: str = ""
    build_flags: tuple[str, ...] = ()
    logs: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The flags as argparse read them."""
        return cls(
            plan=options.plan,
            job=options.job,
            results=options.results,
            run=options.run,
            expect_plan=options.expect_plan,
            builder=options.builder,
            build_flags=tuple(options.build_flag),
            logs=options.logs,
        )


def run(settings: Settings, flags: Flags) -> Printed:
    """Builds the job's images and writes a result for each; status 1 where one wasn't built."""
    outcome = asyncio.run(_build(settings, flags))
    lines = [f"+ built   {result.target} {result.platform} {result.digest}" for result in outcome.built]
    for one in outcome.failed:
        lines += [log(line) for line in f"! failed  {one.target}: {one.error}".splitlines()]
    return Printed("\n".join(lines) + "\n", outcome.exit_code)


async def _build(settings: Settings, flags: Flags) -> JobOutcome:
    async with session(settings) as current:
        plan = saved_plan(current.desired, flags.plan)
        if flags.expect_plan is not None:
            guards.expect(plan, flags.expect_plan)
        this = Run.parse(flags.run, plan.hash)
        job = matrix(plan).job(flags.job)
        if job is None:
            todo = "name one that `reconcile matrix` gives for this plan"
            raise UsageError(f"the plan has no job {flags.job[:80]!r}", where=str(flags.plan), todo=todo)
        as_apply = ApplyFlags(builder=flags.builder, build_flags=flags.build_flags, logs=flags.logs)
        with logs_in(flags.logs) as logs:
            outcome = await build_job(
                job,
                plan,
                this,
                registry=current.registry,
                judge=current.judge,
                records=Unwritten(settings.state),
                signing=current.desired.signing,
                fetch=fetcher(current),
                downloads=current.upstreams,
                options=await options_of(current, plan, as_apply, logs.folder),
                place=place(settings.env, current.desired.mirror.source),
                keep=lambda result: write(flags.results, result),
                say=lambda line: settings.say(log(line)),
            )
            logs.keep = logs.keep or any(isinstance(one.error, ToolError) and one.error.log for one in outcome.failed)
        return outcome
