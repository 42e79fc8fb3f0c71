"""`matrix`, `build` and `apply --results` as a workflow calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest

from reconciler import cli
from tests.report.runner import outputs
from tests.support.mirrors import LocalMirror, mirror

NONCE = "0123456789abcdef" * 2


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror of `hello`."""
    with mirror(tmp_path) as made:
        yield made


def planned(m: LocalMirror, *versions: str) -> Path:
    """A saved plan that publishes these."""
    m.released(*versions)
    path = m.folder / "plan.json"
    status, _, err = m.run("plan", "--format", "json", "--output", str(path))
    assert status == 0, err
    return path


def run(m: LocalMirror, *words: str, output: Path | None = None) -> tuple[int, str, str]:
    """One command: its status, stdout and stderr."""
    out, err = StringIO(), StringIO()
    env = {"HOME": str(m.folder), "PATH": "/usr/bin:/bin", **({"GITHUB_OUTPUT": str(output)} if output else {})}
    with mock.patch.dict("os.environ", env, clear=True), redirect_stdout(out), redirect_stderr(err):
        status = cli.main([*words, "--desired", str(m.desired), "--allow-private"])
    return status, out.getvalue(), err.getvalue()


def test_the_matrix_and_what_goes_with_it(m: LocalMirror, tmp_path: Path) -> None:
    """A job per version and platform with the labels of its runner, and the outputs that a workflow decides by."""
    m.write("mirror", more="runners: {linux/arm64: [self-hosted, arm64]}\n")
    plan, output = planned(m, "1.0.0", "1.1.0"), tmp_path / "output"
    status, out, _ = run(m, "matrix", str(plan), "--few", "3", output=output)
    assert status == 0
    document = json.loads(out)
    assert [(entry["id"], entry["runner"]) for entry in document["include"]] == [
        ("hello@1.1.0@linux-amd64", ["ubuntu-24.04"]),
        ("hello@1.1.0@linux-arm64", ["self-hosted", "arm64"]),
        ("hello@1.0.0@linux-amd64", ["ubuntu-24.04"]),
        ("hello@1.0.0@linux-arm64", ["self-hosted", "arm64"]),
    ]
    said = outputs(output.read_text(encoding="utf-8"))
    assert json.loads(said.pop("matrix")) == document
    assert len(said.pop("run")) == 32
    assert said.pop("plan-hash") == json.loads(plan.read_text(encoding="utf-8"))["hash"]
    assert said == {"has-builds": "true", "fan-out": "true", "builds": "4", "jobs": "4", "left": "0"}
    run(m, "matrix", str(plan), "--few", "4", output=tmp_path / "few")
    assert outputs((tmp_path / "few").read_text(encoding="utf-8"))["fan-out"] == "false"


def test_every_run_has_a_name_of_its_own(m: LocalMirror, tmp_path: Path) -> None:
    """The same plan twice is two runs: results of the first don't count in the second."""
    plan = planned(m, "1.0.0")
    names = set()
    for number in range(3):
        run(m, "matrix", str(plan), output=tmp_path / str(number))
        names.add(outputs((tmp_path / str(number)).read_text(encoding="utf-8"))["run"])
    assert len(names) == 3


def test_nothing_to_build_is_said(m: LocalMirror, tmp_path: Path) -> None:
    """An empty matrix, and an output by which the job is skipped, as GitHub fails a job with an empty matrix."""
    status, out, _ = run(m, "matrix", str(planned(m)), output=tmp_path / "output")
    assert (status, json.loads(out)) == (0, {"include": []})
    said = outputs((tmp_path / "output").read_text(encoding="utf-8"))
    assert (said["has-builds"], said["fan-out"], said["matrix"]) == ("false", "false", '{"include":[]}')


def test_a_plan_that_was_not_made_has_no_matrix(m: LocalMirror, tmp_path: Path) -> None:
    """Where the plan failed, nothing may be taken for an empty one."""
    (m.desired / "hello.yaml").write_text("app: hello\n")
    m.run("plan", "--format", "json", "--output", str(tmp_path / "plan.json"))
    m.write("hello")
    status, out, err = run(m, "matrix", str(tmp_path / "plan.json"), output=tmp_path / "output")
    assert (status, out) == (3, "")
    assert "the plan was not made" in err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["build", "PLAN", "--job", "hello@9@x", "--run", NONCE, "--results", "r"], 64, "has no job 'hello@9@x'"),
        (["build", "PLAN", "--job", "hello@1.0.0@linux-amd64", "--run", "1", "--results", "r"], 64, "names no run"),
        (
            [
                *("build", "PLAN", "--job", "hello@1.0.0@linux-amd64", "--run", NONCE, "--results", "r"),
                *("--expect-plan", "sha256:" + "0" * 64),
            ],
            3,
            "not the expected one",
        ),
        (["apply", "PLAN", "--results", "r"], 64, "--results takes the plan that was built, and --run"),
        (["apply", "PLAN", "--run", NONCE], 64, "--results takes the plan that was built, and --run"),
        (["apply", "--results", "r", "--run", NONCE], 64, "--results takes the plan that was built, and --run"),
        (["apply", "PLAN", "--results", "nowhere", "--run", NONCE], 64, "there is no such folder"),
    ],
)
def test_mistakes_of_the_caller(m: LocalMirror, words: list[str], status: int, said: str) -> None:
    """A job, run or folder that isn't there is a mistake of the call, before anything is written."""
    plan = planned(m, "1.0.0")
    found, _, err = run(m, *(str(plan) if word == "PLAN" else word for word in words))
    assert found == status, err
    assert said in err
    assert not [seen for seen in m.registry.requests if seen.method not in ("GET", "HEAD")]
