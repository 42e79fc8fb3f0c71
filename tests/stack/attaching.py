"""Puts evidence beside an image in a registry, layer by layer and without the program under test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from reconciler.local.sigstore import Layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY = "application/vnd.oci.empty.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of a registry that is open to all."""

    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    def image(self, salt: str = "") -> tuple[str, str]:
        """Push an index with one platform; the digests of the index and of the platform's manifest."""
        config = {"architecture": "amd64", "os": "linux", "author": salt, "rootfs": {"type": "layers", "diff_ids": []}}
        manifest = self._image(_described(CONFIG, self._blob(_json(config))), [])
        platform = {"platform": {"os": "linux", "architecture": "amd64"}}
        digest = self._put(manifest, MANIFEST)
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_described(MANIFEST, manifest) | platform]}
        return self._put(_json(content), INDEX), digest

    def bundles(self, digest: str, *bundles: bytes) -> None:
        """Attach bundles as referrers of an index or manifest, all of them in a new fallback index."""
        with self._client() as client:
            answer = client.get(f"manifests/{digest}", headers={"Accept": f"{INDEX}, {MANIFEST}"})
            answer.raise_for_status()
        subject = _described(answer.headers["Content-Type"], answer.content)
        empty = _described(EMPTY, self._blob(b"{}"))
        listed = []
        for bundle in bundles:
            layer = _described(BUNDLE, self._blob(bundle))
            manifest = self._image(empty, [layer], artifactType=BUNDLE, subject=subject)
            self._put(manifest, MANIFEST)
            listed.append(_described(MANIFEST, manifest) | {"artifactType": BUNDLE})
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        self._put(_json(content), INDEX, digest.replace(":", "-"))

    def legacy(self, digest: str, suffix: str, *layers: Layer) -> None:
        """Write cosign 2's `.sig` or `.att` tag."""
        digests = [f"sha256:{hashlib.sha256(self._blob(layer.data)).hexdigest()}" for layer in layers]
        config = {"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": digests}, "config": {}}
        described = [_described(one.media_type, one.data) | {"annotations": dict(one.annotations)} for one in layers]
        manifest = self._image(_described(CONFIG, self._blob(_json(config))), described)
        self._put(manifest, MANIFEST, digest.replace(":", "-") + suffix)

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.host}/v2/{self.name}/")

    def _blob(self, data: bytes) -> bytes:
        with self._client() as client:
            place = httpx.URL(client.post("blobs/uploads/").headers["Location"])
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            client.put(place.copy_merge_params({"digest": digest}), content=data).raise_for_status()
        return data

    def _image(self, config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], **more: object) -> bytes:
        return _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more})

    def _put(self, content: bytes, media_type: str, tag: str = "") -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with self._client() as client:
            answer = client.put(f"manifests/{tag or digest}", content=content, headers={"Content-Type": media_type})
            answer.raise_for_status()
        return digest


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
