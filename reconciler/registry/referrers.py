"""What is attached to a digest: lists of referrers, and what a host can say of them (distribution-spec, referrers)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.model.digest import Digest
from reconciler.registry import answers, parsing
from reconciler.registry.answers import Answer
from reconciler.registry.descriptor import Descriptor, read_descriptor


@dataclass(frozen=True, slots=True)
class Referrers:
    """All that is attached to one digest, in the registry's order.

    `index` changes whenever something is added or lost, None where nothing was ever attached: the digest of the
    fallback index, or, of an answer of the API, the sha512 over the sorted digests in it (a listing has no digest of
    its own, and its order and its pages are the registry's to choose; sha512, so that the two are never confused).
    `from_api`: whether the host has the API, and so keeps the list itself. `etag` is the fallback index's.
    """

    descriptors: tuple[Descriptor, ...]
    index: Digest | None
    from_api: bool
    etag: str = ""


def listing_digest(descriptors: Iterable[Descriptor]) -> Digest:
    """What stands for a list that the API gave."""
    lines = "\n".join(sorted({str(d.digest) for d in descriptors}))
    return Digest("sha512", hashlib.sha512(lines.encode()).hexdigest())


def is_listing(digest: Digest) -> bool:
    """Whether a recorded `index` came from the API."""
    return digest.algorithm == "sha512"


def read(data: bytes, where: str) -> tuple[Descriptor, ...]:
    """The descriptors in a referrers index or the fallback's; each digest once. Malformed where it is no index."""
    value = parsing.load_object(data, where)
    if "manifests" not in value:
        raise parsing.malformed("its list of referrers has no manifests", where)
    found: dict[Digest, Descriptor] = {}
    for entry in parsing.items(value, "manifests", where):
        descriptor = read_descriptor(entry, where)
        found.setdefault(descriptor.digest, descriptor)
    return tuple(found.values())


def has_no_api(answer: Answer) -> bool | None:
    """Whether this answer to a referrers request says that the host doesn't have the API; None where it may mean so.

    A host with the API never answers 404 (distribution-spec): one that does with MANIFEST_UNKNOWN, as GHCR (protocols
    2.14), has none. NAME_UNKNOWN speaks of the repository alone. UNSUPPORTED, and the 404 without any code that an
    unknown path gets, may also be a slip of something in between: they count only if they are said again.
    """
    if answer.elsewhere or answer.status not in (404, 405, 501):
        return False
    found = answers.faults(answer.body)
    if not found:
        return None
    if any(answers.is_ours(fault) or fault.code not in ("MANIFEST_UNKNOWN", "UNSUPPORTED") for fault in found):
        return False
    return True if all(fault.code == "MANIFEST_UNKNOWN" for fault in found) else None
