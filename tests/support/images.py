"""Images, indexes, attestations and referrers, put straight into a local registry's store, without HTTP.

    amd64, arm64 = image(store, "mirror/hello", AMD64), image(store, "mirror/hello", ARM64)
    whole = index(store, "mirror/hello", amd64, arm64, tag="1.2.0")
    attach(store, "mirror/hello", whole, bundle)

The same arguments give the same digests. What a writer of old did wrong can be had too: see `Shape`.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from reconciler.local.registry import Store
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SPDX = "https://spdx.dev/Document"
SLSA = "https://slsa.dev/provenance/v1"
CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Built:
    """Something in the store: its descriptor, as an index would list it, and its bytes."""

    digest: Digest
    media_type: str
    size: int
    data: bytes
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    def descriptor(self) -> dict[str, Any]:
        """`mediaType`, `digest`, `size`, and what else there is."""
        whole: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            whole["artifactType"] = self.artifact_type
        if self.annotations:
            whole["annotations"] = dict(self.annotations)
        if self.platform:
            whole["platform"] = _platform(self.platform)
        return whole

    def json(self) -> dict[str, Any]:
        """The manifest, parsed."""
        value: dict[str, Any] = json.loads(self.data)
        return value


class Shape(StrEnum):
    """How a writer lists a referrer in the fallback index (protocols 3.10, 3.11)."""

    SPEC = "spec"  # artifactType and all annotations, as the spec wants it, actions/attest and we do it
    COSIGN = "cosign"  # cosign 3.1: artifactType, no annotations
    OLD_COSIGN = "old cosign"  # cosign up to 3.0.6: the config's media type as artifactType, no annotations


def image(
    store: Store,
    repository: str,
    platform: Platform,
    *,
    text: str = "hello",
    tag: str = "",
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Built:
    """An image for one platform, with one file, `/hello.txt`, that says `text`; real clients can pull and unpack it."""
    tar, layer = _layer(text)
    config = {
        **_platform(platform),
        "created": CREATED,
        "config": {"Cmd": ["/hello"], **({"Labels": dict(labels)} if labels else {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(tar).hexdigest()}"]},
        "history": [{"created": CREATED, "created_by": "COPY hello.txt /"}],
    }
    media_type, config_type, layer_type = (
        (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _blob(store, repository, config_type, _compact(config)),
        "layers": [_blob(store, repository, layer_type, layer)],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return _put(store, repository, manifest, tag=tag, platform=platform)


def index(
    store: Store,
    repository: str,
    *children: Built,
    tag: str = "",
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
    check: bool = True,
) -> Built:
    """An index (or Docker's manifest list) of `children`, in that order; `check=False` where some aren't there."""
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [child.descriptor() for child in children],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return _put(store, repository, value, tag=tag, check=check)


def attestation(
    store: Store,
    repository: str,
    of: Built,
    *,
    statements: Mapping[str, Any] | None = None,
    artifact: bool = False,
) -> Built:
    """The attestation manifest that BuildKit puts beside an image in an index (protocols 4.6).

    `statements` maps predicate types to predicates. `artifact`: as BuildKit 0.32 makes them, with a subject (4.19).
    """
    layers = []
    for kind, predicate in (statements or {SPDX: {"spdxVersion": "SPDX-2.3"}, SLSA: {"buildDefinition": {}}}).items():
        statement = in_toto(of.digest, kind, predicate)
        blob = _blob(store, repository, IN_TOTO, _compact(statement))
        layers.append({**blob, "annotations": {"in-toto.io/predicate-type": kind}})
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    if artifact:
        manifest |= {"artifactType": ATTESTATION, "config": _blob(store, repository, EMPTY, b"{}")}
        manifest |= {"layers": layers, "subject": replace(of, platform=None).descriptor()}
    else:
        diffs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
        config = {"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": diffs}
        manifest |= {"config": _blob(store, repository, OCI_CONFIG, _compact(config)), "layers": layers}
    annotations = {
        "vnd.docker.reference.digest": str(of.digest),
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return replace(_put(store, repository, manifest), platform=Platform("unknown", "unknown"), annotations=annotations)


def built(
    store: Store, repository: str, platforms: Iterable[Platform], *, text: str = "hello", tag: str = "", **more: Any
) -> Built:
    """An index as buildx pushes it: an image for each platform, then an attestation manifest for each."""
    images = [image(store, repository, platform, text=f"{text} {platform}") for platform in platforms]
    attestations = [attestation(store, repository, one) for one in images]
    return index(store, repository, *images, *attestations, tag=tag, **more)


def referrer(
    store: Store,
    repository: str,
    of: Built,
    blob: bytes,
    *,
    kind: str = BUNDLE,
    predicate: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Built:
    """A manifest that refers to `of`, with `blob` as its one layer, as cosign 3 pushes a bundle (protocols 3.6)."""
    said = {"org.opencontainers.image.created": CREATED}
    if kind == BUNDLE:
        said |= {"dev.sigstore.bundle.content": "dsse-envelope"}
        said |= {"dev.sigstore.bundle.predicateType": predicate} if predicate else {}
    said |= dict(annotations or {})
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": _blob(store, repository, EMPTY, b"{}"),
        "layers": [_blob(store, repository, kind, blob)],
        "subject": {"mediaType": of.media_type, "digest": str(of.digest), "size": of.size},
        "annotations": said,
    }
    return replace(_put(store, repository, manifest), annotations=said, artifact_type=kind)


def fallback(
    store: Store, repository: str, of: Built, *referrers: Built, shape: Shape = Shape.SPEC, tag: bool = True
) -> Built:
    """The index under the fallback tag `sha256-<hex>`, added to what stands there; `tag=False`: not tagged."""
    entries = store.fallback(repository, of.digest)
    for one in referrers:
        listed = one.descriptor()
        if shape is not Shape.SPEC:
            listed.pop("annotations", None)
        if shape is Shape.OLD_COSIGN:
            listed["artifactType"] = EMPTY
        if all(entry["digest"] != listed["digest"] for entry in entries):
            entries.append(listed)
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return _put(store, repository, value, tag=of.digest.fallback_tag if tag else "")


def attach(
    store: Store, repository: str, of: Built, blob: bytes, *, predicate: str = "", shape: Shape = Shape.SPEC
) -> Built:
    """A bundle attached to `of`, listed in its fallback index."""
    one = referrer(store, repository, of, blob, predicate=predicate)
    fallback(store, repository, of, one, shape=shape)
    return one


def in_toto(of: Digest, predicate_type: str, predicate: Any, *, name: str = "_") -> dict[str, Any]:
    """An in-toto statement about one digest."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {of.algorithm: of.hex}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _put(
    store: Store,
    repository: str,
    value: Mapping[str, Any],
    *,
    tag: str = "",
    platform: Platform | None = None,
    check: bool = True,
) -> Built:
    data = json.dumps(value, indent=2).encode()
    digest = store.put_manifest(repository, data, value["mediaType"], tag=tag, check=check)
    return Built(digest, value["mediaType"], len(data), data, platform)


def _blob(store: Store, repository: str, media_type: str, data: bytes) -> dict[str, Any]:
    digest = store.put_blob(repository, data)
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def _platform(platform: Platform) -> dict[str, str]:
    whole = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {key: value for key, value in whole.items() if value}


def _layer(text: str) -> tuple[bytes, bytes]:
    """A tar with one file, and the same compressed; both the same for the same text."""
    data = text.encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("hello.txt")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue(), gzip.compress(packed.getvalue(), mtime=0)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
