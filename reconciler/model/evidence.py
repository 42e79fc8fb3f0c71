"""What proves a digest, and what was found of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.digest import Digest
from reconciler.model.platform import Platform

# our predicate and our annotations; documented in the README's reference part
MIRROR_PREDICATE = "https://this-is-tobi.github.io/multiarch-mirror/mirror/v2"
# what images from before reconcile carry; it says less, but which repository and version they are
FORMER_MIRROR_PREDICATE = "https://this-is-tobi.github.io/multiarch-mirror/mirror/v1"
ANNOTATION = "io.github.this-is-tobi.multiarch-mirror"
ANNOTATION_REPOSITORY = f"{ANNOTATION}.repository"
ANNOTATION_UPSTREAM = f"{ANNOTATION}.upstream"
ANNOTATION_VERSION = f"{ANNOTATION}.version"
ANNOTATION_RECIPE = f"{ANNOTATION}.recipe"


class Kind(StrEnum):
    """The kinds of evidence."""

    SIGNATURE = "signature"
    SBOM = "sbom"
    PROVENANCE = "provenance"
    MIRROR = "mirror"


# a predicate type belongs to a kind if it is one of these, or one of these with a version after it: actions/attest
# writes https://spdx.dev/Document/v2.3 where cosign writes https://spdx.dev/Document
PREDICATES: Mapping[Kind, tuple[str, ...]] = {
    Kind.SIGNATURE: ("https://sigstore.dev/cosign/sign/v1",),
    Kind.SBOM: ("https://spdx.dev/Document", "https://cyclonedx.org/bom"),
    Kind.PROVENANCE: ("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"),
    Kind.MIRROR: (MIRROR_PREDICATE, FORMER_MIRROR_PREDICATE),
}


@dataclass(frozen=True, slots=True)
class Proven:
    """A verified proof by an accepted signer.

    `by` says whose (an identity, or a key's fingerprint), `at` when it was logged (RFC 3339, empty without a log),
    `proof` is the digest of the bundle or layer, `layout` is "bundle" or "legacy". `also`: the digests of further
    bundles, where it takes several (an SBOM per platform).
    """

    by: str
    at: str
    proof: Digest
    layout: str = "bundle"
    also: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """Definitely not there, in any layout. `platforms`: those that lack it, where it exists per platform."""

    platforms: tuple[Platform, ...] = ()


@dataclass(frozen=True, slots=True)
class Invalid:
    """Something is there that doesn't hold: by someone else, about something else, expired, garbled."""

    reason: str
    platforms: tuple[Platform, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """No definite answer, and why; nothing is planned for what is unknown."""

    reason: str


Finding = Proven | Missing | Invalid | Unknown


@dataclass(frozen=True, slots=True)
class Binding:
    """What a verified statement says that a digest is: this repository's image of this version (rule 5).

    `repository` is `registry/name`, `version` the upstream version, `recipe` the hash of the recipe (may be empty),
    `commit` the source's commit (may be empty).
    """

    repository: str
    version: str
    recipe: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found about one digest.

    `findings` has an entry for each of the four kinds. `authority` says whose verified proof gives us the right to
    sign this digest (rule 4; empty: nobody's). `binding` comes from the verified mirror statement, or from the
    annotations of a digest that is proven ours. `index` is the digest of the evidence index (the fallback tag or the
    referrers answer) as read: whatever is added or lost changes it; None where there is none. `legacy` has the digests
    of the `.sig` and `.att` manifests as read, under these endings. `notes` has one line for each thing found that
    doesn't count. `recalled`: something in it was taken from a record and not verified now.
    """

    findings: Mapping[Kind, Finding]
    authority: str = ""
    binding: Binding | None = None
    index: Digest | None = None
    legacy: Mapping[str, Digest] | None = None
    notes: tuple[str, ...] = ()
    recalled: bool = False

    def lacking(self, required: frozenset[Kind]) -> tuple[Kind, ...]:
        """The required kinds that aren't proven, in the order of `Kind`."""
        return tuple(k for k in Kind if k in required and not isinstance(self.findings[k], Proven))

    def unknown(self, required: frozenset[Kind]) -> Unknown | None:
        """The first required kind without a definite answer, or None."""
        for kind in Kind:
            finding = self.findings[kind]
            if kind in required and isinstance(finding, Unknown):
                return finding
        return None
