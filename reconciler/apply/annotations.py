"""What an image and its index say of themselves: the recipe's annotations and ours, which win."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.evidence import (
    ANNOTATION_RECIPE,
    ANNOTATION_REPOSITORY,
    ANNOTATION_VERSION,
)
from reconciler.model.recipe import GitSource, Recipe
from reconciler.model.reference import DigestRef
from reconciler.model.wanted import Wanted

_OCI = "org.opencontainers.image."


def annotations_of(wanted: Wanted, bases: Mapping[str, DigestRef]) -> dict[str, str]:
    """The annotations of one version, the same on each image and the index, sorted (image-spec annotations.md).

    The recipe says what the image is; what can't stand in a recipe is added: its own hash, and the base's digest. Once
    the index is signed, those in our namespace bind it to repository and version (rule 5).
    """
    recipe = wanted.recipe
    base_name, base = _base(recipe, bases)
    ours = {
        f"{_OCI}base.name": base_name,
        f"{_OCI}base.digest": str(base.digest) if base else "",
        ANNOTATION_REPOSITORY: str(wanted.target.repository),
        ANNOTATION_VERSION: str(wanted.release.version),
        ANNOTATION_RECIPE: recipe.hash,
    }
    return dict(sorted({**dict(recipe.annotations), **{key: value for key, value in ours.items() if value}}.items()))


def _base(recipe: Recipe, bases: Mapping[str, DigestRef]) -> tuple[str, DigestRef | None]:
    for name, tag in recipe.bases:
        if name in bases:
            return str(tag), bases[name]
    return "", None


def commit_of(wanted: Wanted) -> str:
    """The commit that was built: the source's, or else the one that the release's tag names; empty where neither is."""
    source = wanted.recipe.source
    return source.commit if isinstance(source, GitSource) else wanted.release.commit


def upstream_of(wanted: Wanted) -> str:
    """Where the source comes from: a git URL, or the folder beside the desired file."""
    source = wanted.recipe.source
    return source.url if isinstance(source, GitSource) else f"folder:{source.path}"


def ref_of(wanted: Wanted) -> str:
    """The ref that was built, or the release's tag where the source is a folder."""
    source = wanted.recipe.source
    return source.ref if isinstance(source, GitSource) else wanted.release.tag
