"""Runs a workflow file as GitHub does: jobs in the order of their needs, matrices side by side, steps in a shell.

What a step may use is what the file says: environment, GITHUB_* files, artefacts as folders, a token with the job's
permissions. `uses:` of others' actions are stand-ins; composite actions of this repository are run themselves. A key
that isn't known here is an error, so that nothing of a workflow is passed over in silence.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.github.expressions import condition, fill, text
from tests.github.files import ACTIONS, GITHUB, ROOT, File
from tests.github.service import NAME, Service
from tests.report.runner import outputs as parse_outputs

_JOB_KEYS = {"name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "outputs", "strategy", "steps", "env"}
_STEP_KEYS = {"id", "name", "if", "uses", "with", "run", "env", "shell", "working-directory"}
_PARALLEL = 4


class Died(Exception):
    """The machine of a job is gone: no step of it runs any more."""


@dataclass(frozen=True)
class Event:
    """What starts a run. `sha` is checked out by default; `payload` is `github.event`."""

    name: str
    sha: str
    ref: str = "refs/heads/main"
    payload: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Job:
    """One job while it runs, and what became of it: `result` is success, failure or skipped."""

    run: Run
    name: str
    matrix: Mapping[str, Any]
    spec: Mapping[str, Any]
    folder: Path
    result: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def permissions(self) -> Mapping[str, str]:
        """What its token may; nothing that isn't named."""
        return {**self.spec["permissions"]}

    @property
    def workspace(self) -> Path:
        """GITHUB_WORKSPACE."""
        return self.folder / "workspace"

    @property
    def temp(self) -> Path:
        """RUNNER_TEMP."""
        return self.folder / "temp"

    @property
    def summary(self) -> str:
        """What its steps said in their summaries."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("summary-*")))


@dataclass
class Run:
    """One run of a workflow."""

    id: int
    file: File
    event: Event
    jobs: dict[str, list[Job]] = field(default_factory=dict)

    @property
    def conclusion(self) -> str:
        """`success`, or `failure` where any job failed."""
        return "failure" if any(job.result == "failure" for jobs in self.jobs.values() for job in jobs) else "success"

    def job(self, name: str) -> Job:
        """The one job of that name."""
        (job,) = self.jobs[name]
        return job

    def result(self, name: str) -> str:
        """Of a job and its matrix, as `needs` has it."""
        results = {job.result for job in self.jobs[name]}
        return next((one for one in ("failure", "success") if one in results), "skipped")

    def outputs(self, name: str) -> Mapping[str, str]:
        """Of a job; of a matrix, those of the last that sets each."""
        return {key: value for job in self.jobs[name] for key, value in job.outputs.items()}

    @property
    def story(self) -> str:
        """Every log, for a test that fails."""
        jobs = [job for jobs in self.jobs.values() for job in jobs]
        return "\n".join(f"== {job.name} {dict(job.matrix)}: {job.result}\n{job.log}" for job in jobs)


Standin = Callable[[Job, Mapping[str, str]], None]
Before = Callable[[Job, Mapping[str, Any]], None]


def nothing(_job: Job, _step: Mapping[str, Any]) -> None:
    """Before a step: nothing happens."""


class Runner:
    """`env` is every job's; `standins` are called for `uses:`, by the name before the `@`."""

    def __init__(self, service: Service, env: Mapping[str, str], standins: Mapping[str, Standin]) -> None:
        self.service = service
        self._env = env
        self._standins = standins
        self._lock = threading.Lock()

    def run(self, file: File, event: Event, before: Before = nothing) -> Run:
        """Runs the workflow; `before` is called before every step, and may raise Died."""
        unknown = set(file.content) - {"name", "on", "permissions", "concurrency", "jobs"}
        assert not unknown, f"{file.name} has {unknown}, which this runner doesn't know"
        with self._lock:
            run = Run(self.service.new_run(), file, event)
        pending = dict(file.jobs)
        while pending:
            ready = [name for name, spec in pending.items() if set(_needs(spec)) <= set(run.jobs)]
            assert ready, f"jobs of {file.name} need each other"
            for name in ready:
                run.jobs[name] = self._jobs(run, name, pending.pop(name), before)
        return run

    def _jobs(self, run: Run, name: str, spec: Mapping[str, Any], before: Before) -> list[Job]:
        unknown = set(spec) - _JOB_KEYS
        assert not unknown, f"{run.file.name}: {name} has {unknown}, which this runner doesn't know"
        contexts = self._contexts(run, spec)
        blank = Job(run, name, {}, spec, Path(), result="skipped")
        before_it = {need: run.result(need) for need in _needs(spec)}
        if not condition(spec.get("if"), contexts, _status(before_it.values())):
            return [blank]
        matrix = fill(spec.get("strategy", {}).get("matrix", {}), contexts)
        entries = matrix.get("include", []) if matrix else [{}]
        assert entries, f"{run.file.name}: the matrix of {name} is empty, which GitHub fails"
        jobs = []
        for number, entry in enumerate(entries):
            folder = self.service.folder / f"run-{run.id}" / f"{name}-{number}"
            jobs.append(Job(run, name, entry, spec, folder))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(lambda job: self._job(job, before), jobs))
        return jobs

    def _contexts(self, run: Run, spec: Mapping[str, Any]) -> dict[str, Any]:
        event = run.event
        needs = {
            need: {
                "result": run.result(need),
                "outputs": {k: v for job in run.jobs[need] for k, v in job.outputs.items()},
            }
            for need in _needs(spec)
        }
        return {
            "github": {
                "event": event.payload,
                "event_name": event.name,
                "ref": event.ref,
                "ref_name": event.ref.removeprefix("refs/heads/"),
                "repository": NAME,
                "run_id": str(run.id),
                "sha": event.sha,
            },
            "inputs": event.inputs,
            "needs": needs,
            "vars": self.service.variables,
        }

    def _job(self, job: Job, before: Before) -> None:
        for folder in (job.workspace, job.temp, job.folder / "home"):
            folder.mkdir(parents=True)
        contexts = self._contexts(job.run, job.spec)
        contexts["github"]["token"] = self.service.token(job.permissions)
        contexts |= {"matrix": job.matrix, "runner": {"temp": str(job.temp), "os": "Linux"}}
        contexts["steps"] = job.steps
        job.env = self._environment(job, contexts["github"]["token"])
        try:
            job.result = self._steps(job, job.spec["steps"], contexts, before)
        except Died:
            job.result = "failure"
            job.log += "the machine is gone\n"
        job.outputs = {name: text(value) for name, value in fill(job.spec.get("outputs", {}), contexts).items()}

    def _environment(self, job: Job, token: str) -> dict[str, str]:
        """What GitHub sets for every step (docs.github.com, "Variables reference"); the token isn't among it."""
        run, event = job.run, job.run.event
        payload = job.folder / "event.json"
        payload.write_text(json.dumps({**event.payload, "inputs": dict(event.inputs)}), encoding="utf-8")
        packages = job.permissions.get("packages", "")
        workflow = run.file.path.relative_to(ROOT).as_posix()
        return {
            **self._env,
            **self.service.github.env,
            **self.service.oidc(job.permissions, workflow, event.ref),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event.name,
            "GITHUB_EVENT_PATH": str(payload),
            "GITHUB_REF": event.ref,
            "GITHUB_REF_NAME": event.ref.removeprefix("refs/heads/"),
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_SHA": event.sha,
            "GITHUB_WORKSPACE": str(job.workspace),
            "HOME": str(job.folder / "home"),
            "RUNNER_TEMP": str(job.temp),
            # GHCR takes the job's token as such; another registry has accounts for its permissions
            **({"RECONCILE_REGISTRY_USERNAME": packages, "RECONCILE_REGISTRY_PASSWORD": packages} if packages else {}),
        }

    def _steps(self, job: Job, steps: Sequence[Any], contexts: Mapping[str, Any], before: Before) -> str:
        result = "success"
        for step in steps:
            unknown = set(step) - _STEP_KEYS
            assert not unknown, f"{job.run.file.name}: a step has {unknown}, which this runner doesn't know"
            functions = _status([result])
            if not condition(step.get("if"), contexts, functions):
                continue
            before(job, step)
            try:
                self._step(job, step, contexts, before)
                outcome = "success"
            except (subprocess.CalledProcessError, OSError) as error:
                job.log += f"failed: {error}\n"
                outcome = result = "failure"
            if "id" in step:
                contexts["steps"].setdefault(step["id"], {"outputs": {}})["outcome"] = outcome
        return result

    def _step(self, job: Job, step: Mapping[str, Any], contexts: Mapping[str, Any], before: Before) -> None:
        name = step.get("name", step.get("uses", "run"))
        job.log += f"-- {name}\n"
        if "run" in step:
            self._shell(job, step, contexts)
            return
        given = {key: text(value) for key, value in fill(step.get("with", {}), contexts).items()}
        action = step["uses"].partition("@")[0]
        if action in self._standins:
            self._standins[action](job, given)
            return
        (own,) = [one for one in ACTIONS if f"$/{one.path.parent.relative_to(ROOT).as_posix()}" == action]
        declared = own.content["inputs"]
        assert set(given) <= set(declared), f"{own.name} has no input {set(given) - set(declared)}"
        inputs = {key: given.get(key, text(fill(spec.get("default", ""), contexts))) for key, spec in declared.items()}
        inner = {**contexts, "inputs": inputs, "steps": {}}
        if self._steps(job, own.content["runs"]["steps"], inner, before) != "success":
            raise OSError(f"{own.name} failed")

    def _shell(self, job: Job, step: Mapping[str, Any], contexts: Mapping[str, Any]) -> None:
        number = len(list(job.folder.glob("script-*")))
        files = {name: job.folder / f"{name.lower()}-{number}" for name in ("OUTPUT", "ENV", "PATH")}
        summary = job.folder / f"summary-{number:03}"
        for path in (*files.values(), summary):
            path.touch()
        script = job.folder / f"script-{number}.sh"
        script.write_text(step["run"], encoding="utf-8")
        # the default is `bash -e`; naming it adds pipefail (docs.github.com, workflow syntax, shell)
        flags = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        env = {
            **job.env,
            "PATH": os.pathsep.join([*reversed(job.path), job.env["PATH"]]),
            **{f"GITHUB_{name}": str(path) for name, path in files.items()},
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_ACTION_PATH": str(GITHUB / "actions"),
            **{key: text(value) for key, value in fill(step.get("env", {}), contexts).items()},
        }
        cwd = job.workspace / text(fill(step.get("working-directory", "."), contexts))
        done = subprocess.run(
            ["bash", *flags, str(script)],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        job.log += f"{done.stdout}{done.stderr}"
        job.path += files["PATH"].read_text(encoding="utf-8").split()
        job.env |= parse_outputs(files["ENV"].read_text(encoding="utf-8"))
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": parse_outputs(files["OUTPUT"].read_text(encoding="utf-8"))}
        done.check_returncode()


def _needs(spec: Mapping[str, Any]) -> list[str]:
    needs = spec.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _status(results: Any) -> Mapping[str, Callable[..., bool]]:
    """The status functions after these results: what was skipped neither succeeded nor failed."""
    seen = list(results)
    return {
        "success": lambda: all(one == "success" for one in seen),
        "failure": lambda: "failure" in seen,
        "always": lambda: True,
        "cancelled": lambda: False,
    }
