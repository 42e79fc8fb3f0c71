"""What a Dockerfile is built on."""

from __future__ import annotations

import pytest

from reconciler.apply.dockerfile import Needed, check_bases, images
from reconciler.errors import BuildError
from reconciler.model.recipe import FolderSource, Recipe
from reconciler.model.reference import Repository

PIN = "@sha256:" + "a" * 64
BASE = Repository.parse("registry.example/mirror/base").tag("1.0.0")


def names(text: str, **args: str) -> list[str]:
    """The images that it is built on."""
    return [one.name for one in images(text, args)]


def test_reads_names_as_buildkit_does() -> None:
    """ARG before the first FROM, defaults, stages in any case, flags, mounts, continued lines and comments."""
    text = f"""\
# syntax=docker/dockerfile:1
ARG BASE=example/base
ARG VERSION=1 TAG="v$VERSION"
FROM ${{BASE}} AS Base
ARG BASE=not/this
FROM --platform=linux/amd64 debian:12{PIN} as build
COPY --chown=1:1 --from=base /a /b
COPY --from=tools.example:5000/cc:${{TAG}} /c /d
COPY --from=0 /e /f
RUN --mount=type=cache,target=/x --mount=type=bind,from=build,source=/y,target=/z \\
# a comment in the middle
    --mount=from=other/mounted,target=/m true
FROM ${{NOTHING:-scratch}}
FROM base
from debian:12{PIN}
"""
    found = ["example/base", f"debian:12{PIN}", "tools.example:5000/cc:v1", "other/mounted"]
    assert names(text) == found
    assert names(text, BASE="mine", VERSION="2", TAG="x")[0::2] == ["mine", "tools.example:5000/cc:x"]


def test_a_name_with_and_without_its_tag() -> None:
    """A port is no tag."""
    assert Needed("", f"host:5000/a/b:1{PIN}").bare == "host:5000/a/b"
    assert Needed("", f"a{PIN}").pinned
    assert not Needed("", "a:1").pinned


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("FROM example/base\n", True),
        ("FROM example/base:latest AS b\n", True),
        ("ARG B=example/base\nFROM ${B}\n", True),
        ("FROM x\nCOPY --from=example/base / /\n", True),
        ("FROM $(curl example/base)\n", True),
        ("FROM other/base\nFROM node:20\n", False),
    ],
)
def test_a_base_that_the_dockerfile_no_longer_names_is_a_mistake(text: str, fits: bool) -> None:
    """buildx would ignore the named context, and the image would stand on something that we didn't build."""
    recipe = Recipe(FolderSource("x", "sha256:0"), bases=(("example/base", BASE),))
    if fits:
        check_bases(recipe, text, "app:1.0.0")
        return
    with pytest.raises(BuildError, match=r"isn't built on example/base.*it names other/base, node:20") as caught:
        check_bases(recipe, text, "app:1.0.0")
    assert caught.value.where == "app:1.0.0"
