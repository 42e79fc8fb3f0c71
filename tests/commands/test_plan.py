"""The contract of `reconcile plan` (behaviours.md, plan), against a registry and an upstream on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.local.registry import Fault, Manners, on
from reconciler.local.registry.matrix import matrix
from reconciler.local.upstream import Reply
from reconciler.model.evidence import Kind
from tests.support.mirrors import LocalMirror, mirror
from tests.support.nouns import AMD64, ARM64, ARMV7


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror whose upstream released 1.0.0 to 1.2.0."""
    with mirror(tmp_path) as made:
        made.released("1.0.0", "1.1.0", "1.2.0")
        yield made


def whole(m: LocalMirror) -> None:
    """Everything as wanted."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        last = m.publish(version)
    m.point("latest", last.digest)


def planned(m: LocalMirror, *flags: str) -> tuple[int, dict[str, Any]]:
    status, out, _ = m.run("plan", "--format", "json", *flags)
    return status, json.loads(out)


def changes(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Symbol, word and tag of each change."""
    return [(c["symbol"], c["word"], c["target"].rpartition(":")[2]) for c in plan["changes"]]


def test_nothing_to_do_is_one_sentence(m: LocalMirror) -> None:
    """No table, status 0, also with --detailed-exitcode."""
    whole(m)
    for flags in ((), ("--detailed-exitcode",)):
        assert m.run("plan", *flags) == (0, "Nothing to do: no changes, all 4 tags and pointers are as wanted.\n", "")


def test_sends_only_get_and_head_and_writes_nothing(m: LocalMirror) -> None:
    """Neither registry nor upstream nor the folders are changed."""
    m.foreign("1.0.0")
    m.publish("1.1.0", lacks=[Kind.SBOM])
    before = m.registry.store.snapshot()
    m.run("plan")
    assert {request.method for request in m.registry.requests} <= {"GET", "HEAD"}
    assert m.registry.store.snapshot() == before
    assert not m.state.exists()


def test_each_difference_alone_is_one_change(m: LocalMirror) -> None:
    """Its symbol, a word, and a reason that names what is missing."""
    whole(m)
    m.publish("1.2.0", platforms=[AMD64], text="half")
    status, plan = planned(m)
    assert changes(plan) == [("~", "add platforms", "1.2.0"), (">", "move pointer", "latest")]
    assert plan["changes"][0]["reason"] == "lacks linux/arm64"

    half = m.publish("1.2.0", lacks=[Kind.SIGNATURE], text="unsigned")
    m.point("latest", half.digest)
    status, plan = planned(m)
    assert changes(plan) == [("*", "sign", "1.2.0")]
    assert plan["changes"][0]["reason"] == "lacks signature"

    half = m.publish("1.2.0", lacks=[Kind.SBOM, Kind.PROVENANCE], text="bare")
    m.point("latest", half.digest)
    status, plan = planned(m)
    assert changes(plan) == [("*", "attest", "1.2.0")]
    assert plan["changes"][0]["reason"] == (
        "lacks sbom for linux/amd64, linux/arm64; lacks provenance for linux/amd64, linux/arm64"
    )

    m.registry.store.untag(m.name(), "1.2.0")
    m.point("latest", m.publish("1.1.0").digest)
    status, plan = planned(m)
    assert changes(plan) == [("+", "publish", "1.2.0"), (">", "move pointer", "latest")]
    assert status == 0


def test_more_than_wanted_is_fine(m: LocalMirror) -> None:
    """Further platforms and attestation entries need no change."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        last = m.publish(version, platforms=[AMD64, ARM64, ARMV7])
    m.point("latest", last.digest)
    status, plan = planned(m)
    assert (status, plan["changes"]) == (0, [])


def test_an_absent_repository_is_published(m: LocalMirror) -> None:
    """404 with NAME_UNKNOWN or MANIFEST_UNKNOWN."""
    status, plan = planned(m)
    assert [word for _, word, _ in changes(plan)] == ["publish"] * 3 + ["move pointer"]
    assert (status, plan["complete"], plan["errored"]) == (0, True, None)
    assert planned(m, "--detailed-exitcode")[0] == 2


def test_accept_strictness_is_not_absence(tmp_path: Path) -> None:
    """A registry with GHCR's manners: everything there is seen to be there."""
    with mirror(tmp_path, manners=Manners.ghcr()) as m:
        m.released("1.0.0")
        m.point("latest", m.publish("1.0.0").digest)
        assert m.run("plan")[0:2] == (0, "Nothing to do: no changes, all 2 tags and pointers are as wanted.\n")


def test_invalid_files_are_reported_whole_and_nothing_is_asked(m: LocalMirror) -> None:
    """Three mistakes, each with file:line:column, the field's path and what to write; no traceback, no request."""
    m.write("hello", "app: hello\nupstreem: {git: x}\nwindow: many\nimages:\n  hello: {platforms: [linux]}\n")
    status, out, err = m.run("plan")
    assert (status, out) == (1, "")
    assert len(re.findall(r"hello\.yaml:\d+:\d+: \$", err)) >= 3
    assert "did you mean" in err or "upstream" in err
    assert "Traceback" not in err
    assert not list(m.registry.requests)
    status, out, _ = m.run("plan", "--format", "json")
    assert status == 1
    assert "hello.yaml" in json.loads(out)["errored"]


def test_json_is_alone_on_stdout(m: LocalMirror) -> None:
    """At the highest verbosity too; what it holds is documented in plan/saved.py."""
    status, out, _ = m.run("plan", "--format", "json", "-vvv")
    plan = json.loads(out)
    assert {"format_version", "hash", "complete", "errored", "changes"} <= set(plan)
    assert {"exists", "will", "reason"} <= set(plan["changes"][0])
    assert status == 0


def test_one_app_alone_is_partial(m: LocalMirror) -> None:
    """Only that app is planned, the plan says so, and its hash can't satisfy a full apply."""
    m.write("other")
    m.released("1.0.0", app="other")
    full = planned(m)[1]
    part = planned(m, "--app", "hello")[1]
    assert {change["app"] for change in part["changes"]} == {"hello"}
    assert part["hash"] != full["hash"]
    assert "This plan is partial: only hello." in m.run("plan", "--app", "hello")[1]
    m.write("other", more="\n")
    (m.desired / "other.yaml").unlink()
    assert planned(m)[1]["hash"] != part["hash"]


def test_a_name_that_isnt_there_is_a_usage_error(m: LocalMirror) -> None:
    """Status 64, and the nearest name."""
    status, _, err = m.run("plan", "--app", "helo")
    assert status == 64
    assert "hello" in err


def test_output_goes_to_a_file(m: LocalMirror, tmp_path: Path) -> None:
    """Whole, and nothing on stdout; a folder that isn't there is said clearly."""
    status, out, _ = m.run("plan", "--format", "json", "--output", str(tmp_path / "plan.json"))
    assert (status, out) == (0, "")
    assert json.loads((tmp_path / "plan.json").read_text())["format_version"] == 1
    status, _, err = m.run("plan", "--output", str(tmp_path / "no" / "plan.json"))
    assert status == 1
    assert "can't be written" in err


def test_an_upstream_that_fails_costs_its_app_alone(m: LocalMirror) -> None:
    """One line for it, status 1, everything else still shown."""
    m.write("other", more="")
    m.upstream.fail(".*acme/other.*", Reply(403, b"no"), times=9)
    status, plan = planned(m)
    assert status == 1
    assert [held["app"] for held in plan["held"]] == ["other"]
    assert {change["app"] for change in plan["changes"]} == {"hello"}


# what a plan can do without: a header that it doesn't need, a date long past
HARMLESS = {"Link to itself", "429 with a date"}
# 404 with the registry's own code, as of a tag that isn't there: see the test of the lag
FAULTS = sorted(set(matrix("http://127.0.0.1:1")) - {"stale read"})


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("published", [pytest.param(True, marks=pytest.mark.long), False])
def test_unknown_is_never_absent(m: LocalMirror, fault: str, published: bool) -> None:
    """Whatever happens to the answer for one tag: nothing is planned for it, status 1, everything else is shown."""
    whole(m)
    if not published:
        m.registry.store.untag(m.name(), "1.0.0")
    action = matrix("http://127.0.0.1:1")[fault]()
    m.registry.faults.add(Fault(action, on(kind="manifest", reference="1.1.0"), times=None))
    with m.hurried():
        status, plan = planned(m)
    m.registry.faults.clear()
    if fault == "connection refused":
        # nothing but what the registry answered before it was gone
        assert status == 1
        assert {target for _, _, target in changes(plan)} <= (set() if published else {"1.0.0"})
        assert "1.1.0" in {item["target"].rpartition(":")[2] for item in plan["held"]}
        return
    assert [word for _, word, _ in changes(plan)] == ([] if published else ["publish"])
    if status == 0:
        assert fault in HARMLESS
        assert plan["summary"]["satisfied"] == (4 if published else 3)
    else:
        assert status == 1
        assert not plan["complete"]
        held = {item["target"].rpartition(":")[2]: item for item in plan["held"]}
        assert held["1.1.0"]["state"] == "unknown"
        assert m.registry.host in held["1.1.0"]["reason"]
        assert plan["summary"]["satisfied"] == (3 if published else 2)
    assert planned(m)[0] == 0
