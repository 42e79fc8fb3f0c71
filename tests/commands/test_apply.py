"""The contract of `reconcile apply` where nothing needs to be built: guards, saved plans, what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.evidence import Kind
from reconciler.record import Records
from tests.support.mirrors import LocalMirror, mirror

VERSIONS = [f"1.{minor}.0" for minor in range(6)]


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror whose upstream released 1.0.0 to 1.5.0, all published."""
    with mirror(tmp_path) as made:
        made.released(*VERSIONS)
        for version in VERSIONS:
            last = made.publish(version)
        made.point("latest", last.digest)
        yield made


def unchanged(m: LocalMirror, before: object) -> None:
    """Nothing was written to the registry."""
    assert m.registry.store.snapshot() == before
    assert not [request for request in m.registry.requests if request.method not in ("GET", "HEAD")]


def planned(m: LocalMirror, *flags: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(m.run("plan", "--format=json", *flags)[1])
    return value


def test_nothing_to_do_writes_only_the_record(m: LocalMirror) -> None:
    """Status 0; what was seen is remembered, so that the next plan is warm; a third run changes no byte."""
    before = m.registry.store.snapshot()
    status, out, _ = m.run("apply")
    assert (status, out) == (0, "Nothing to do.\n")
    unchanged(m, before)
    record = (m.state / "hello.json").read_bytes()
    assert set(Records(m.state).load("hello").images[f"{m.registry.host}/mirror/hello"].tags) == set(VERSIONS)
    assert m.run("apply")[0] == 0
    assert (m.state / "hello.json").read_bytes() == record


def test_a_warm_plan_asks_three_heads_a_tag_at_most(m: LocalMirror) -> None:
    """One HEAD per tag, per pointer and per evidence index, and nothing else."""
    m.run("apply")
    m.registry.requests.reset()
    assert m.run("plan")[0] == 0
    asked = [(request.method, request.kind) for request in m.registry.requests]
    assert asked == [("HEAD", "manifest")] * (2 * len(VERSIONS) + 1)


class TestExpected:
    """`--expect-plan`."""

    @pytest.mark.parametrize("hash_", ["", "sha256:", "sha256:" + "0" * 64, "latest", "sha256:" + "0" * 63])
    def test_another_plan_is_refused(self, m: LocalMirror, hash_: str) -> None:
        """Status 3, both hashes printed, no effect."""
        m.registry.store.untag("mirror/hello", "1.0.0")
        before = m.registry.store.snapshot()
        status, out, err = m.run("apply", f"--expect-plan={hash_}")
        assert (status, out) == (3, "")
        assert planned(m)["hash"] in err
        assert hash_ in err
        unchanged(m, before)

    def test_an_empty_plan_against_a_hash_is_refused(self, m: LocalMirror) -> None:
        """What was reviewed had changes, what is now has none: someone looks first."""
        m.registry.store.untag("mirror/hello", "1.0.0")
        reviewed = planned(m)["hash"]
        m.publish("1.0.0")
        assert m.run("apply", f"--expect-plan={reviewed}")[0] == 3
        assert m.run("apply", f"--expect-plan={planned(m)['hash']}")[0] == 0

    def test_a_partial_plan_satisfies_no_full_apply(self, m: LocalMirror) -> None:
        """Nor the other way round."""
        part, full = planned(m, "--app=hello")["hash"], planned(m)["hash"]
        assert m.run("apply", f"--expect-plan={part}")[0] == 3
        assert m.run("apply", "--app=hello", f"--expect-plan={full}")[0] == 3
        assert m.run("apply", "--app=hello", f"--expect-plan={part}")[0] == 0


class TestTripwire:
    """Outages and mistaken identity become no mass rebuild."""

    def test_lost_tags(self, m: LocalMirror) -> None:
        """More than a fifth and more than three: refused with the flag that allows exactly that number."""
        m.run("apply")
        for version in VERSIONS[:4]:
            m.registry.store.untag("mirror/hello", version)
        before = m.registry.store.snapshot()
        m.registry.requests.reset()
        with m.hurried():
            status, _, err = m.run("apply")
        assert status == 3
        assert "4 of the 6 tags on record" in err
        assert "--allow-lost 4" in err
        unchanged(m, before)

    def test_lost_proofs(self, m: LocalMirror) -> None:
        """A registry that lost its fallback tags looks unsigned: that is an outage."""
        m.run("apply")
        store = m.registry.store
        for tag in [tag for tag in store.tags("mirror/hello") if tag.startswith("sha256-")]:
            store.untag("mirror/hello", tag)
        status, _, err = m.run("apply")
        assert status == 3
        assert "--allow-" in err

    def test_a_lost_state_folder_rebuilds_nothing(self, m: LocalMirror) -> None:
        """Without records everything is read from scratch and found as it should be."""
        m.run("apply")
        (m.state / "hello.json").unlink()
        assert m.run("apply")[:2] == (0, "Nothing to do.\n")

    def test_somebody_else_s_images(self, tmp_path: Path) -> None:
        """A first run over images that we can't prove ours replaces none by itself."""
        with mirror(tmp_path) as m:
            m.released(*VERSIONS)
            for version in VERSIONS:
                m.foreign(version, text=version)
            before = m.registry.store.snapshot()
            status, _, err = m.run("apply")
            assert status == 3
            assert "6 digests that exist would be replaced" in err
            assert "--allow-replaced 6" in err
            unchanged(m, before)


class TestSaved:
    """`apply PLAN.json`."""

    @pytest.mark.parametrize("content", [b"", b"{}", b"[[[", b"\xff", b'{"format_version": 99}'])
    def test_anything_else_is_refused(self, m: LocalMirror, tmp_path: Path, content: bytes) -> None:
        """Status 3, the file named, no effect."""
        (tmp_path / "plan.json").write_bytes(content)
        status, _, err = m.run("apply", str(tmp_path / "plan.json"))
        assert status == 3
        assert "plan.json" in err
        assert "Traceback" not in err

    def test_an_altered_plan_is_refused(self, m: LocalMirror, tmp_path: Path) -> None:
        """Its hash must be that of its content."""
        m.registry.store.untag("mirror/hello", "1.0.0")
        plan = tmp_path / "plan.json"
        m.run("plan", "--format=json", f"--output={plan}")
        plan.write_text(plan.read_text().replace("linux/arm64", "linux/riscv64"))
        status, _, err = m.run("apply", str(plan))
        assert status == 3
        assert "altered" in err

    def test_a_plan_of_another_mirror_is_refused(self, m: LocalMirror, tmp_path: Path) -> None:
        """It may write nowhere but where the desired state says."""
        m.registry.store.untag("mirror/hello", "1.0.0")
        plan = tmp_path / "plan.json"
        m.run("plan", "--format=json", f"--output={plan}")
        m.write("mirror", (m.desired / "mirror.yaml").read_text().replace("namespace: mirror", "namespace: other"))
        status, _, err = m.run("apply", str(plan))
        assert status == 3
        assert "knows nothing of" in err


def test_a_saved_plan_adopts_nothing_by_itself(m: LocalMirror, tmp_path: Path) -> None:
    """Authority to sign somebody else's digest comes from the desired state alone, not from a file that names it."""
    theirs = m.foreign("1.0.0")
    desired = (m.desired / "hello.yaml").read_text()
    adopting = desired.replace("hello: {}", f'hello: {{adopt: {{"1.0.0": "{theirs.digest}"}}}}')
    m.write("hello", adopting)
    plan = tmp_path / "plan.json"
    m.run("plan", "--format=json", f"--output={plan}")
    m.write("hello", desired)
    status, _, err = m.run("apply", str(plan))
    assert status == 3
    assert f"adopts {theirs.digest}" in err


def test_nothing_is_begun_that_cant_be_finished(m: LocalMirror, tmp_path: Path) -> None:
    """No builder, no cosign, no key: all of it is said at once, and nothing was done."""
    m.registry.store.untag("mirror/hello", "1.0.0")
    before = m.registry.store.snapshot()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "")
    status, out, err = m.run("apply", "--format=json", env={"PATH": str(tmp_path / "bin")})
    assert status == 1
    assert json.loads(out)["errored"]
    assert "cosign is not on this machine" in err
    assert "no private key to sign with" in err
    assert "docker" in err
    assert m.registry.store.snapshot() == before


def test_a_record_that_cant_be_read_costs_its_app(m: LocalMirror) -> None:
    """The file is named, with what to do; other apps go on."""
    m.state.mkdir()
    (m.state / "hello.json").write_text("{")
    m.write("other")
    m.released("1.0.0", app="other")
    m.point("latest", m.publish("1.0.0", app="other", lacks=[Kind.SBOM]).digest, app="other")
    status, out, _ = m.run("plan")
    assert status == 1
    assert "hello.json: the record is no JSON" in out
    assert "attest" in out
