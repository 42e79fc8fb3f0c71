"""Attaching evidence by plain HTTP, in every layout and every writer's way, to whatever registry a test has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx

from reconciler.local.sigstore.mint import BUNDLE_TYPE, Layer
from reconciler.model.digest import Digest
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from tests.support.registries import NO_TLS

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"


@dataclass(frozen=True)
class Bundle:
    """A bundle to attach. `claims`: the predicate type that the annotation gives, whatever is inside.

    `subject`: what the referrer's manifest says it refers to, where that isn't the image. `bare`: the descriptor is as
    cosign 3.0.6 and older wrote it, of the wrong type and without annotations (protocols 3.10, 3.11).
    """

    data: bytes
    claims: str = ""
    subject: Digest | None = None
    bare: bool = False


@dataclass(frozen=True)
class Attachments:
    """All that is attached to one image."""

    bundles: Sequence[Bundle] = ()
    sig: Sequence[Layer] = ()
    att: Sequence[Layer] = ()


@dataclass(frozen=True)
class Pushed:
    """A pushed image: an index of two platforms."""

    digest: Digest
    platforms: Mapping[Platform, Child]


@dataclass
class Pusher:
    """Pushes to one repository of a registry that speaks plain HTTP; a context manager."""

    repository: Repository
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, verify=NO_TLS, trust_env=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def url(self, path: str) -> str:
        return f"http://{self.repository.registry}/v2/{self.repository.name}/{path}"

    def blob(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        start = self.client.post(self.url("blobs/uploads/"))
        assert start.status_code == 202, start.text
        location = str(start.url.join(start.headers["Location"]))
        location += ("&" if urlsplit(location).query else "?") + urlencode({"digest": str(digest)})
        done = self.client.put(location, content=data, headers={"Content-Type": "application/octet-stream"})
        assert done.status_code == 201, done.text
        return digest

    def manifest(self, content: Mapping[str, Any], reference: str = "") -> Child:
        data = json.dumps(content).encode()
        digest = Digest.of(data)
        media_type = str(content["mediaType"])
        headers = {"Content-Type": media_type}
        done = self.client.put(self.url(f"manifests/{reference or digest}"), content=data, headers=headers)
        assert done.status_code == 201, done.text
        return Child(digest, media_type, len(data))

    def image(self, seed: str, annotations: Mapping[str, str] | None = None, tag: str = "") -> Pushed:
        """An index of amd64 and arm64, unlike that of any other seed."""
        platforms = {}
        for architecture in ("amd64", "arm64"):
            config = json.dumps({"os": "linux", "architecture": architecture, "seed": seed}).encode()
            platforms[Platform.of("linux", architecture)] = self.manifest(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": self.descriptor("application/vnd.oci.image.config.v1+json", config),
                    "layers": [],
                }
            )
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                described(child) | {"platform": {"os": platform.os, "architecture": platform.architecture}}
                for platform, child in platforms.items()
            ],
            "annotations": dict(annotations or {}),
        }
        return Pushed(self.manifest(index, tag).digest, platforms)

    def descriptor(self, media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
        """The descriptor of a blob, which is pushed."""
        return {"mediaType": media_type, "digest": str(self.blob(data)), "size": len(data), **more}

    def attach(self, digest: Digest, attachments: Attachments) -> None:
        """Attach all of it, with a fallback index where the registry has no referrers API."""
        subject = self.child(digest)
        entries = [self.bundle(subject, bundle) for bundle in attachments.bundles]
        if entries and not self.lists(digest):
            self.fallback(digest, entries)
        for ending, layers in ((".sig", attachments.sig), (".att", attachments.att)):
            if layers:
                self.legacy(digest, ending, layers)

    def child(self, digest: Digest) -> Child:
        answer = self.client.get(self.url(f"manifests/{digest}"), headers={"Accept": f"{INDEX}, {MANIFEST}"})
        assert answer.status_code == 200, answer.text
        return Child(digest, answer.headers["Content-Type"], len(answer.content))

    def lists(self, digest: Digest) -> bool:
        """Whether the registry keeps the list of referrers itself."""
        answer = self.client.get(self.url(f"referrers/{digest}"))
        return answer.status_code == 200 and bool(answer.json()["manifests"])

    def bundle(self, subject: Child, bundle: Bundle) -> dict[str, Any]:
        """Push a bundle as a referrer; its descriptor for the fallback index."""
        annotations = {"dev.sigstore.bundle.content": "dsse-envelope", PREDICATE_TYPE: bundle.claims}
        to = Child(bundle.subject, subject.media_type, subject.size) if bundle.subject else subject
        child = self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": BUNDLE_TYPE,
                "config": self.descriptor(EMPTY, b"{}"),
                "layers": [self.descriptor(BUNDLE_TYPE, bundle.data)],
                "subject": described(to),
                "annotations": annotations,
            }
        )
        if bundle.bare:
            return described(child) | {"artifactType": EMPTY}
        return described(child) | {"artifactType": BUNDLE_TYPE, "annotations": annotations}

    def fallback(self, digest: Digest, entries: Iterable[Mapping[str, Any]]) -> Child:
        """Write the fallback index."""
        return self.manifest(index_of(entries), digest.fallback_tag)

    def legacy(self, digest: Digest, ending: str, layers: Sequence[Layer]) -> Child:
        """Write a `.sig` or `.att` tag, as cosign 2 does."""
        config = {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer.data)) for layer in layers]},
        }
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.descriptor("application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
            "layers": [
                self.descriptor(layer.media_type, layer.data, annotations=dict(layer.annotations)) for layer in layers
            ],
        }
        return self.manifest(content, digest.fallback_tag + ending)


def index_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}


def described(child: Child) -> dict[str, Any]:
    return {"mediaType": child.media_type, "digest": str(child.digest), "size": child.size}
