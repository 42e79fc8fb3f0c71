"""What is written to attach a bundle: its referrer manifest, and the fallback index that lists it; pure.

A referrer is what cosign 3 and actions/attest write (protocols 3.6, 3.15), with the artifactType and the annotations in
the index's descriptors that cosign leaves out (3.10; distribution-spec, pushing manifests with subject).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.errors import Malformed
from reconciler.model.digest import Digest
from reconciler.registry import media, parsing
from reconciler.registry.descriptor import Descriptor, Manifest

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CREATED = "org.opencontainers.image.created"
CONTENT = "dev.sigstore.bundle.content"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
# image-spec manifest.md, the empty descriptor
EMPTY = Descriptor(media.OCI_EMPTY, Digest.of(media.EMPTY_BLOB), len(media.EMPTY_BLOB))


def predicate_type(bundle: bytes) -> str:
    """The predicate type of the statement in a bundle that cosign has just made; Malformed where it has none."""
    where = "the bundle that cosign made"
    envelope = parsing.load_object(bundle, where).get("dsseEnvelope")
    payload = envelope.get("payload") if isinstance(envelope, dict) else None
    try:
        statement = base64.b64decode(payload if isinstance(payload, str) else "", validate=True)
    except binascii.Error:
        raise Malformed("its payload is no base64", where=where) from None
    return parsing.text(parsing.load_object(statement, where), "predicateType", where)


def referrer(bundle: bytes, subject: Descriptor, created: str) -> tuple[bytes, Descriptor]:
    """The manifest that attaches `bundle` to `subject`, and what points to it; `created` is RFC 3339."""
    annotations = {CREATED: created, CONTENT: "dsse-envelope", PREDICATE_TYPE: predicate_type(bundle)}
    content = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "artifactType": BUNDLE,
        "config": EMPTY.as_json(),
        "layers": [Descriptor(BUNDLE, Digest.of(bundle), len(bundle)).as_json()],
        "subject": replace(subject, annotations={}, artifact_type="", platform=None).as_json(),
        "annotations": annotations,
    }
    data = json.dumps(content, indent=2, ensure_ascii=False).encode()
    return data, Descriptor(media.OCI_MANIFEST, Digest.of(data), len(data), BUNDLE, annotations)


def entries(index: Manifest | None) -> Mapping[str, dict[str, Any]]:
    """The descriptors in a fallback index by digest, as they stand there; Malformed where it is no index."""
    if index is None:
        return {}
    if index.media_type not in media.INDEXES:
        raise Malformed(f"the tag with the referrers holds {index.media_type[:80]}, no index", where=index.where)
    found = parsing.items(parsing.load_object(index.data, index.where), "manifests", index.where)
    if not all(isinstance(entry, dict) and isinstance(entry.get("digest"), str) for entry in found):
        raise Malformed("a descriptor in the referrers' index is none", where=index.where)
    return {entry["digest"]: entry for entry in found}


def fallback_index(base: Manifest | None, seen: Iterable[Mapping[str, Any]], ours: Iterable[Descriptor]) -> bytes:
    """The index under the fallback tag: `base` untouched, then what was `seen` in it before, then ours.

    Nothing that was ever listed is dropped: a read may be older than the last write (protocols 2.12).
    """
    manifests = dict(entries(base))
    for entry in seen:
        manifests.setdefault(str(entry["digest"]), dict(entry))
    for descriptor in ours:
        manifests.setdefault(str(descriptor.digest), descriptor.as_json())
    before = {} if base is None else parsing.load_object(base.data, base.where)
    content = {
        **before,
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": list(manifests.values()),
    }
    return json.dumps(content, indent=2, ensure_ascii=False).encode()
