"""What the workflows promise, read from the files themselves (behaviours.md 23; issue 6)."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from reconciler.desired.loader import load
from reconciler.model.signing import Keyless
from tests.github.files import ACTIONS, GITHUB, ROOT, WORKFLOWS, File, workflow

EVERY = pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: file.name)
EVERY_WORKFLOW = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
TOOLS = Path(sys.executable).parent


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    """One of the linters that the dev extra brings."""
    words = [str(TOOLS / str(argv[0])), *map(str, argv[1:])]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def permissions(file: File) -> Mapping[str, Mapping[str, str]]:
    """Of each job."""
    return {name: job["permissions"] for name, job in file.jobs.items()}


def test_actionlint_passes() -> None:
    """Every workflow is one that GitHub takes."""
    done = run("actionlint", *(file.path for file in WORKFLOWS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_zizmor_passes() -> None:
    """Nothing that is known to make workflows unsafe, the most pedantic view included."""
    done = run("zizmor", "--offline", "--no-progress", "--persona", "auditor", GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


@EVERY_WORKFLOW
def test_least_permissions(file: File) -> None:
    """None at the top, some of its own for each job; a bound on time for each."""
    assert file.content["permissions"] == {}
    for job in file.jobs.values():
        assert job["permissions"]
        assert 0 < job["timeout-minutes"] <= 350


@EVERY
def test_nothing_is_pasted_into_a_shell(file: File) -> None:
    """A name with a backtick stays a name: no expression stands in a script, values come through `env`."""
    for step in file.steps:
        assert "${{" not in step.get("run", "")


@EVERY
def test_actions_are_pinned(file: File) -> None:
    """By their full SHA, with the version beside it; those of this repository by the commit that runs."""
    for line in file.text.splitlines():
        match = re.search(r"^\s*(?:- )?uses: (\S+)(.*)", line)
        if match and not match[1].startswith("$/.github/actions/"):
            assert PINNED.fullmatch(match[1]), line
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", match[2]), line
        if match and match[1].startswith("$/"):
            assert (ROOT / match[1].removeprefix("$/") / "action.yml").is_file()


def test_one_version_of_each_action() -> None:
    """The same action has the same SHA everywhere."""
    found: dict[str, set[str]] = {}
    for file in [*WORKFLOWS, *ACTIONS]:
        for step in file.steps:
            name, at, sha = str(step.get("uses", "")).partition("@")
            if at:
                found.setdefault(name, set()).add(sha)
    assert found
    assert {name: shas for name, shas in found.items() if len(shas) > 1} == {}


@EVERY
def test_no_credentials_are_left_behind(file: File) -> None:
    """No checkout leaves its token on disk; what pushes has it in one step's environment alone."""
    for step in file.steps:
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@EVERY_WORKFLOW
def test_no_trigger_that_lends_rights_to_strangers(file: File) -> None:
    """`pull_request_target` never; `workflow_run` only where nothing of the other run is checked out or run."""
    triggers = file.content["on"]
    assert "pull_request_target" not in triggers
    if "workflow_run" in triggers:
        assert file.name == "comment.yml"
        assert not any("checkout" in str(step.get("uses", "")) for step in file.steps)
        assert not any(re.search(r"\bgit\b|pull_request\.", step.get("run", "")) for step in file.steps)


def test_plan_may_only_read() -> None:
    """The pull request's own workflow can neither push nor sign, and has no secret."""
    plan = workflow("plan.yml")
    assert permissions(plan) == {"plan": {"contents": "read", "packages": "read"}}
    assert "secrets." not in plan.text
    assert list(plan.content["on"]) == ["pull_request"]
    assert plan.content["on"]["pull_request"]["paths"] == ["desired/**"]


def test_plan_reads_the_records_of_the_base() -> None:
    """A pull request can't bring records of its own."""
    base = [step for step in workflow("plan.yml").steps if step.get("with", {}).get("path") == "base"]
    assert [step["with"]["ref"] for step in base] == ["${{ github.event.pull_request.base.sha }}"]
    scripts = [step["run"] for step in workflow("plan.yml").steps if "run" in step]
    assert len(scripts) == 1
    assert "--state base/state " in scripts[0]


def test_comment_follows_plan() -> None:
    """It waits for just that workflow, and may comment but neither push nor sign."""
    comment = workflow("comment.yml")
    assert comment.content["on"]["workflow_run"]["workflows"] == [workflow("plan.yml").content["name"]]
    assert permissions(comment) == {
        "comment": {"actions": "read", "contents": "read", "pull-requests": "write"},
    }


def test_apply_runs_where_and_when_it_should() -> None:
    """On the default branch, every six hours at a minute that isn't 0, on a push to desired/, or by hand."""
    apply = workflow("apply.yml")
    triggers = apply.content["on"]
    assert set(triggers) == {"schedule", "push", "workflow_dispatch"}
    (schedule,) = triggers["schedule"]
    minute, *rest = schedule["cron"].split()
    assert 1 <= int(minute) <= 59
    assert rest == ["*/6", "*", "*", "*"]
    # it commits to state/, which must not start it again
    assert triggers["push"] == {"branches": ["main"], "paths": ["desired/**"]}
    assert {"apps", "dry-run"} <= set(triggers["workflow_dispatch"]["inputs"])
    assert apply.jobs["plan"]["if"] == "github.ref == 'refs/heads/main'"
    # whatever else runs needs that job
    assert all("plan" in job["needs"] for name, job in apply.jobs.items() if name != "plan")
    assert apply.content["concurrency"] == {"group": "apply", "cancel-in-progress": False}


def test_who_builds_can_not_sign() -> None:
    """Upstream's code runs in jobs without an OIDC token; one job has one, and in a fan-out it builds nothing."""
    apply = permissions(workflow("apply.yml"))
    assert apply["plan"] == {"contents": "read", "packages": "read"}
    assert apply["build"] == {"contents": "read", "packages": "write"}
    assert apply["apply"] == {"contents": "write", "id-token": "write", "packages": "write"}
    signing = [file.name for file in WORKFLOWS for job in permissions(file).values() if "id-token" in job]
    assert signing == ["apply.yml"]


def test_the_identity_is_the_one_that_counts() -> None:
    """What this workflow signs as is what mirror.yaml accepts as ours."""
    desired = load(ROOT / "desired")
    method = desired.signing.method
    assert isinstance(method, Keyless)
    apply = workflow("apply.yml")
    (branch,) = apply.content["on"]["push"]["branches"]
    path = apply.path.relative_to(ROOT).as_posix()
    assert method.identity.identity == f"{desired.mirror.source}/{path}@refs/heads/{branch}"
    assert method.identity.source_repository == desired.mirror.source
    assert method.identity.issuer == "https://token.actions.githubusercontent.com"


def test_the_records_are_committed_whatever_happens() -> None:
    """The last step of the finishing job runs also where something failed."""
    last = workflow("apply.yml").jobs["apply"]["steps"][-1]
    assert last == {"if": "always()", "uses": "$/.github/actions/commit-state"}


def test_runs_are_bound_to_their_plan() -> None:
    """Jobs that build and the one that finishes refuse another plan than the first job made."""
    apply = workflow("apply.yml")
    scripts = [step["run"] for name in ("build", "apply") for step in apply.jobs[name]["steps"] if "run" in step]
    walked = [script for script in scripts if "plan.json" in script]
    assert len(walked) == 2
    for script in walked:
        assert '--expect-plan "$PLAN"' in script
        assert '--run "$RUN"' in script


def test_ci_runs_what_the_readme_says() -> None:
    """The README's test command, and nothing else, is what CI runs, on Debian."""
    command = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    job = workflow("ci.yml").jobs["test"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    images = [entry["image"] for entry in job["strategy"]["matrix"]["include"]]
    assert images
    assert all(re.fullmatch(r"debian:\w+-slim@sha256:[0-9a-f]{64}", image) for image in images)


def test_dependencies_are_locked() -> None:
    """What the workflows install has its hash, fits what pyproject.toml asks for, and comes from no named place."""
    text = re.sub(r"(?m)^#.*\n", "", (GITHUB / "requirements.txt").read_text(encoding="utf-8"))
    assert not re.search(r"(?m)^\s*--(?!hash=)|://|@", text)
    locked: dict[str, Version] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        name, version = re.split(r"==|\s", entry, maxsplit=2)[:2]
        locked[name] = Version(version)
        assert "--hash=sha256:" in entry
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(locked[requirement.name.lower().replace(".", "-")]), requirement


def test_the_installer_takes_nothing_else() -> None:
    """The action installs by those hashes alone, and reconcile itself without asking anyone."""
    script = (GITHUB / "actions" / "setup" / "install.sh").read_text(encoding="utf-8")
    installs = [line for line in script.splitlines() if line.startswith('"${pip[@]}"')]
    assert len(installs) == 2
    assert "--require-hashes --only-binary :all:" in installs[0]
    assert "--no-deps --no-index --no-build-isolation" in installs[1]
