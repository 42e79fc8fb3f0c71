"""The desired files that this repository ships."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.desired.loader import load
from reconciler.desired.wanted import probes, wanted
from reconciler.model.evidence import Kind
from reconciler.model.recipe import Checksum, GitSource
from reconciler.model.release import Release
from reconciler.model.signing import Identity
from reconciler.model.version import Version
from tests.desired.folder import DATA, mattermost, outline

DESIRED = load(Path(__file__).parents[2] / "desired")
GITHUB = "https://token.actions.githubusercontent.com"
HERE = "https://github.com/this-is-tobi/multiarch-mirror"


def test_the_mirror_signs_as_its_workflow_and_accepts_what_was_signed_before() -> None:
    """So that moving to reconcile rebuilds nothing."""
    assert DESIRED.signing.policy.accept == (
        Identity(GITHUB, f"{HERE}/.github/workflows/apply.yml@refs/heads/main", source_repository=HERE),
        Identity(
            GITHUB,
            "https://github.com/this-is-tobi/github-workflows/.github/workflows/attest-docker.yml@refs/tags/v0",
            source_repository=HERE,
        ),
    )
    assert str(DESIRED.repository("mattermost")) == "ghcr.io/this-is-tobi/mirror/mattermost"
    assert [app.app for app in DESIRED.apps] == ["mattermost", "mostlymatter", "outline"]
    assert all(DESIRED.evidence(app) == frozenset(Kind) for app in DESIRED.apps)


def test_outline_builds_its_base_first_at_the_same_tag() -> None:
    """The base's digest takes the place of the name in FROM, which both forms of the Dockerfile use."""
    base, top = wanted(DESIRED, DESIRED.app("outline"), outline()).tags[:2]
    assert str(base.target) == "ghcr.io/this-is-tobi/mirror/base-outline:1.9.2"
    assert base.recipe.dockerfile == "Dockerfile.base"
    assert top.recipe.dockerfile == "Dockerfile"
    assert top.recipe.bases == (("outlinewiki/outline-base", base.target),)
    assert top.needs == (base.target,)
    commit = "eb81071c7365a8358f9c6dbb99716410821dad4d"
    assert (
        base.recipe.source == top.recipe.source == GitSource("https://github.com/outline/outline.git", "v1.9.2", commit)
    )


def test_mattermost_has_latest_and_its_extended_line() -> None:
    """esr is the highest of 11.7."""
    result = wanted(DESIRED, DESIRED.app("mattermost"), mattermost())
    pointers = {p.target.tag: str(p.candidates[0]) for p in result.pointers}
    assert pointers == {"esr": "11.7.9", "latest": "11.10.0"}
    recipe = result.tags[0].recipe
    assert (recipe.context, recipe.dockerfile, recipe.unpin) == ("server/build", "server/build/Dockerfile", True)
    assert dict(recipe.args)["MM_PACKAGE"] == (
        "https://releases.mattermost.com/11.10.0/mattermost-11.10.0-linux-{arch}.tar.gz?src=docker"
    )


def test_mattermost_knows_what_its_archive_says() -> None:
    """The sums in the desired file are upstream's, for the highest releases of the lines that it keeps."""
    archive = json.loads((DATA / "mattermost-releases.json").read_text(encoding="utf-8"))["releases"]
    sums = {release["file"]: release["sha256"] for release in archive}
    known = DESIRED.app("mattermost").images["mattermost"].checksums[0].known
    assert len(known) == 4
    assert known == {url: sums[url] for url in known}
    tag = wanted(DESIRED, DESIRED.app("mattermost"), mattermost()).tags[0]
    url = "https://releases.mattermost.com/11.10.0/mattermost-11.10.0-linux-{arch}.tar.gz"
    exact = url.replace("{arch}", "amd64")
    assert tag.recipe.checksums == (Checksum(exact, sums[exact]), Checksum(url))


def test_mostlymatter_waits_for_both_of_its_files_per_platform() -> None:
    """Tarball and binary are published by others than the tag."""
    app = DESIRED.app("mostlymatter")
    version = app.upstream.tag.version("v11.7.1-limitless")
    assert version == Version.parse("11.7.1")
    release = Release(Version.parse("11.7.1"), "v11.7.1-limitless", "c" * 40)
    assert [probe.url for probe in probes(DESIRED, app, [release])] == [
        "https://packages.framasoft.org/projects/mostlymatter/mostlymatter-amd64-v11.7.1",
        "https://packages.framasoft.org/projects/mostlymatter/mostlymatter-arm64-v11.7.1",
        "https://releases.mattermost.com/11.7.1/mattermost-11.7.1-linux-amd64.tar.gz",
        "https://releases.mattermost.com/11.7.1/mattermost-11.7.1-linux-arm64.tar.gz",
    ]
    tag = wanted(DESIRED, app, [release]).tags[0]
    assert str(tag.target) == "ghcr.io/this-is-tobi/mirror/mostlymatter:11.7.1"
    assert tag.recipe.source == GitSource(
        "https://framagit.org/framasoft/framateam/mostlymatter.git", "v11.7.1-limitless", "c" * 40
    )
