"""One tag in each state: the plan says what will happen to each and why, and apply does exactly that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local.builder import Builder
from reconciler.local.images import BaseImages
from reconciler.local.registry import Fault, on
from reconciler.local.registry.actions import reply_error
from reconciler.local.tools import Tools
from reconciler.model.evidence import Kind
from reconciler.model.record import ImageRecord, Record, RecordedTag
from reconciler.record import Records
from tests.support.images import Built
from tests.support.mirrors import LocalMirror, mirror
from tests.support.nouns import AMD64

APP = """\
app: hello
upstream: {{git: "{git}", tag: "v{{version}}"}}
window: 20
images:
  hello:
    requires: ["{files}/hello-{{version}}"]
    adopt: {{"1.7.0": "{adopted}"}}
"""
VERSIONS = [f"1.{minor}.0" for minor in range(12)]


@pytest.fixture
def m(tmp_path: Path, base_images: BaseImages) -> Iterator[LocalMirror]:
    """A mirror whose upstream released 1.0.0 to 1.11.0, and whose SBOM generator is one of this machine."""
    with mirror(tmp_path) as made:
        made.released(*VERSIONS)
        made.write("mirror", more=f"sbom-generator: {base_images.scanner}\n")
        yield made


def on_record(m: LocalMirror, tags: dict[str, Built]) -> None:
    """A record that knows these digests as published."""
    known = {
        tag: RecordedTag(
            digest=of.digest,
            media_type=of.media_type,
            size=of.size,
            platforms={},
            ref=f"v{tag}",
            commit=m.commit(tag),
            recipe="sha256:recipe",
            published="2026-01-01T00:00:00Z",
        )
        for tag, of in tags.items()
    }
    image = f"{m.registry.host}/{m.name()}"
    Records(m.state).update("hello", lambda _: Record("hello", {image: ImageRecord(tags=known)}))


def set_up(m: LocalMirror) -> dict[str, Built]:
    """Puts one tag into each state; gives what was there."""
    there = {
        "1.0.0": m.publish("1.0.0"),
        "1.2.0": m.publish("1.2.0", platforms=[AMD64]),
        "1.3.0": m.publish("1.3.0", lacks=[Kind.SBOM]),
        "1.4.0": m.publish("1.4.0"),
        "1.5.0": m.publish("1.5.0"),
        "1.6.0": m.foreign("1.6.0"),
        "1.7.0": m.foreign("1.7.0", text="worth keeping"),
        "1.8.0": m.publish("1.8.0", lacks=[Kind.MIRROR], bare=True),
        "1.9.0": m.publish("1.0.0", tag="1.9.0"),
    }
    on_record(m, {tag: there[tag] for tag in ("1.4.0", "1.5.0")})
    m.registry.store.untag(m.name(), "1.4.0")
    there["over 1.5.0"] = m.foreign("1.5.0", text="pushed over")
    m.point("latest", there["1.0.0"].digest)
    for version in VERSIONS[:-1]:
        m.upstream.file(f"hello-{version}", b"ready")
    m.write(
        "hello",
        APP.format(
            git=m.upstream.git_url("acme/hello"), files=f"{m.upstream.url}/files", adopted=there["1.7.0"].digest
        ),
    )
    m.registry.faults.add(Fault(reply_error(404, "UNSUPPORTED", "not now"), on(reference="1.10.0"), times=None))
    return there


CHANGES = [
    ("~", "rebuild", "1.9.0", "our own digest of 1.0.0 under the tag of 1.9.0; replaces "),
    ("*", "adopt", "1.7.0", "the desired state adopts "),
    ("~", "rebuild", "1.6.0", "not provably ours; replaces "),
    ("~", "restore", "1.5.0", "not provably ours; the recorded "),
    ("~", "restore", "1.4.0", "the tag is gone; the recorded "),
    ("*", "attest", "1.3.0", "lacks sbom for linux/amd64, linux/arm64"),
    ("~", "add platforms", "1.2.0", "lacks linux/arm64"),
    ("+", "publish", "1.1.0", "no such tag"),
    (">", "move pointer", "latest", "1.9.0 is the highest complete version; it names 1.0.0"),
]
HELD = [
    ("waiting", "1.11.0", "upstream isn't ready for linux/amd64"),
    ("unknown", "1.10.0", "answers 404 without saying that it doesn't know it"),
    ("blocked", "1.8.0", "write `adopt: {"),
]


def images(m: LocalMirror, tag: str) -> dict[str, str]:
    """Digest by architecture of what a tag names."""
    manifest = m.registry.store.manifest(m.name(), tag)
    assert manifest is not None
    entries = json.loads(manifest.data)["manifests"]
    return {e["platform"]["architecture"]: e["digest"] for e in entries if e["platform"]["os"] == "linux"}


def test_the_plan_is_what_happens(m: LocalMirror, builder: Builder, tools: Tools, tmp_path: Path) -> None:
    """Each tag gets the one change that its state asks for, with the reason; what is held back stays as it is."""
    there = set_up(m)
    key = tmp_path / "key"
    key.write_text(m.key.cosign_pem(""))
    env = {
        "PATH": f"{builder.docker.parent}{os.pathsep}{tools.search_path}",
        "DOCKER_CONFIG": str(builder.docker_config),
    }

    status, out, err = m.run("plan", "--format=json")
    plan = json.loads(out)
    assert (status, err) == (1, "")
    changes = [(c["symbol"], c["word"], c["target"].rpartition(":")[2], c["reason"]) for c in plan["changes"]]
    for found, expected in zip(changes, CHANGES, strict=True):
        assert found[:3] == expected[:3]
        assert found[3].startswith(expected[3])
    for item, (state, tag, reason) in zip(plan["held"], HELD, strict=True):
        assert (item["state"], item["target"].rpartition(":")[2]) == (state, tag)
        assert reason in item["reason"]

    status, out, err = m.run(
        "apply", "--format=json", f"--builder={builder.name}", f"--key={key}", f"--expect-plan={plan['hash']}", env=env
    )
    report = json.loads(out)
    assert status == 1, err
    assert [result["state"] for result in report["results"]] == ["done"] * len(CHANGES), err

    now = m.registry.store.tags(m.name())
    for same in ("1.0.0", "1.3.0", "1.4.0", "1.5.0", "1.7.0", "1.8.0"):
        assert now[same] == there[same].digest
    assert now["1.6.0"] != there["1.6.0"].digest
    assert now["1.9.0"] == now["latest"] != there["1.0.0"].digest
    assert images(m, "1.2.0")["amd64"] == m.platform_digest(there["1.2.0"], "amd64")
    assert set(images(m, "1.2.0")) == set(images(m, "1.1.0")) == {"amd64", "arm64"}
    assert "1.11.0" not in now

    status, out, err = m.run("plan", "--format=json", "--fresh")
    again = json.loads(out)
    assert again["changes"] == []
    assert [item["state"] for item in again["held"]] == ["waiting", "unknown", "blocked"]
    replaced = Records(m.state).load("hello").images[f"{m.registry.host}/{m.name()}"].tags["1.6.0"].replaced
    assert [old.digest for old in replaced] == [there["1.6.0"].digest]
