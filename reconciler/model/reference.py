"""Where an image is: repositories, tags and digests in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from reconciler.model.digest import Digest
from reconciler.model.text import Text

# distribution-spec v1.1.1, "Pulling manifests"; many clients cap host + "/" + name at 255
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
    r"|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?",
    re.ASCII,
)


def check_host(text: str) -> str:
    """`text`, if it is `host[:port]`; ValueError otherwise."""
    if len(text) > 255 or _HOST.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no registry: write its host, with a port where it has one, like ghcr.io")
    return text


def check_name(text: str) -> str:
    """`text`, if it follows the grammar of repository names; ValueError otherwise."""
    if len(text) > 255 or _NAME.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no repository name: lower-case letters, digits, and . _ - / between them")
    return text


def check_tag(text: str) -> str:
    """`text`, if it follows the grammar of tags; ValueError otherwise."""
    if _TAG.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no tag: letters, digits, . _ - (not . or - first), at most 128")
    return text


@dataclass(frozen=True, slots=True, order=True)
class Repository(Text):
    """`registry/name`: where one image's tags live."""

    registry: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The repository that `host[:port]/name` names; ValueError where it doesn't follow the grammar."""
        registry, slash, name = text.partition("/")
        if not slash or len(text) > 255:
            raise ValueError(f"{text[:80]!r} is no repository: write registry/name, like ghcr.io/owner/image")
        return cls(check_host(registry), check_name(name))

    def tag(self, tag: str) -> TagRef:
        """That tag in it."""
        return TagRef(self, check_tag(tag))

    def at(self, digest: Digest) -> DigestRef:
        """That digest in it."""
        return DigestRef(self, digest)

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class TagRef(Text):
    """`registry/name:tag`."""

    repository: Repository
    tag: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The tag that `registry/name:tag` names; ValueError where it doesn't follow the grammar."""
        repository, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:
            raise ValueError(f"{text[:80]!r} names no tag: write registry/name:tag")
        return cls(Repository.parse(repository), check_tag(tag))

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True, order=True)
class DigestRef(Text):
    """`registry/name@digest`."""

    repository: Repository
    digest: Digest

    @classmethod
    def parse(cls, text: str) -> Self:
        """The manifest that `registry/name@digest` names; ValueError where it doesn't follow the grammar."""
        repository, at, digest = text.partition("@")
        if not at:
            raise ValueError(f"{text[:80]!r} names no digest: write registry/name@sha256:…")
        return cls(Repository.parse(repository), Digest.parse(digest))

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"
