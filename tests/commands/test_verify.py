"""`reconcile verify`: from scratch, records ignored, status 1 if anything required fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local.sigstore import Key
from reconciler.model.evidence import Kind
from reconciler.record import Records
from tests.support.mirrors import LocalMirror, mirror
from tests.support.nouns import AMD64


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror with two versions, both as they should be."""
    with mirror(tmp_path) as made:
        made.released("1.0.0", "1.1.0")
        made.publish("1.0.0")
        made.point("latest", made.publish("1.1.0").digest)
        yield made


def test_all_is_well(m: LocalMirror) -> None:
    """Per digest what holds, and by whom."""
    status, out, err = m.run("verify")
    assert (status, err) == (0, "")
    assert out.startswith("2 of 2 verified.\n\nhello\n  ok   hello:1.1.0  sha256:")
    for kind in Kind:
        assert out.count(f"\n         {kind:11} by ") == 2


@pytest.mark.parametrize("kind", list(Kind))
def test_what_fails_is_named(m: LocalMirror, kind: Kind) -> None:
    """A proof that lacks, on which tag; the other tag still holds."""
    m.publish("1.0.0", lacks=[kind], text="less")
    status, out, _ = m.run("verify")
    assert status == 1
    assert "1 of 2 verified." in out
    assert f"! {kind}: missing" in out


def test_wrong_platforms_versions_and_signers_fail(m: LocalMirror) -> None:
    """Lacking a platform, signed as another version, or by someone who isn't accepted."""
    m.publish("1.0.0", platforms=[AMD64], text="half")
    assert "! lacks linux/arm64" in m.run("verify", "hello:1.0.0")[1]
    m.publish("1.1.0", tag="1.0.0")
    assert "! it is signed as " in m.run("verify", "hello:1.0.0")[1]
    m.publish("1.0.0", key=Key.generate(), text="theirs")
    status, out, _ = m.run("verify", "hello:1.0.0")
    assert status == 1
    assert "! signature: " in out


def test_records_are_ignored(m: LocalMirror) -> None:
    """A record that claims proofs can't hide that they are gone."""
    m.run("apply")
    assert Records(m.state).load("hello").images
    for tag in [tag for tag in m.registry.store.tags("mirror/hello") if tag.startswith("sha256-")]:
        m.registry.store.untag("mirror/hello", tag)
    assert m.run("verify")[0] == 1


def test_one_app_or_one_version(m: LocalMirror) -> None:
    """A version that left the window can be named; it needs no upstream."""
    m.publish("0.9.0")
    status, out, _ = m.run("verify", "hello:0.9.0")
    assert (status, out.splitlines()[0]) == (0, "1 of 1 verified.")
    assert m.run("verify", "hello")[1].startswith("2 of 2 verified.")
    assert m.run("verify", "helo")[0] == 64
    assert m.run("verify", "hello:not a version")[0] == 64
    status, out, _ = m.run("verify", "hello:7.7.7")
    assert status == 1
    assert "! no such tag" in out


def test_json(m: LocalMirror) -> None:
    """For machines: each kind's state, by whom, and the digest of the proof."""
    status, out, _ = m.run("verify", "--format=json")
    report = json.loads(out)
    assert (status, report["holds"], len(report["tags"])) == (0, True, 2)
    assert {found["state"] for tag in report["tags"] for found in tag["evidence"].values()} == {"proven"}


def test_the_commands_that_check_the_same(m: LocalMirror) -> None:
    """Plain cosign, by digest, one for each kind; the stack tests run them as they stand."""
    status, out, _ = m.run("verify", "hello:1.0.0", "--print-commands")
    assert status == 0
    digest = m.registry.store.resolve("mirror/hello", "1.0.0")
    assert f"# {m.registry.host}/mirror/hello:1.0.0" in out
    assert "cosign verify --key cosign.pub" in out
    for kind in ("spdxjson", "slsaprovenance1"):
        assert f"cosign verify-attestation --type {kind}" in out
    assert out.count(f"@{digest}") == 5


def test_what_can_t_be_there_yet_is_no_fault(m: LocalMirror) -> None:
    """Upstream's files aren't published: the version waits, and what is there is verified."""
    m.released("1.2.0")
    for version in ("1.0.0", "1.1.0"):
        m.upstream.file(f"hello-{version}", b"ready")
    files = f"{m.upstream.url}/files/hello-{{version}}"
    desired = (m.desired / "hello.yaml").read_text()
    m.write("hello", desired.replace("hello: {}", f'hello: {{requires: ["{files}"]}}'))
    status, out, _ = m.run("verify")
    assert (status, out.splitlines()[0]) == (0, "2 of 2 verified.")
    assert "  .    hello:1.2.0  not there yet: upstream isn't ready for linux/amd64" in out
