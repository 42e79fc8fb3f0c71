"""The evaluator says what GitHub's documentation says, and refuses what it doesn't know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.github.expressions import Wrong, condition, evaluate, fill

CONTEXTS = {
    "github": {"ref": "refs/heads/main", "event": {"inputs": None}, "ref_name": "main"},
    "inputs": {"dry-run": None, "branch": ""},
    "needs": {"plan": {"result": "success", "outputs": {"fan-out": "true", "matrix": '{"include":[{"id":"a"}]}'}}},
    "matrix": {"runner": ["ubuntu-24.04", "big"]},
}


def _status(*, ok: bool) -> dict[str, Any]:
    return {
        "success": lambda: ok,
        "failure": lambda: not ok,
        "always": lambda: True,
        "cancelled": lambda: False,
    }


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 == 1.0", True),
        ("'a' == 'A'", True),
        ("'' == 0", True),
        ("null == ''", True),
        ("'it''s'", "it's"),
        ("github.ref == 'refs/heads/main' && !inputs.dry-run", True),
        ("inputs.branch || github.ref_name", "main"),
        ("needs.plan.outputs['fan-out'] != 'true'", False),
        ("needs.build.outputs.x == 'true'", False),
        ("fromJSON(needs.plan.outputs.matrix).include[0].id", "a"),
        ("format('{0}-{1}', 'a', true)", "a-true"),
        ("startsWith(github.ref, 'REFS/') && contains(matrix.runner, 'big')", True),
        ("(true || false) && 'yes' || 'no'", "yes"),
        ("2 < 10", True),
    ],
)
def test_values(source: str, value: object) -> None:
    """An expression has the value that GitHub's runner gives it."""
    assert evaluate(source, CONTEXTS) == value


@pytest.mark.parametrize("source", ["secrets.TOKEN", "hashFiles('x')", "1 +", "github.", "(1", '"a"', "1 2"])
def test_unknown_is_refused(source: str) -> None:
    """A context, function or sign that isn't known here is an error, never silently empty."""
    with pytest.raises(Wrong):
        evaluate(source, CONTEXTS)


def test_filling() -> None:
    """A value that is one expression keeps its type; within a text it becomes one."""
    given = {"a": "${{ matrix.runner }}", "b": "x-${{ true }}-${{ null }}", "c": "${{ 1 }}:${{ 'a' }}"}
    assert fill(given, CONTEXTS) == {"a": ["ubuntu-24.04", "big"], "b": "x-true-", "c": "1:a"}


@pytest.mark.parametrize(
    ("source", "ok", "runs"),
    [
        (None, True, True),
        (None, False, False),
        ("always()", False, True),
        ("github.ref == 'refs/heads/main'", False, False),
        ("${{ !cancelled() && needs.plan.result == 'success' }}", False, True),
        ("failure()", True, False),
    ],
)
def test_conditions(source: str | None, ok: bool, runs: bool) -> None:
    """Without a status function a condition holds only where nothing failed before."""
    assert condition(source, CONTEXTS, _status(ok=ok)) is runs
