"""One image of an app: what it is built from, how, and how the result is checked."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from reconciler.desired.schema.base import (
    Entry,
    EnvironmentName,
    LabelName,
    Line,
    ReleaseTemplate,
    Template,
    Text,
    Wrong,
)
from reconciler.desired.schema.mirror import Cache, Regex
from reconciler.desired.schema.places import GitUrl, RelativePath, Url, UrlTemplate
from reconciler.desired.schema.pointers import PointersField
from reconciler.model.digest import Digest
from reconciler.model.reference import check_name
from reconciler.model.release import Release
from reconciler.model.template import for_release
from reconciler.model.upstream import check_ref
from reconciler.model.version import Version

_SOME_RELEASE = Release(Version.parse("1.2.3"), "v1.2.3")
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_FROM = re.compile(r"[a-z0-9][a-z0-9._:/@-]{0,300}", re.ASCII)


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise Wrong(f"{text[:80]!r} is no sha256", "write its 64 lower-case hex digits")
    return text


def _stage(text: str) -> str:
    if not _STAGE.fullmatch(text):
        raise Wrong(f"{text[:80]!r} is no name of a stage", "write what stands after AS in the Dockerfile")
    return text


def _from(text: str) -> str:
    if not _FROM.fullmatch(text):
        raise Wrong(f"{text[:80]!r} is no name of an image", "write what stands after FROM in the Dockerfile")
    return text


def _stable(version: Version) -> Version:
    if not version.stable:
        raise Wrong(f"{version} is a pre-release", "name a version that has only numbers")
    return version


class SourceEntry(Entry):
    """Where the build's context comes from: a git repository at a ref, or a folder beside the desired file."""

    one_of = ("git", "folder")

    git: GitUrl | None = Field(None, description="write the https URL of a git repository")
    ref: ReleaseTemplate = Field("{tag}", description="write the ref of a release, like v{version}")
    submodules: bool = Field(False, description="write true to fetch submodules too")
    folder: RelativePath | None = Field(None, description="write the name of a folder beside this file")

    @model_validator(mode="after")
    def _ref(self) -> Self:
        if self.folder is not None and self.model_fields_set & {"ref", "submodules"}:
            raise Wrong("a folder has no ref and no submodules", "remove them")
        try:
            check_ref(for_release(self.ref, _SOME_RELEASE))
        except ValueError:
            raise Wrong(f"{self.ref[:80]!r} is no ref", "write a tag, like v{version}", at=("ref",)) from None
        if "{commit}" in self.ref:
            raise Wrong("the commit is told by the ref, not the other way", "write a tag, like v{version}", at=("ref",))
        return self


class EditEntry(Entry):
    """A replacement in a file of the source, which must match exactly `count` times."""

    one_of = ("find", "regex")

    file: RelativePath = Field("Dockerfile", description="write the path of a file in the source")
    find: Text | None = Field(None, description="write the exact text to replace")
    regex: Regex | None = Field(None, description="write a regular expression for the text to replace")
    replace: Annotated[str, Field(max_length=20_000)] = Field(description="write what to put there")
    count: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="write how often it must match")


class ChecksumEntry(Entry):
    """What a download must be: published by upstream `at` a URL, or known here by the exact URL of the file.

    What is neither is recorded at first sight.
    """

    url: UrlTemplate = Field(description="write the URL of the download, with {version} and {arch}")
    at: UrlTemplate | None = Field(None, description="write the URL of upstream's list of checksums")
    known: dict[Url, Annotated[str, AfterValidator(_sha256)]] = Field(
        default_factory=dict, description="write a sha256 per exact URL"
    )


class SmokeEntry(Entry):
    """A command run in the built image on each platform."""

    command: Annotated[tuple[Template, ...], Field(min_length=1, max_length=100)] = Field(
        description="write a list: the program and its arguments"
    )
    status: Annotated[int, Field(ge=0, le=255)] = Field(0, description="write the exit status to expect")
    output: Template | None = Field(None, description="write a text that the output must hold, like {version}")


class Image(Entry):
    """One image: its key is the name of its repository in the mirror's namespace."""

    title: Line | None = Field(None, description="write its name, if it isn't the app's")
    description: Line | None = Field(None, description="write what it is, if it isn't the app's description")
    source: SourceEntry | None = Field(None, description="write git: and ref:, or folder:")
    context: RelativePath = Field(".", description="write the path of the build's context in the source")
    dockerfile: RelativePath | None = Field(None, description="write the path of the Dockerfile in the source")
    own_dockerfile: RelativePath | None = Field(None, description="write the path of a Dockerfile beside this file")
    target: Annotated[str, AfterValidator(_stage)] | None = Field(None, description="write the name of a stage")
    unpin: bool = Field(False, description="write true to drop @sha256:… from FROM lines")
    edits: tuple[EditEntry, ...] = Field((), description="write a list of replacements: file, find or regex, replace")
    bases: dict[Annotated[str, AfterValidator(_from)], Annotated[str, AfterValidator(check_name)]] = Field(
        default_factory=dict, description="write the name in FROM and the image of this mirror that replaces it"
    )
    args: dict[EnvironmentName, Template] = Field(default_factory=dict, description="write build arguments")
    labels: dict[LabelName, Template] = Field(default_factory=dict, description="write labels")
    annotations: dict[LabelName, ReleaseTemplate] = Field(default_factory=dict, description="write annotations")
    requires: tuple[UrlTemplate, ...] = Field((), description="write a list of URLs that must answer")
    checksums: tuple[ChecksumEntry, ...] = Field((), description="write a list of downloads: url, and at or known")
    smoke: SmokeEntry | None = Field(None, description="write command: and what to expect of it")
    cache: Cache | None = Field(None, description="write registry, gha or local")
    pointers: PointersField | None = Field(None, description="write a list of moving tags, like [latest, major]")
    adopt: dict[Annotated[Version, AfterValidator(_stable)], Digest] = Field(
        default_factory=dict, description="write a version and the exact digest to adopt"
    )

    @model_validator(mode="after")
    def _one_dockerfile(self) -> Self:
        if self.dockerfile is not None and self.own_dockerfile is not None:
            raise Wrong("dockerfile and own-dockerfile exclude each other", "keep one of them", at=("own-dockerfile",))
        return self
