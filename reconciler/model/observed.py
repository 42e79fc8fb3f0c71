"""What is there: what the registry says of a tag or a digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.digest import Digest
from reconciler.model.evidence import Evidence, Unknown
from reconciler.model.platform import Platform


@dataclass(frozen=True, slots=True)
class Child:
    """One image manifest in an index: its descriptor's fields, and the attestation manifest that goes with it."""

    digest: Digest
    media_type: str
    size: int
    attestation: Digest | None = None
    attestation_size: int = 0


@dataclass(frozen=True, slots=True)
class Present:
    """There. `platforms`: the images in it (attestation manifests are none); a single image counts as one.

    `gone`: platforms that the index lists but whose manifest the registry no longer has. `proven_platforms`: those
    whose image manifest carries a verified proof of ours of its own, with what it is bound to; read only where the
    index itself isn't proven ours.
    """

    digest: Digest
    media_type: str
    size: int
    platforms: Mapping[Platform, Child]
    evidence: Evidence
    annotations: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[Platform, ...] = ()
    proven_platforms: frozenset[Platform] = frozenset()

    def lacking(self, wanted: tuple[Platform, ...]) -> tuple[Platform, ...]:
        """The wanted platforms that it doesn't satisfy, in the order wanted."""
        there = [p for p in self.platforms if p not in self.gone]
        return tuple(w for w in wanted if not any(p.satisfies(w) for p in there))


@dataclass(frozen=True, slots=True)
class Absent:
    """Definitely not there: a GET answered 404 with MANIFEST_UNKNOWN or NAME_UNKNOWN (rule 1)."""


@dataclass(frozen=True, slots=True)
class Denied:
    """401 or 403, and what was said: there or not, we may not know."""

    reason: str


Observed = Present | Absent | Denied | Unknown


@dataclass(frozen=True, slots=True)
class Observation:
    """All that is known of one wanted tag.

    `recorded`: what the digest that the record has for this tag is today; asked only where the tag says otherwise.
    `pending`: platforms that an earlier apply pushed by digest and that are verified as ours, ready for use.
    """

    tag: Observed
    recorded: Observed | None = None
    pending: Mapping[Platform, Child] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PointedAt:
    """A pointer that is there: its digest, and the version it names by a verified statement (None: can't be told)."""

    digest: Digest
    version: str | None


PointerObserved = PointedAt | Absent | Denied | Unknown
