"""What a manifest says, as far as a registry must know it: pure, over the bytes as pushed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.local.registry.answer import Code, Refusal
from reconciler.model.digest import Digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
MANIFEST_CAP = 4 * 1024 * 1024  # distribution-spec v1.1.1, "Pushing Manifests"
# layers that a registry need not hold (image-spec layer.md, "Non-Distributable Layers")
_ELSEWHERE = ("nondistributable", "foreign")


@dataclass(frozen=True, slots=True)
class Contents:
    """What must be there before this manifest may be: `blobs` and `manifests`; and what it refers to."""

    media_type: str
    blobs: tuple[Digest, ...]
    manifests: tuple[Digest, ...]
    subject: Digest | None
    artifact_type: str
    annotations: Mapping[str, str]


def read(data: bytes, content_type: str) -> Contents:
    """What `data`, pushed as `content_type`, says; a refusal where it is no manifest of that type."""
    if len(data) > MANIFEST_CAP:
        raise Refusal(413, Code.SIZE_INVALID, f"the manifest has {len(data)} bytes, more than {MANIFEST_CAP}")
    value = _parse(data)
    declared = value.get("mediaType")
    named = content_type.partition(";")[0].strip() or (declared if isinstance(declared, str) else "")
    if declared not in (None, named):
        raise _invalid(f"mediaType is {str(declared)[:80]!r}, Content-Type {named[:80]!r}")
    if value.get("schemaVersion") != 2:
        raise _invalid("schemaVersion isn't 2")
    if named in INDEXES:
        blobs: tuple[Digest, ...] = ()
        manifests = tuple(_digests(value, "manifests"))
        config: Mapping[str, Any] = {}
    elif named in MANIFESTS:
        config = _descriptor(value.get("config"), "config")
        blobs = (_digest(config, "config"), *_digests(value, "layers"))
        manifests = ()
    else:
        raise _invalid(f"media type {named[:80]!r} isn't one of an image or an index")
    subject = value.get("subject")
    return Contents(
        media_type=named,
        blobs=blobs,
        manifests=manifests,
        subject=None if subject is None else _digest(_descriptor(subject, "subject"), "subject"),
        artifact_type=_text(value.get("artifactType") or config.get("mediaType") or ""),
        annotations=_annotations(value.get("annotations")),
    )


def _parse(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _invalid(f"no JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise _invalid("not a JSON object")
    return value


def _digests(value: Mapping[str, Any], key: str) -> Iterable[Digest]:
    entries = value.get(key, [])
    if not isinstance(entries, list):
        raise _invalid(f"{key} is no list")
    for number, entry in enumerate(entries):
        descriptor = _descriptor(entry, f"{key}[{number}]")
        if not any(word in _text(descriptor.get("mediaType", "")) for word in _ELSEWHERE):
            yield _digest(descriptor, f"{key}[{number}]")


def _descriptor(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{where} is no descriptor")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _invalid(f"{where} has no size")
    return value


def _digest(descriptor: Mapping[str, Any], where: str) -> Digest:
    try:
        return Digest.parse(_text(descriptor.get("digest", "")))
    except ValueError as error:
        raise _invalid(f"{where}: {error}") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _annotations(value: Any) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _invalid("annotations aren't a map of strings")
    return value


def _invalid(what: str) -> Refusal:
    return Refusal(400, Code.MANIFEST_INVALID, f"manifest invalid: {what}")
