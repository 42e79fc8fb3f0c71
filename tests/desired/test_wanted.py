"""Tags and pointers that should exist, and what must be asked before."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.loader import load
from reconciler.desired.wanted import Probe, probes, sources, wanted
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import Checksum, Edit, FolderSource, GitSource, Smoke
from reconciler.model.release import Release
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Waiting, WantedPointer
from tests.desired.folder import APP, MIRROR, one, releases, write

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
DIGEST = "sha256:" + "a" * 64

FULL = f"""\
app: app
title: The App
description: Does things
licenses: MIT
url: https://app.example.org
upstream: {{github: me/app, tag: "v{{version}}"}}
window: 2
platforms: [linux/arm64, linux/amd64]
evidence: [signature, sbom]
on-recipe-change: rebuild
create: [base]
images:
  app:
    source: {{git: "https://example.org/other.git", ref: "release-{{version}}", submodules: true}}
    context: build
    target: runner
    unpin: true
    edits:
      - {{file: build/Dockerfile, regex: "^a$", replace: b, count: 2}}
      - {{file: build/x, find: c, replace: ""}}
    bases: {{example/base: base}}
    args: {{URL: "https://example.org/{{version}}/{{arch}}", MAJOR: "{{major}}"}}
    labels: {{a.b: "{{tag}} on {{platform}}"}}
    annotations: {{org.opencontainers.image.title: "App {{minor}}"}}
    requires: ["https://example.org/{{version}}/{{arch}}"]
    checksums:
      - {{url: "https://example.org/{{version}}/{{arch}}", at: "https://example.org/{{version}}/sums"}}
      - url: https://example.org/{{version}}-{{arch}}
        known: {{"https://example.org/2.0.0-amd64": {"b" * 64}}}
    smoke: {{command: [app, "--version"], status: 3, output: "app {{version}} {{arch}}"}}
    cache: gha
    adopt: {{2.0.0: "{DIGEST}"}}
  base: {{}}
"""


def test_a_wanted_tag_says_all_that_apply_needs(tmp_path: Path) -> None:
    """Every key of the desired file arrives in it, filled in for the release; platforms are left for later."""
    desired, app = one(tmp_path, FULL, MIRROR + "vendor: me\n")
    source = ("https://example.org/other.git", "release-2.0.0")
    tag = next(t for t in wanted(desired, app, releases("2.0.0"), {source: "d" * 40}).tags if t.image == "app")
    assert str(tag.target) == "ghcr.io/me/mirror/app:2.0.0"
    assert tag.platforms == (AMD64, ARM64)
    assert tag.evidence == {Kind.SIGNATURE, Kind.SBOM}
    assert [str(need) for need in tag.needs] == ["ghcr.io/me/mirror/base:2.0.0"]
    assert (tag.adopt, tag.hindrance, tag.on_recipe_change, tag.create) == (
        Digest.parse(DIGEST),
        None,
        "rebuild",
        False,
    )
    recipe = tag.recipe
    assert recipe.source == GitSource(*source, "d" * 40, submodules=True)
    assert (recipe.context, recipe.dockerfile, recipe.target, recipe.unpin) == (
        "build",
        "build/Dockerfile",
        "runner",
        True,
    )
    assert recipe.edits == (Edit("build/Dockerfile", "^a$", "b", True, 2), Edit("build/x", "c", ""))
    assert recipe.bases == (("example/base", tag.needs[0]),)
    assert recipe.args == (("MAJOR", "2"), ("URL", "https://example.org/2.0.0/{arch}"))
    assert dict(recipe.labels) == {
        "a.b": "v2.0.0 on {platform}",
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
        "org.opencontainers.image.description": "Does things",
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.revision": "d" * 40,
        "org.opencontainers.image.source": "https://github.com/me/mirror",
        "org.opencontainers.image.title": "The App",
        "org.opencontainers.image.url": "https://app.example.org",
        "org.opencontainers.image.vendor": "me",
        "org.opencontainers.image.version": "2.0.0",
    }
    annotations = dict(recipe.annotations)
    assert annotations["org.opencontainers.image.title"] == "App 2.0"
    assert {k: v for k, v in annotations.items() if k.startswith("io.github")} == {
        "io.github.this-is-tobi.multiarch-mirror.repository": "ghcr.io/me/mirror/app",
        "io.github.this-is-tobi.multiarch-mirror.upstream": "https://github.com/me/app",
        "io.github.this-is-tobi.multiarch-mirror.version": "2.0.0",
    }
    assert list(recipe.labels) == sorted(recipe.labels)
    assert recipe.checksums == (
        Checksum("https://example.org/2.0.0/{arch}", at="https://example.org/2.0.0/sums"),
        Checksum("https://example.org/2.0.0-amd64", "b" * 64),
        Checksum("https://example.org/2.0.0-{arch}"),
    )
    assert recipe.smoke == Smoke(("app", "--version"), 3, "app 2.0.0 {arch}")
    assert (recipe.cache, recipe.created) == ("gha", "2026-01-01T00:00:00Z")


def test_images_come_in_the_order_of_their_needs_highest_release_first(tmp_path: Path) -> None:
    """A base stands before what is built on it, whatever their names."""
    desired, app = one(tmp_path, FULL)
    tags = wanted(desired, app, releases("1.0.0", "2.0.0")).tags
    assert [str(t.target).rpartition("/")[2] for t in tags] == ["base:2.0.0", "app:2.0.0", "base:1.0.0", "app:1.0.0"]
    assert [t.create for t in tags] == [True, False, True, False]


def test_a_source_that_upstream_has_told_needs_no_asking(tmp_path: Path) -> None:
    """Only other repositories, other refs, and releases without a commit are to be resolved."""
    desired, app = one(tmp_path, FULL)
    assert sources(desired, app, releases("2.0.0")) == {("https://example.org/other.git", "release-2.0.0")}
    assert sources(desired, app, releases("2.0.0", commit="")) == {
        ("https://example.org/other.git", "release-2.0.0"),
        ("https://github.com/me/app.git", "v2.0.0"),
    }
    same = APP.replace("{}", "{source: {git: 'https://github.com/me/app', ref: 'v{version}'}}")
    desired, app = one(tmp_path, same)
    assert sources(desired, app, releases("2.0.0")) == frozenset()
    assert sources(desired, app, releases(*[f"{n}.0.0" for n in range(30)], commit="")) == {
        ("https://github.com/me/app", f"v{n}.0.0") for n in range(20, 30)
    }, "only those in the window"


def test_a_ref_that_does_not_exist_blocks_what_is_built_from_it(tmp_path: Path) -> None:
    """The tag is still wanted, and says why it can't be built; the rest isn't blocked."""
    desired, app = one(tmp_path, FULL)
    tags = wanted(desired, app, releases("2.0.0")).tags
    assert [t.hindrance for t in tags] == [
        None,
        Blocked("https://example.org/other.git has no ref release-2.0.0", mistake=True),
    ]


def test_hindrances_are_carried_and_reach_the_window(tmp_path: Path) -> None:
    """A release whose files aren't there is wanted with the reason, and skip-blocked asks about the next."""
    text = APP.replace("{}", "{requires: ['https://example.org/{version}/{arch}']}")
    desired, app = one(tmp_path, text + "window: {count: 1, skip-blocked: true}\n")
    found = releases("3.0.0", "2.0.0", "1.0.0")
    first = probes(desired, app, found)
    assert first == (
        Probe("app", Version.parse("3.0.0"), AMD64, "https://example.org/3.0.0/amd64"),
        Probe("app", Version.parse("3.0.0"), ARM64, "https://example.org/3.0.0/arm64"),
    )
    hindrances = {("app", Version.parse("3.0.0")): Waiting("no arm64 binary yet")}
    second = probes(desired, app, found, hindrances)
    assert [p.url for p in second if p not in first] == [
        "https://example.org/2.0.0/amd64",
        "https://example.org/2.0.0/arm64",
    ]
    result = wanted(desired, app, found, {}, hindrances)
    assert [(t.target.tag, t.hindrance) for t in result.tags] == [
        ("3.0.0", Waiting("no arm64 binary yet")),
        ("2.0.0", None),
    ]
    assert [str(v) for v in result.pointers[0].candidates] == ["3.0.0", "2.0.0"]


def _pointers(folder: Path, text: str, *found: str) -> dict[str, list[str]]:
    desired, app = one(folder, APP + text)
    return {p.target.tag: [str(v) for v in p.candidates] for p in wanted(desired, app, releases(*found)).pointers}


def test_pointers_have_their_candidates_highest_first(tmp_path: Path) -> None:
    """latest: all; major and minor: one tag each with those of its line; ranges: those in them."""
    found = ("10.3.1", "10.3.0", "10.2.0", "9.11.0")
    assert _pointers(tmp_path, "", *found) == {"latest": list(found)}
    assert _pointers(tmp_path, "pointers: [major, minor]\n", *found) == {
        "10": ["10.3.1", "10.3.0", "10.2.0"],
        "10.2": ["10.2.0"],
        "10.3": ["10.3.1", "10.3.0"],
        "9": ["9.11.0"],
        "9.11": ["9.11.0"],
    }
    assert _pointers(tmp_path, "pointers: {esr: '<10.3'}\n", *found) == {
        "esr": ["10.2.0", "9.11.0"],
        "latest": list(found),
    }
    assert _pointers(tmp_path, "pointers: {latest: '<10'}\n", *found) == {"latest": ["9.11.0"]}
    assert _pointers(tmp_path, "pointers: {latest: false}\n", *found) == {}
    assert _pointers(tmp_path, "pointers: []\n", *found) == {}


def test_a_pointer_never_takes_the_tag_of_a_release(tmp_path: Path) -> None:
    """Where upstream has a release 10.3, the tag 10.3 is that release's alone."""
    assert _pointers(tmp_path, "pointers: [minor]\n", "10.3", "10.3.1", "10.2.1") == {"10.2": ["10.2.1"]}


def test_pointers_know_what_is_ruled_out(tmp_path: Path) -> None:
    """Only away from such a version may they go back."""
    app = APP.replace('tag: "v{version}"', 'tag: "v{version}", exclude: [3.0.0]')
    desired, read = one(tmp_path, app)
    pointers = wanted(desired, read, releases("3.0.0", "2.0.0")).pointers
    target = desired.repository("app").tag("latest")
    v2, v3 = Version.parse("2.0.0"), Version.parse("3.0.0")
    assert pointers == (WantedPointer("app", "app", target, (v2,), frozenset({v3}), desired.evidence(read)),)


def test_own_files_are_part_of_the_recipe(tmp_path: Path) -> None:
    """A changed Dockerfile of ours, or a changed file in a folder, is another recipe."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text("FROM scratch\n")
    text = APP.replace("{}", "{own-dockerfile: app/Dockerfile}") + "  other: {source: {folder: app}}\n"
    desired, app = one(tmp_path, text)
    before = wanted(desired, app, releases("1.0.0")).tags
    assert before[0].recipe.own_dockerfile == "FROM scratch\n"
    assert before[1].recipe.source == FolderSource("app", desired.folders["app", "other"])
    (tmp_path / "app/Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    desired, app = one(tmp_path, text)
    after = wanted(desired, app, releases("1.0.0")).tags
    assert all(a.recipe.hash != b.recipe.hash for a, b in zip(after, before, strict=True))


def test_what_only_tests_or_hastens_a_build_leaves_the_recipe_alone(tmp_path: Path) -> None:
    """Another smoke test or cache rebuilds nothing; another argument would."""
    hashes = []
    for image in ("{}", "{cache: gha, smoke: {command: [x]}}", "{args: {A: b}}"):
        desired, app = one(tmp_path, APP.replace("{}", image))
        hashes.append(wanted(desired, app, releases("1.0.0")).tags[0].recipe.hash)
    assert hashes[0] == hashes[1] != hashes[2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_no_order_changes_what_is_wanted(tmp_path: Path, seed: int) -> None:
    """Keys, images, platforms, kinds of evidence and releases in any order give equal results."""
    shuffle = random.Random(seed)
    found = releases("1.0.0", "2.0.0", "3.0.0", "3.0.0-1")
    desired, app = one(tmp_path / "a", FULL)
    expected = wanted(desired, app, found)
    head, images = FULL.split("images:\n")
    lines = head.splitlines(keepends=True)
    shuffle.shuffle(lines)
    app_image, base_image = images.split("  base: {}\n")[0], "  base: {}\n"
    parts = [app_image, base_image]
    shuffle.shuffle(parts)
    text = "".join(lines) + "images:\n" + "".join(parts)
    platforms, kinds = ["linux/arm64", "linux/amd64"], ["signature", "sbom"]
    shuffle.shuffle(platforms)
    shuffle.shuffle(kinds)
    text = text.replace("[linux/arm64, linux/amd64]", f"[{', '.join(platforms)}]")
    text = text.replace("[signature, sbom]", f"[{', '.join(kinds)}]")
    desired, app = one(tmp_path / "b", text)
    assert wanted(desired, app, shuffle.sample(found, len(found))) == expected


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    """Apps come sorted by name, whatever order the folder lists them in."""
    names = ["c", "a", "b"]
    texts = {n: APP.replace("app: app", f"app: {n}").replace("  app: {}", f"  {n}: {{}}") for n in names}
    first = load(write(tmp_path / "x", **texts))
    second = load(write(tmp_path / "y", **dict(reversed(texts.items()))))
    assert [a.app for a in first.apps] == ["a", "b", "c"]
    assert first.apps == second.apps


def test_an_upstream_that_is_an_image_gives_no_commit(tmp_path: Path) -> None:
    """Its release's digest is no commit of the source that is built."""
    text = """\
        app: app
        upstream: {image: docker.io/library/app, tag: "{version}"}
        images: {app: {source: {git: "https://example.org/app.git", ref: "v{version}"}}}
        """
    desired, app = one(tmp_path, text)
    release = Release(Version.parse("1.0.0"), "1.0.0", DIGEST)
    assert sources(desired, app, [release]) == {("https://example.org/app.git", "v1.0.0")}
