"""`reconcile matrix`: the builds of a saved plan as jobs for GitHub Actions, and whether they are worth several."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.apply.stamp import new_nonce
from reconciler.commands import Printed, Settings
from reconciler.commands.apply import saved_plan
from reconciler.commands.output import written
from reconciler.desired.loader import load
from reconciler.desired.state import Desired
from reconciler.plan.matrix import Job, Matrix, matrix
from reconciler.report import actions
from reconciler.report.escape import log

# an app's new release is two builds, one with a base four; from there on native machines side by side win
FEW = 3
# that many builds left for the next run are named one by one
_SHOWN = 20


def run(settings: Settings, path: Path, *, few: int = FEW, output: Path | None = None) -> Printed:
    """The matrix as JSON, and in GITHUB_OUTPUT what the workflow goes by.

    `matrix`      {"include": […]}: id, app, version, platform, images, runner (its labels)
    `has-builds`  whether there is a job at all: GitHub fails a job whose matrix is empty
    `fan-out`     whether there are more than `few` builds
    `builds`, `jobs`, `left`  how many of each
    `run`         the name of this run, which every job of it needs; `plan-hash`
    """
    desired = load(settings.desired, allow_local=settings.allow_private)
    plan = saved_plan(desired, path)
    found = matrix(plan)
    document = {"include": [entry(job, desired) for job in found.jobs]}
    actions.output(
        {
            "matrix": json.dumps(document, separators=(",", ":")),
            "has-builds": _text(bool(found.jobs)),
            "fan-out": _text(found.builds > few),
            "builds": str(found.builds),
            "jobs": str(len(found.jobs)),
            "left": str(len(found.left)),
            "run": new_nonce(),
            "plan-hash": plan.hash,
        },
        settings.env,
    )
    for line in _left(found):
        settings.say(log(line))
    return written(settings, json.dumps(document, indent=1) + "\n", output, 0)


def entry(job: Job, desired: Desired) -> dict[str, object]:
    """One job as the workflow gets it."""
    return {
        "id": job.id,
        "app": job.app,
        "version": str(job.version),
        "platform": str(job.platform),
        "images": ", ".join(change.image for change in job.changes),
        "runner": list(desired.runner(job.platform)),
    }


def _left(found: Matrix) -> list[str]:
    lines = [f"left for the next run: {target} {platform}: {why}" for (target, platform), why in found.left.items()]
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"and {more} more"] if more > 0 else lines


def _text(yes: bool) -> str:
    return "true" if yes else "false"
