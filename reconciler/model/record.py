"""What was last observed and published: a cache and an audit log, never the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Kind, Proven
from reconciler.model.platform import Platform


@dataclass(frozen=True, slots=True)
class Replaced:
    """A digest that a tag had before: people may have pinned it."""

    digest: Digest
    at: str
    why: str


@dataclass(frozen=True, slots=True)
class RecordedTag:
    """One tag as last seen complete.

    `proofs`: what was verified, under the policy with hash `policy`, of the evidence index `evidence` (None: none
    there) and the legacy tags `legacy`. `checked`: when that was last verified from scratch (RFC 3339).
    """

    digest: Digest
    media_type: str
    size: int
    platforms: Mapping[Platform, Digest]
    ref: str
    commit: str
    recipe: str
    published: str
    evidence: Digest | None = None
    legacy: Mapping[str, Digest] = field(default_factory=dict)
    proofs: Mapping[Kind, Proven] = field(default_factory=dict)
    binding: Binding | None = None
    authority: str = ""
    policy: str = ""
    checked: str = ""
    replaced: tuple[Replaced, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedPointer:
    """One pointer as last seen."""

    version: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Failure:
    """A build that failed: how often for this recipe, why, and until when it isn't tried again (RFC 3339)."""

    count: int
    reason: str
    until: str


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image. `pending`: per recipe hash the platforms pushed by digest but not published: locators, no authority.

    `failures` is per attempt (`Recipe.attempt`). `checksums`: sha256 per URL as first seen.
    """

    tags: Mapping[str, RecordedTag] = field(default_factory=dict)
    pointers: Mapping[str, RecordedPointer] = field(default_factory=dict)
    pending: Mapping[str, Mapping[Platform, Digest]] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """`state/<app>.json`: the images of one app, by name of their repository (`registry/name`)."""

    app: str
    images: Mapping[str, ImageRecord] = field(default_factory=dict)
