"""What the demo writes is what a person would write, and it loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.desired.loader import load
from reconciler.desired.schema.mirror import SBOM_GENERATOR
from reconciler.desired.state import in_order
from reconciler.local.demo import desired
from reconciler.local.demo.desired import IDENTITY, Place
from reconciler.local.images import PLATFORMS
from reconciler.model.evidence import Kind
from reconciler.model.signing import Identity

PLACE = Place("127.0.0.1:5000", "http://127.0.0.1:3000", PLATFORMS, f"127.0.0.1:5000/base/scanner@sha256:{'1' * 64}")


def write(folder: Path, place: Place) -> Path:
    """The desired folder of a demo with a signer that nobody asks."""
    (folder / "trusted_root.json").write_text("{}")
    (folder / "signing_config.json").write_text("{}")
    desired.write(folder / "desired", place, (folder / "trusted_root.json", folder / "signing_config.json"))
    return folder / "desired"


def test_it_loads_and_says_what_the_demo_shows(tmp_path: Path) -> None:
    """Two platforms, all evidence, three releases, one image built on the other, keyless with a trusted root."""
    state = load(write(tmp_path, PLACE), allow_local=True)
    app = state.app("hello")
    assert state.platforms(app) == PLATFORMS
    assert state.evidence(app) == frozenset(Kind)
    assert state.window(app).count == desired.WINDOW
    assert in_order(app) == ("hello", "greeter")
    (signer,) = state.signing.policy.accept
    assert isinstance(signer, Identity)
    assert signer.identity == IDENTITY
    assert state.signing.policy.trusted_root == "{}"
    assert state.mirror.sbom_generator == PLACE.scanner


def test_without_a_generator_of_its_own_it_uses_the_default(tmp_path: Path) -> None:
    """Where no base image is made, reconcile's own default generator is used."""
    state = load(write(tmp_path, replace(PLACE, scanner="")), allow_local=True)
    assert state.mirror.sbom_generator == SBOM_GENERATOR
