"""What GitHub Actions is told: a summary of the step, outputs for later steps, and messages that show in the diff.

Facts: docs.github.com, "Workflow commands for GitHub Actions"; protocols 5.3, 5.5, 5.6.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import DesiredError, GitHubError, Problem, ReconcileError
from reconciler.plan.plan import Plan
from reconciler.plan.saved import summary
from reconciler.report import markdown
from reconciler.report.escape import annotation, annotation_property
from reconciler.report.fitting import size
from reconciler.report.markdown import SUMMARY, Context

SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
OUTPUT_FILE = "GITHUB_OUTPUT"

_EVENT_CAP = 32 * 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)

Redact = Callable[[str], str]


def unchanged(text: str) -> str:
    """Leaves `text` as it is: for where no secret is known."""
    return text


def in_actions(env: Mapping[str, str]) -> bool:
    """Whether this runs in a job, where lines may be commands."""
    return env.get("GITHUB_ACTIONS") == "true"


def context(env: Mapping[str, str]) -> Context:
    """What a job's environment says of the run; empty outside of one.

    The commit is the pull request's own head where there is one: GITHUB_SHA is that of a merge which nobody made.
    """
    server, repository, run = (
        env.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    )
    url = f"{server.rstrip('/')}/{repository}/actions/runs/{run}" if server and repository and run else ""
    commit = _head(env.get("GITHUB_EVENT_PATH", "")) or env.get("GITHUB_SHA", "")
    return Context(commit=commit if _SHA.fullmatch(commit) else "", run_url=url)


def _head(event: str) -> str:
    """The head of the pull request that the event is about, or nothing."""
    if not event:
        return ""
    try:
        with Path(event).open("rb") as file:
            data: Any = json.loads(file.read(_EVENT_CAP))
        return str(data["pull_request"]["head"]["sha"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def tell(plan: Plan, env: Mapping[str, str], redact: Redact = unchanged) -> None:
    """Writes the step's summary and its outputs where the environment names files for them; GitHubError."""
    if env.get(SUMMARY_FILE):
        summarise(markdown.render(plan, context(env), _left(env)), env, redact)
    numbers = summary(plan)
    output(
        {
            "has-changes": _text(bool(plan.changes)),
            "plan-hash": plan.hash,
            "complete": _text(plan.complete),
            **{name.replace(" ", "-"): str(number) for name, number in numbers.items()},
        },
        env,
        redact,
    )


def tell_failure(error: ReconcileError, env: Mapping[str, str], redact: Redact = unchanged) -> None:
    """The same where there is no plan: nothing may be taken for one, so the hash is empty and nothing has changes."""
    if env.get(SUMMARY_FILE):
        summarise(markdown.render_failure(redact(str(error)), context(env), _left(env)), env, redact)
    output({"has-changes": "false", "plan-hash": "", "complete": "false"}, env, redact)


def _text(yes: bool) -> str:
    return "true" if yes else "false"


def _left(env: Mapping[str, str]) -> markdown.Medium:
    """What this step's summary still takes: earlier commands of the step may have written to it."""
    try:
        used = Path(env[SUMMARY_FILE]).stat().st_size
    except OSError:
        used = 0
    limit = SUMMARY.limit or 0
    return markdown.Medium(max(4_000, limit - used), SUMMARY.measure, SUMMARY.rest, SUMMARY.marked)


def summarise(text: str, env: Mapping[str, str], redact: Redact = unchanged) -> bool:
    """Adds Markdown to the step's summary; whether there is one. GitHubError where it can't be or is too much."""
    name = env.get(SUMMARY_FILE)
    if not name:
        return False
    shown = redact(text)
    if size(shown) > 1024 * 1024:
        raise GitHubError("the step summary would be over 1 MiB, and GitHub would drop it", where=SUMMARY_FILE)
    _append(SUMMARY_FILE, name, shown if shown.endswith("\n") else shown + "\n")
    return True


def output(values: Mapping[str, str], env: Mapping[str, str], redact: Redact = unchanged) -> None:
    """Sets outputs of the step where it can have some; GitHubError."""
    name = env.get(OUTPUT_FILE)
    if name:
        _append(OUTPUT_FILE, name, "".join(assignment(key, redact(value)) for key, value in values.items()))


def assignment(name: str, value: str) -> str:
    """A line that sets an output, or lines between delimiters that nobody can foresee where the value has several."""
    if re.search(r"[\r\n]", value) is None:
        return f"{name}={value}\n"
    delimiter = f"end_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _append(variable: str, name: str, text: str) -> None:
    try:
        with Path(name).open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
    except OSError as error:
        raise GitHubError(
            f"it can't be written: {error.strerror or error}",
            where=variable,
            todo=f"unset {variable} where this isn't a job of GitHub Actions",
        ) from None


def messages(error: ReconcileError, env: Mapping[str, str]) -> tuple[str, ...]:
    """The runner's commands that show an error in the diff, one per mistake; none outside of a job.

    They may be printed to stdout or stderr: the runner reads both.
    """
    if not in_actions(env):
        return ()
    if not isinstance(error, DesiredError):
        return (f"::error title=reconcile::{annotation(error.reason)}",)
    return tuple(_message(problem, env.get("GITHUB_WORKSPACE", "")) for problem in error.problems)


def _message(problem: Problem, workspace: str) -> str:
    path = f"{problem.path}: " if problem.path else ""
    todo = f" ({problem.todo})" if problem.todo else ""
    file = annotation_property(_within(problem.file, workspace))
    place = f"file={file},line={problem.line},col={problem.column}"
    return f"::error {place},title=desired state::{annotation(f'{path}{problem.what}{todo}')}"


def _within(file: str, workspace: str) -> str:
    """The file's path within the repository, which is how GitHub finds it."""
    if not workspace:
        return file
    try:
        return Path(file).absolute().relative_to(Path(workspace).absolute()).as_posix()
    except ValueError:
        return file
