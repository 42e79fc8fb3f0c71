"""The index of a version's images, as bytes: pure, and the same images give the same bytes.

We write the JSON ourselves instead of asking `docker buildx imagetools create --dry-run`: it needs no process, keeps
annotations where images have Docker's media types (imagetools drops them silently) and doesn't depend on which buildx
does it; a stack test shows that imagetools lists the same descriptors for the same images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.registry.descriptor import Descriptor
from reconciler.registry.manifests import REFERENCE_DIGEST, REFERENCE_TYPE
from reconciler.registry.media import OCI_INDEX, OCI_MANIFEST


def assemble(children: Mapping[Platform, Child], annotations: Mapping[str, str]) -> bytes:
    """An OCI index of `children` (image-spec image-index.md), sorted by platform.

    Each image's attestation manifest follows after all images, with BuildKit's annotations (buildkit
    docs/attestations/attestation-storage.md).
    """
    ordered = [(platform, children[platform]) for platform in sorted(children)]
    images = [_image(platform, child) for platform, child in ordered]
    attestations = [_attestation(child.digest, child.attestation, child) for _, child in ordered if child.attestation]
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [*images, *attestations],
    }
    if annotations:
        content["annotations"] = dict(sorted(annotations.items()))
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def _image(platform: Platform, child: Child) -> dict[str, Any]:
    return Descriptor(child.media_type, child.digest, child.size, platform=platform).as_json()


def _attestation(about: Digest, attestation: Digest, child: Child) -> dict[str, Any]:
    descriptor = Descriptor(
        OCI_MANIFEST,
        attestation,
        child.attestation_size,
        annotations={REFERENCE_DIGEST: str(about), REFERENCE_TYPE: "attestation-manifest"},
    )
    return {**descriptor.as_json(), "platform": {"architecture": "unknown", "os": "unknown"}}
