"""`<app>.yaml`: an upstream, and the images that are built from each of its releases."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from reconciler.desired.ranges import Exclusion, Range, TagPattern
from reconciler.desired.schema.base import Count, Entry, Line, Wrong, known_placeholders, nearest, raise_all, unique
from reconciler.desired.schema.image import Image
from reconciler.desired.schema.mirror import EvidenceKinds, OnRecipeChange, Platforms
from reconciler.desired.schema.places import GitHubRepository, GitLabProject, GitUrl, Url
from reconciler.desired.schema.pointers import PointersField
from reconciler.model.reference import Repository, check_name

_APP = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)


def _app_name(text: str) -> str:
    if not _APP.fullmatch(text) or len(text) > 100:
        raise Wrong(f"{text[:80]!r} is no name of an app", "lower-case letters and digits, with . _ or - between them")
    return text


def _counted(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"count": value}
    if not isinstance(value, dict):
        raise Wrong("this is neither a whole number nor a mapping")
    return value


def _only_version(value: Any) -> Any:
    return known_placeholders(("version",))(value) if isinstance(value, str) else value


class Upstream(Entry):
    """Where releases come from, how their tags are spelled, and which of them count."""

    one_of = ("github", "gitlab", "git", "image")

    github: GitHubRepository | None = Field(None, description="write owner/repository")
    gitlab: GitLabProject | None = Field(None, description="write host/group/project")
    git: GitUrl | None = Field(None, description="write the https URL of a git repository")
    image: Repository | None = Field(None, description="write registry/name")
    tag: Annotated[TagPattern, BeforeValidator(_only_version)] = Field(
        description="write how upstream spells its tags, like v{version}"
    )
    versions: Range | None = Field(None, description='write a range in quotes, like ">=10.5"')
    exclude: Annotated[tuple[Exclusion, ...], AfterValidator(unique)] = Field(
        (), description='write a list of versions or ranges in quotes, like ["10.3.2"]'
    )

    @property
    def kind(self) -> str:
        """`github`, `gitlab`, `git` or `image`."""
        return next(kind for kind in self.one_of if getattr(self, kind) is not None)

    @property
    def url(self) -> str:
        """Where people look at it."""
        if self.github is not None:
            return f"https://github.com/{self.github}"
        return self.gitlab or (self.git or "").removesuffix(".git") or f"https://{self.image}"

    @property
    def git_url(self) -> str:
        """The git repository with its releases; empty for an image."""
        if self.git is not None:
            return self.git
        return "" if self.image is not None else f"{self.url}.git"

    @property
    def host(self) -> str:
        """The host (and port) that is asked; an environment variable with its token belongs to it."""
        return self.image.registry if self.image is not None else self.url.split("/")[2]


class Window(Entry):
    """How many releases are kept. `skip_blocked`: those that upstream hasn't finished don't count."""

    count: Count = Field(description="write how many releases to keep, like 10")
    skip_blocked: bool = Field(False, description="write true to reach further back for releases that can be built")


class App(Entry):
    """The whole of one app's file."""

    app: Annotated[str, AfterValidator(_app_name)] = Field(description="write the name of this file without .yaml")
    title: Line | None = Field(None, description="write the app's name")
    description: Line | None = Field(None, description="write in one line what it is")
    licenses: Line | None = Field(None, description="write an SPDX expression, like Apache-2.0")
    url: Url | None = Field(None, description="write the app's home page")
    upstream: Upstream = Field(
        description="write where releases come from, like {github: owner/repository, tag: v{version}}"
    )
    window: Annotated[Window, BeforeValidator(_counted)] | None = Field(
        None, description="write a number, or {count: 10, skip-blocked: true}"
    )
    platforms: Platforms | None = Field(None, description="write a list, like [linux/amd64, linux/arm64]")
    pointers: PointersField | None = Field(None, description='write [latest, major], or {esr: ">=11.7,<11.8"}')
    evidence: EvidenceKinds | None = Field(None, description="write a list, like [signature, sbom]")
    on_recipe_change: OnRecipeChange | None = Field(None, description="write report or rebuild")
    create: Annotated[tuple[str, ...], AfterValidator(unique)] = Field(
        (), description="write a list of images that may be new in the registry"
    )
    images: Annotated[dict[Annotated[str, AfterValidator(check_name)], Image], Field(min_length=1, max_length=50)] = (
        Field(description="write at least one image: its name and what it is built from")
    )

    @model_validator(mode="after")
    def _known_images(self) -> Self:
        wrongs = [
            Wrong(f"{name[:80]!r} is no image of this app", nearest(name, sorted(self.images)), at=("create", at))
            for at, name in enumerate(self.create)
            if name not in self.images
        ]
        if self.upstream.image is not None:
            sourceless = [name for name, image in self.images.items() if image.source is None]
            what = "an upstream that is an image has no source to build from"
            wrongs += [Wrong(what, "write source:", at=("images", name)) for name in sourceless]
        raise_all(wrongs)
        return self
