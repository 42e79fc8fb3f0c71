"""What a manifest says: pure readers of bytes that anyone may have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.registry import media, parsing
from reconciler.registry.descriptor import Descriptor, Manifest, platform_of, read_descriptor

# BuildKit's attestation manifests (buildkit docs/attestations/attestation-storage.md)
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"


@dataclass(frozen=True, slots=True)
class Index:
    """Several manifests under one digest.

    `platforms`: the images in it, in the index's order, each with its attestation manifest. `entries`: all descriptors
    as they stand. `attestations`: BuildKit's attestation manifests. `nested`: indexes in it. `unplaced`: images
    without a platform in their descriptor. `notes`: one line for each thing that was passed over.
    """

    digest: Digest
    media_type: str
    platforms: Mapping[Platform, Child]
    entries: tuple[Descriptor, ...]
    attestations: tuple[Descriptor, ...] = ()
    nested: tuple[Descriptor, ...] = ()
    unplaced: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One image, or an artifact in an image's clothes.

    `artifact_type` is the manifest's, or else its config's media type (distribution-spec, listing referrers).
    """

    digest: Digest
    media_type: str
    size: int
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    subject: Descriptor | None
    artifact_type: str

    @property
    def child(self) -> Child:
        """It, as the only image under its tag."""
        return Child(self.digest, self.media_type, self.size)


def _body(manifest: Manifest) -> dict[str, Any]:
    where = manifest.where or str(manifest.digest)
    if manifest.media_type not in media.MANIFESTS:
        kind = manifest.media_type[:80] or "no type"
        raise parsing.malformed(f"it is of a type that isn't read here ({kind})", where)
    value = parsing.load_object(manifest.data, where)
    if value.get("schemaVersion") != 2 or isinstance(value.get("schemaVersion"), float):
        raise parsing.malformed("its schemaVersion isn't 2", where)
    stated = parsing.text(value, "mediaType", where)
    # distribution-spec, pull: reject where the body and the header tell different types
    if stated and stated != manifest.media_type:
        raise parsing.malformed(f"the answer says {manifest.media_type}, the manifest itself {stated[:80]}", where)
    # CVE-2021-41190: bytes that are an index to one reader and an image to another
    other = ("config", "layers") if manifest.media_type in media.INDEXES else ("manifests",)
    if any(key in value for key in other):
        raise parsing.malformed("it is an index and an image at once", where)
    return value


def parse(manifest: Manifest) -> Index | Image:
    """What the manifest says; Malformed where it isn't one, says two things at once, or is of another kind."""
    value = _body(manifest)
    return _index(manifest, value) if manifest.media_type in media.INDEXES else _image(manifest, value)


def _subject(value: dict[str, Any], where: str) -> Descriptor | None:
    return None if value.get("subject") is None else read_descriptor(value["subject"], where)


def _image(manifest: Manifest, value: dict[str, Any]) -> Image:
    where = manifest.where or str(manifest.digest)
    config = read_descriptor(value.get("config"), where)
    return Image(
        manifest.digest,
        manifest.media_type,
        manifest.size,
        config,
        tuple(read_descriptor(layer, where) for layer in parsing.items(value, "layers", where)),
        parsing.texts(value, "annotations", where),
        _subject(value, where),
        parsing.text(value, "artifactType", where) or config.media_type,
    )


def _index(manifest: Manifest, value: dict[str, Any]) -> Index:
    where = manifest.where or str(manifest.digest)
    if "manifests" not in value:
        raise parsing.malformed("it is an index without a list of manifests", where)
    entries = tuple(read_descriptor(entry, where) for entry in parsing.items(value, "manifests", where))
    platforms: dict[Platform, Child] = {}
    attestations: list[Descriptor] = []
    nested: list[Descriptor] = []
    unplaced: list[Descriptor] = []
    notes: list[str] = []
    for entry, raw in zip(entries, value["manifests"] or (), strict=True):
        if entry.annotations.get(REFERENCE_TYPE) == _ATTESTATION:
            attestations.append(entry)
        elif entry.media_type in media.INDEXES:
            nested.append(entry)
        elif entry.media_type not in media.IMAGES:
            notes.append(f"{entry.digest.short} in it is no image ({entry.media_type[:80] or 'no type'})")
        elif entry.platform is None:
            if raw.get("platform") is None:
                unplaced.append(entry)
            else:
                notes.append(f"{entry.digest.short} in it names no platform")
        elif entry.platform in platforms:
            notes.append(f"{entry.platform} is in it twice; {entry.digest.short} is passed over")
        else:
            platforms[entry.platform] = Child(entry.digest, entry.media_type, entry.size)
    return Index(
        manifest.digest,
        manifest.media_type,
        _attested(platforms, attestations),
        entries,
        tuple(attestations),
        tuple(nested),
        tuple(unplaced),
        parsing.texts(value, "annotations", where),
        _subject(value, where),
        parsing.text(value, "artifactType", where),
        tuple(notes),
    )


def _attested(platforms: dict[Platform, Child], attestations: list[Descriptor]) -> dict[Platform, Child]:
    """The platforms, each with the first attestation manifest that says it is about it."""
    about: dict[str, Descriptor] = {}
    for entry in attestations:
        about.setdefault(entry.annotations.get(REFERENCE_DIGEST, ""), entry)
    for platform, child in platforms.items():
        found = about.get(str(child.digest))
        if found is not None:
            platforms[platform] = replace(child, attestation=found.digest, attestation_size=found.size)
    return platforms


def config_platform(data: bytes, where: str = "") -> Platform:
    """The platform that an image's config blob names (image-spec config.md); Malformed where it names none."""
    platform = platform_of(parsing.load_object(data, where))
    if platform is None:
        raise parsing.malformed("the image's config names no platform", where)
    return platform
