"""What points to content, and the bytes of a manifest as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.registry import parsing


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Type, digest and size of some content (image-spec descriptor.md). `size` in bytes.

    `platform` is None where it has none, or one that names nothing (`unknown/unknown`).
    """

    media_type: str
    digest: Digest
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def as_json(self) -> dict[str, Any]:
        """The descriptor as it stands in a manifest; empty fields are left out."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            platform = {"architecture": self.platform.architecture, "os": self.platform.os}
            value["platform"] = platform | ({"variant": self.platform.variant} if self.platform.variant else {})
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as the registry gave it, its digest checked over the bytes.

    `etag` is empty where the registry gives none. `where` names it for errors.
    """

    data: bytes = field(repr=False)
    digest: Digest
    media_type: str
    size: int
    etag: str = ""
    where: str = field(default="", compare=False)

    @property
    def descriptor(self) -> Descriptor:
        """What points to it."""
        return Descriptor(self.media_type, self.digest, self.size)


def platform_of(value: object) -> Platform | None:
    """The platform that a descriptor's or a config's fields name, or None where they name none that could be wanted."""
    if not isinstance(value, dict):
        return None
    parts = [value.get("os"), value.get("architecture"), value.get("variant") or ""]
    if not all(isinstance(part, str) for part in parts):
        return None
    try:
        platform = Platform.parse("/".join(part for part in parts if part)) if parts[0] and parts[1] else None
    except ValueError:
        return None
    return None if platform is None or "unknown" in (platform.os, platform.architecture) else platform


def read_descriptor(value: object, where: str) -> Descriptor:
    """The descriptor in a parsed manifest; Malformed where it is none."""
    if not isinstance(value, dict):
        raise parsing.malformed("a descriptor in it is no object", where)
    try:
        digest = Digest.parse(parsing.text(value, "digest", where))
    except ValueError as error:
        raise parsing.malformed(str(error), where) from None
    return Descriptor(
        parsing.text(value, "mediaType", where),
        digest,
        parsing.size(value, "size", where),
        parsing.text(value, "artifactType", where),
        parsing.texts(value, "annotations", where),
        platform_of(value.get("platform")),
    )
