"""Media types of what a registry holds (image-spec media-types.md; Docker image manifest v2 schema 2)."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
MANIFESTS = INDEXES | IMAGES

# all four, always: GHCR answers MANIFEST_UNKNOWN for a tag that is there when its type is missing (protocols 2.9)
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))

EMPTY_BLOB = b"{}"  # the config of a manifest that is no image (image-spec manifest.md, empty descriptor)


def essence(content_type: str) -> str:
    """The type of a Content-Type header without its parameters, which are to be ignored (distribution-spec, pull)."""
    return content_type.partition(";")[0].strip().lower()
