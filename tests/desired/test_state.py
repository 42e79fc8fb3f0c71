"""What holds for each app once defaults and its own file are put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.desired.loader import load
from reconciler.desired.state import in_order
from reconciler.errors import UsageError
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from tests.desired.folder import APP, MIRROR, mistakes, one, write

DEFAULTS = """\
defaults:
  window: 3
  platforms: [linux/riscv64, linux/arm]
  pointers: [latest, major]
  evidence: [signature]
  on-recipe-change: rebuild
  cache: registry
runners: {linux/riscv64: [self-hosted, riscv64], linux/arm64: big-arm}
"""


def test_an_app_that_says_nothing_has_the_mirrors_defaults(tmp_path: Path) -> None:
    """Every default reaches it."""
    desired, app = one(tmp_path, APP, MIRROR + DEFAULTS)
    assert desired.window(app).count == 3
    assert desired.platforms(app) == (Platform("linux", "arm", "v7"), Platform("linux", "riscv64"))
    assert desired.evidence(app) == {Kind.SIGNATURE}
    assert desired.on_recipe_change(app) == "rebuild"
    assert desired.cache(app.images["app"]) == "registry"
    pointers = desired.pointers(app, app.images["app"])
    assert (pointers.latest, pointers.major, pointers.minor, pointers.ranges) == (True, True, False, ())


def test_a_list_of_pointers_replaces_and_a_mapping_adds(tmp_path: Path) -> None:
    """The image's stand over the app's, the app's over the defaults."""
    app_text = APP.replace("{}", "{pointers: {major: false, stable: '<9'}}\n  other: {pointers: [minor]}")
    desired, app = one(tmp_path, app_text + "pointers: {esr: '>=1'}\n", MIRROR + DEFAULTS)
    first = desired.pointers(app, app.images["app"])
    assert (first.latest, first.major, [name for name, _ in first.ranges]) == (True, False, ["esr", "stable"])
    second = desired.pointers(app, app.images["other"])
    assert (second.latest, second.major, second.minor, second.ranges) == (False, False, True, ())


def test_runners_are_named_or_githubs_own(tmp_path: Path) -> None:
    """arm64 builds natively unless the file names another; a platform without one is emulated on amd64's."""
    desired, _ = one(tmp_path / "a", APP, MIRROR + DEFAULTS)
    assert desired.runner(Platform.parse("linux/riscv64")) == ("self-hosted", "riscv64")
    assert desired.runner(Platform.parse("linux/arm64")) == ("big-arm",)
    assert desired.runner(Platform.parse("linux/amd64")) == ("ubuntu-24.04",)
    desired, _ = one(tmp_path / "b")
    assert desired.runner(Platform.parse("linux/arm64")) == ("ubuntu-24.04-arm",)
    assert desired.runner(Platform.parse("linux/s390x")) == ("ubuntu-24.04",)


def test_an_unknown_app_is_a_matter_of_usage(tmp_path: Path) -> None:
    """The nearest one is named."""
    desired, _ = one(tmp_path)
    with pytest.raises(UsageError, match="no app is called 'apq'") as caught:
        desired.app("apq")
    assert caught.value.todo == "did you mean app?"


def test_images_are_ordered_by_need_then_by_name(tmp_path: Path) -> None:
    """a needs c, c needs d; b needs nothing."""
    images = "{bases: {x: c}}\n  b: {}\n  c: {bases: {x: d}}\n  d: {}"
    _, app = one(tmp_path, APP.replace("{}", images))
    assert in_order(app) == ("d", "c", "app", "b")


def test_mistakes_in_mirror_yaml_say_what_to_write(tmp_path: Path) -> None:
    """One per line, each at its place."""
    text = """\
        registry: https://ghcr.io
        namespace: Me/mirror
        source: https://github.com/me/mirror
        defaults: {window: 2000, cache: disk, evidence: [signature, signature]}
        signing:
          keyless: {issuer: "https://i.example"}
          accept:
            - {issuer: "https://i.example"}
            - {public: a.pub, identity: b}
          layouts: [legacy]
          trusted-root: root.json
        sbom-generator: docker/buildkit-syft-scanner:stable-1
        plain-http: "yes"
        runners: {linux/amd64: "a b"}
        """
    assert mistakes(write(tmp_path, mirror=text)) == [
        (
            "mirror.yaml:1:11: $.registry: 'https://ghcr.io' is no registry "
            "(write its host, with a port where it has one, like ghcr.io)"
        ),
        (
            "mirror.yaml:2:12: $.namespace: 'Me/mirror' is no repository name: lower-case letters, digits, and . _ - / "
            "between them (write where images go, like owner/mirror)"
        ),
        "mirror.yaml:4:20: $.defaults.window: it must be at most 1000 (write how many releases to keep, like 10)",
        "mirror.yaml:4:33: $.defaults.cache: 'disk' is none of registry, gha, local (write registry, gha or local)",
        "mirror.yaml:4:49: $.defaults.evidence: 'signature' is here twice (keep one of them)",
        (
            "mirror.yaml:6:12: $.signing.keyless: one of identity, identity-regex is missing "
            "(write exactly one of identity, identity-regex)"
        ),
        (
            "mirror.yaml:8:7: $.signing.accept[0]: one of identity, identity-regex is missing "
            "(write exactly one of identity, identity-regex)"
        ),
        (
            "mirror.yaml:9:7: $.signing.accept[1]: a public key has no identity "
            "(remove identity, or write the issuer instead of public)"
        ),
        (
            "mirror.yaml:12:17: $.sbom-generator: 'docker/buildkit-syft-scanner:stable-1' is no image pinned by digest "
            "(write it like docker/buildkit-syft-scanner:stable-1@sha256:…)"
        ),
        "mirror.yaml:13:13: $.plain-http: this is text, not true or false (write true only for a registry without TLS)",
        (
            "mirror.yaml:14:24: $.runners['linux/amd64']: this names no runner "
            "(write its label or a list of labels, like ubuntu-24.04-arm)"
        ),
    ]


def test_names_that_are_too_long_together_are_told(tmp_path: Path) -> None:
    """Registry, namespace and image make one name of at most 255 characters."""
    long = "a" * 250
    write(tmp_path, app=APP.replace("  app: {}", f"  {long}: {{}}"))
    assert [line.split("]: ")[1] for line in mistakes(tmp_path)] == [
        "registry, namespace and this name are longer than 255 characters together (give it a shorter name)"
    ]


def test_files_beside_mirror_yaml_must_be_what_they_are_named_for(tmp_path: Path) -> None:
    """A trusted root is JSON, a public key is PEM."""
    (tmp_path / "root.json").write_text("[")
    (tmp_path / "a.pub").write_text("ssh-rsa AAAA")
    write(
        tmp_path,
        mirror=MIRROR + "  trusted-root: root.json\n  signing-config: gone.json\n  accept: [{public: a.pub}]\n",
    )
    assert mistakes(tmp_path) == [
        "mirror.yaml:8:17: $.signing.trusted-root: this can't be used: it is no JSON (write what cosign makes)",
        "mirror.yaml:9:19: $.signing.signing-config: this can't be used: it isn't there (check the name)",
        (
            "mirror.yaml:10:21: $.signing.accept[0].public: this can't be used: it holds no public key "
            "(write what cosign public-key prints)"
        ),
    ]


def test_hundreds_of_apps_load_together(tmp_path: Path) -> None:
    """Each with a base in the one before it."""
    texts = {
        f"a{n}": f"app: a{n}\nupstream: {{github: a/b, tag: 'v{{version}}'}}\n"
        f"images: {{i{n}: {{bases: {{x: i{max(n - 1, 0)}}}}}}}\n"
        for n in range(1, 300)
    }
    texts["a0"] = "app: a0\nupstream: {github: a/b, tag: 'v{version}'}\nimages: {i0: {}}\n"
    assert len(load(write(tmp_path, **texts)).apps) == 300
