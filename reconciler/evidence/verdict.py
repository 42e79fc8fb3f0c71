"""What judging one thing comes to: verified or rejected, and which kind of evidence a predicate type is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.evidence import PREDICATES, Kind

_VERSION = re.compile(r"/v?[0-9]+(?:\.[0-9]+)*", re.ASCII)


def kind_of(predicate_type: str) -> Kind | None:
    """The kind of evidence that a predicate type is, with or without a version after it; None for any other.

    actions/attest writes `https://spdx.dev/Document/v2.3` where cosign writes `https://spdx.dev/Document`
    (protocols 3.8). What we define ourselves, and cosign's signature, is taken literally.
    """
    for kind, types in PREDICATES.items():
        for known in types:
            if predicate_type == known:
                return kind
            version = predicate_type.removeprefix(known)
            if kind in (Kind.SBOM, Kind.PROVENANCE) and version != predicate_type and _VERSION.fullmatch(version):
                return kind
    return None


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof by an accepted signer about the digest in question.

    `predicate_type` comes from the signed statement (for cosign 2's simple signing it is the one of a signature),
    `subjects` are all digests the statement is about. `by` says whose (an identity, or a key's name and fingerprint),
    `at` when it was logged (RFC 3339; empty where no verified source of time says so). `predicate` is kept for our
    mirror statements only: an SBOM's would be many megabytes.
    """

    predicate_type: str
    by: str
    at: str
    subjects: frozenset[Digest]
    predicate: Mapping[str, Any] | None = None

    @property
    def kind(self) -> Kind | None:
        """The kind of evidence it is, or None where it is none of ours (a scan's result, say)."""
        return kind_of(self.predicate_type)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not evidence, and why, in one line. `claims`: the kind that it says it is, which nobody vouches for."""

    reason: str
    claims: Kind | None = None


Verdict = Verified | Rejected
