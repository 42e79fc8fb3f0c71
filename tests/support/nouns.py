"""Nouns with sensible defaults: a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Evidence, Finding, Kind, Missing, Proven
from reconciler.model.observed import Child, Present
from reconciler.model.platform import Platform
from reconciler.model.recipe import GitSource, Recipe
from reconciler.model.record import RecordedTag
from reconciler.model.reference import Repository, TagRef
from reconciler.model.release import Release
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted, WantedPointer

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")
ARMV7 = Platform.parse("linux/arm/v7")
HELLO = Repository.parse("registry.example/mirror/hello")
COMMIT = "c0ffee" + "0" * 34
EVERY_KIND = frozenset(Kind)
US = "us"
NOW = "2026-01-02T03:04:05Z"


def digest(text: str) -> Digest:
    """A digest that differs for different texts."""
    return Digest.of(text.encode())


def child(text: str) -> Child:
    """An image manifest."""
    return Child(digest(text), "application/vnd.oci.image.manifest.v1+json", 500)


def wanted(version: str = "1.2.0", **fields: Any) -> Wanted:
    """A wanted tag of `hello` for two platforms with all four kinds of evidence."""
    repository = fields.pop("repository", HELLO)
    release = Release(Version.parse(version), f"v{version}", COMMIT, "2026-01-01T00:00:00Z")
    whole = Wanted(
        app="hello",
        image="hello",
        target=repository.tag(version),
        release=release,
        platforms=(AMD64, ARM64),
        evidence=EVERY_KIND,
        recipe=Recipe(GitSource("https://git.example/hello.git", f"v{version}", COMMIT)),
    )
    return replace(whole, **fields)


def evidence(
    *, lacks: Mapping[Kind, Finding] | None = None, by: str = US, binding: Binding | None = None, **fields: Any
) -> Evidence:
    """Evidence with every kind proven but for those in `lacks`."""
    proven = {kind: Proven(by, NOW, digest(kind)) for kind in Kind}
    return Evidence(findings={**proven, **(lacks or {})}, authority=by, binding=binding, **fields)


def nothing(**fields: Any) -> Evidence:
    """Evidence of a digest that nobody signed."""
    return Evidence(findings={kind: Missing() for kind in Kind}, **fields)


def bound(of: Wanted, **fields: Any) -> Binding:
    """The statement that `of` is what it should be."""
    says = Binding(str(of.target.repository), str(of.release.version), of.recipe.hash, COMMIT)
    return replace(says, **fields)


def present(of: Wanted, *, platforms: Iterable[Platform] | None = None, **fields: Any) -> Present:
    """`of` as it should be there: all platforms, all proofs, bound to its version."""
    there = tuple(of.platforms if platforms is None else platforms)
    whole = Present(
        digest=digest(f"index of {of.target} for {there}"),
        media_type="application/vnd.oci.image.index.v1+json",
        size=1000,
        platforms={p: child(f"{of.target} {p}") for p in there},
        evidence=evidence(binding=bound(of)),
    )
    return replace(whole, **fields)


def recorded(tag: Present, of: Wanted, **fields: Any) -> RecordedTag:
    """The record of `tag` as seen complete."""
    whole = RecordedTag(
        digest=tag.digest,
        media_type=tag.media_type,
        size=tag.size,
        platforms={p: c.digest for p, c in tag.platforms.items()},
        ref=of.release.tag,
        commit=COMMIT,
        recipe=of.recipe.hash,
        published=NOW,
        proofs={k: f for k, f in tag.evidence.findings.items() if isinstance(f, Proven)},
        binding=tag.evidence.binding,
        authority=tag.evidence.authority,
    )
    return replace(whole, **fields)


def pointer(*versions: str, name: str = "latest", repository: Repository = HELLO, **fields: Any) -> WantedPointer:
    """A pointer whose candidates are `versions`, the highest first."""
    candidates = tuple(sorted(map(Version.parse, versions), reverse=True))
    return replace(WantedPointer("hello", "hello", TagRef(repository, name), candidates), **fields)
