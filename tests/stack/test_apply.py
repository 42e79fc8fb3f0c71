"""Apply on the real parts: BuildKit builds, cosign signs, somebody else's registry holds; other tools check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.results import Done
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.tools import Tools
from reconciler.model.evidence import Kind
from tests.stack.mirror import Mirror, Steps
from tests.stack.running import run_tool

New = Callable[..., Mirror]


@pytest.fixture
def new(registry: CncfRegistry, base_images: BaseImages, builder: Builder, tools: Tools, tmp_path: Path) -> New:
    """Makes a mirror of its own on the registry that the tests share."""

    def make(**fields: Any) -> Mirror:
        return Mirror.on(registry.host, base_images, builder, tools, tmp_path, **fields)

    return make


def crane(tools: Tools, *words: object) -> str:
    """What crane says."""
    return run_tool(tools[Tool.CRANE], *words).stdout.strip()


def manifest(tools: Tools, ref: object) -> dict[str, Any]:
    """A manifest, by crane."""
    value: dict[str, Any] = json.loads(crane(tools, "manifest", ref))
    return value


def platforms(tools: Tools, ref: object) -> list[str]:
    """The platforms of an index, attestations left out, by crane."""
    found = [entry["platform"] for entry in manifest(tools, ref)["manifests"]]
    return sorted(f"{p['os']}/{p['architecture']}" for p in found if p["os"] != "unknown")


def verified(tools: Tools, mirror: Mirror, ref: object) -> None:
    """cosign, asked by hand, agrees that all four kinds of evidence are there."""
    key = ["--key", mirror.folder / "key.pub", "--insecure-ignore-tlog=true"]
    run_tool(tools[Tool.COSIGN], "verify", *key, ref)
    for kind in ("spdxjson", "slsaprovenance1", "https://this-is-tobi.github.io/multiarch-mirror/mirror/v2"):
        run_tool(tools[Tool.COSIGN], "verify-attestation", *key, "--type", kind, ref)


async def test_publish_then_nothing(new: New, tools: Tools) -> None:
    """What is missing is built for both platforms, proven, tagged and pointed to; a second plan is empty."""
    mirror = new(versions=("1.0.0", "1.1.0"))
    steps = Steps()
    outcome = await mirror.reconcile(steps)
    assert [type(result) for result in outcome.results] == [Done, Done, Done], outcome
    assert outcome.exit_code == 0
    for version in mirror.versions:
        assert platforms(tools, mirror.tag(version)) == ["linux/amd64", "linux/arm64"]
        verified(tools, mirror, mirror.tag(version))
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.1.0"))
    assert (await mirror.plan()).changes == ()
    assert (await mirror.plan(fresh=True)).changes == ()
    record = mirror.records.load("hello").images[str(mirror.repository())]
    assert not record.pending
    assert record.tags["1.1.0"].proofs.keys() == set(Kind)
