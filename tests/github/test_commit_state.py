"""How the records get onto the branch: only if they changed, though others push, with the token of that step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.local.builder import Builder
from reconciler.local.tools import Tools
from tests.github.files import File, workflow
from tests.github.runner import Event, Job, Run, Runner
from tests.github.service import Service, git
from tests.github.standins import Standins

COMMITTED = "Record what apply did [skip ci]"
USUAL = """\
name: Apply
on: push
permissions: {}
jobs:
  apply:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions: {contents: write}
    steps:
      - uses: actions/checkout@0
        with: {persist-credentials: false, fetch-depth: 0}
      - name: Record
        run: mkdir -p state && echo new > state/hello.json
      - if: always()
        uses: $/.github/actions/commit-state
"""
# as the README shows it for branches that take no push
OWN_BRANCH = USUAL.replace(
    "      - name: Record\n        run: mkdir -p state && echo new > state/hello.json\n",
    "      - uses: actions/checkout@0\n"
    "        with: {persist-credentials: false, fetch-depth: 0, ref: records, path: records}\n"
    "      - name: Record\n        run: mkdir -p records/state && echo new > records/state/hello.json\n",
).replace("commit-state\n", "commit-state\n        with: {branch: records, path: records}\n")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A repository with a record."""
    with Service(tmp_path) as service:
        service.push({"state/hello.json": "old\n", "README.md": "hello\n"}, "Begin")
        yield service


def run(service: Service, text: str, before: Any = lambda _job, _step: None) -> Run:
    """Runs a workflow on the branch's head."""
    content = YAML(typ="safe", pure=True).load(text)
    nobody = Builder("none", Path("/nowhere"), Path("/nowhere"))
    runner = Runner(service, {"PATH": "/usr/bin:/bin"}, Standins(service, Tools({}), nobody).table)
    return runner.run(File(workflow("apply.yml").path, text, content), Event("push", service.head), before)


def meanwhile(service: Service, files: Mapping[str, str], times: int = 1) -> Any:
    """Someone pushes these right before the records are."""
    left = [times]

    def before(_job: Job, step: Mapping[str, Any]) -> None:
        if step.get("name") == "Commit and push" and left[0]:
            left[0] -= 1
            service.push(files, "Meanwhile")

    return before


def record(service: Service, branch: str = "main") -> str:
    """The record on a branch."""
    return git("show", f"{branch}:state/hello.json", cwd=service.origin)


def test_what_changed_is_committed(service: Service) -> None:
    """One commit with the records and nothing else, by the bot, that starts no other run."""
    done = run(service, USUAL.replace("&& echo new", "&& echo x > stray && echo new"))
    assert done.conclusion == "success", done.story
    assert service.log() == [COMMITTED, "Begin"]
    assert git("show", "--format=%an", "--name-only", "main", cwd=service.origin).split() == [
        "github-actions[bot]",
        "state/hello.json",
    ]


def test_what_did_not_change_is_not(service: Service) -> None:
    """No empty commit every six hours."""
    assert run(service, USUAL.replace("echo new", "echo old")).conclusion == "success"
    assert service.log() == ["Begin"]
    nothing = run(service, USUAL.replace("mkdir -p state && echo new > state/hello.json", "rm -r state"))
    assert nothing.conclusion == "success", nothing.story
    assert service.log() == ["Begin"]


def test_a_push_in_between_survives(service: Service) -> None:
    """Ours goes on top of theirs."""
    done = run(service, USUAL, meanwhile(service, {"README.md": "changed\n"}))
    assert done.conclusion == "success", done.story
    assert service.log() == [COMMITTED, "Meanwhile", "Begin"]
    assert git("show", "main:README.md", cwd=service.origin) == "changed"


def test_of_two_records_the_later_counts(service: Service) -> None:
    """Where another run changed the same record, what this one saw last stands."""
    done = run(service, USUAL, meanwhile(service, {"state/hello.json": "theirs\n"}))
    assert done.conclusion == "success", done.story
    assert record(service) == "new"
    assert service.log() == [COMMITTED, "Meanwhile", "Begin"]


def test_without_the_right_to_write_it_fails_and_says_why(service: Service) -> None:
    """A protected branch: the job fails with an annotation, and nothing is pushed."""
    done = run(service, USUAL.replace("contents: write", "contents: read"))
    assert done.conclusion == "failure"
    assert "::error title=state::main takes no push" in done.job("apply").log
    assert service.log() == ["Begin"]


def test_the_token_stays_in_its_step(service: Service) -> None:
    """No file of the job holds it, and no line of its log shows it."""
    done = run(service, USUAL)
    job = done.job("apply")
    (token,) = (token for token in service.github.accounts if token.startswith("ghs_"))
    assert token not in job.log
    held = [path for path in job.folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert held == []


def test_records_can_have_a_branch_of_their_own(service: Service) -> None:
    """Where the branch is protected, the records go to another one, which needs nothing of the first."""
    service.push({"state/hello.json": "old\n"} | {"README.md": "records\n"}, "Records", "records")
    before = service.log()
    done = run(service, OWN_BRANCH)
    assert done.conclusion == "success", done.story
    assert service.log() == before
    assert record(service, "records") == "new"
    assert record(service) == "old"
