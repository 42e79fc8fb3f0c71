from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Malformed
from reconciler.local.registry import Store
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.registry import media
from reconciler.registry.descriptor import Descriptor, Manifest, read_descriptor
from reconciler.registry.manifests import Image, Index, config_platform, parse
from tests.support.images import Built, attestation, image, index

AMD64, ARM64, ARMV7 = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7"))
ONE, TWO, THREE = (f"sha256:{n * 64}" for n in "123")


def manifest(value: Any, media_type: str = media.OCI_INDEX) -> Manifest:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Manifest(data, Digest.of(data), media_type, len(data))


def of(built: Built) -> Manifest:
    return Manifest(built.data, built.digest, built.media_type, built.size)


def entry(digest: str = ONE, platform: Any = None, **more: Any) -> dict[str, Any]:
    value = {"mediaType": media.OCI_MANIFEST, "digest": digest, "size": 10, **more}
    return value | ({"platform": platform} if platform is not None else {})


def an_index(*entries: Any, **more: Any) -> Index:
    found = parse(manifest({"schemaVersion": 2, "manifests": list(entries), **more}))
    assert isinstance(found, Index)
    return found


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_as_buildx_pushes_it_has_its_platforms_alone(tmp_path: Path, docker: bool) -> None:
    """Attestation manifests are no platforms; each stands beside the image that it is about."""
    store = Store(tmp_path)
    amd64 = image(store, "a", AMD64, docker=docker)
    arm64 = image(store, "a", Platform.of("linux", "arm64", "v8"), docker=docker)
    proof = attestation(store, "a", amd64)
    whole = index(store, "a", amd64, arm64, proof, docker=docker, annotations={"k": "v"})
    found = parse(of(whole))
    assert isinstance(found, Index)
    assert list(found.platforms) == [AMD64, ARM64]
    assert found.platforms[AMD64].digest == amd64.digest
    assert found.platforms[AMD64].attestation == proof.digest
    assert found.platforms[AMD64].attestation_size == proof.size
    assert found.platforms[ARM64].attestation is None
    assert [d.digest for d in found.attestations] == [proof.digest]
    assert found.annotations == {"k": "v"}
    assert len(found.entries) == 3
    assert found.notes == ()


def test_an_attestation_is_told_by_its_annotation_not_by_its_platform() -> None:
    """With a real platform in its descriptor it is none; unknown/unknown without the annotation is none either."""
    mark = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": ONE}
    found = an_index(
        entry(TWO, {"os": "linux", "architecture": "arm64"}, annotations=mark),
        entry(ONE, {"os": "linux", "architecture": "amd64"}),
        entry(THREE, {"os": "unknown", "architecture": "unknown"}),
    )
    assert list(found.platforms) == [AMD64]
    assert str(found.platforms[AMD64].attestation) == TWO
    assert found.notes == (f"sha256:{'3' * 12} in it names no platform",)


def test_the_first_of_two_entries_for_a_platform_counts() -> None:
    """Clients take the first; the second is noted, whatever variant it is spelt with."""
    found = an_index(
        entry(ONE, {"os": "linux", "architecture": "arm64"}),
        entry(TWO, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
    )
    assert {p: str(c.digest) for p, c in found.platforms.items()} == {ARM64: ONE}
    assert found.notes == (f"linux/arm64 is in it twice; sha256:{'2' * 12} is passed over",)


def test_what_is_no_image_with_a_platform_is_kept_apart() -> None:
    """Nested indexes and images without a platform have their own places, artifacts are noted."""
    found = an_index(
        {"mediaType": media.OCI_INDEX, "digest": ONE, "size": 1},
        entry(TWO),
        {"mediaType": "application/x", "digest": THREE, "size": 1},
    )
    assert not found.platforms
    assert [str(d.digest) for d in found.nested] == [ONE]
    assert [str(d.digest) for d in found.unplaced] == [TWO]
    assert found.notes == (f"sha256:{'3' * 12} in it is no image (application/x)",)


@pytest.mark.parametrize("docker", [False, True])
def test_a_single_image_has_its_platform_in_its_config(tmp_path: Path, docker: bool) -> None:
    """The manifest gives the config's descriptor, the config the platform in its normal form."""
    store = Store(tmp_path)
    built = image(store, "a", Platform.of("linux", "arm"), docker=docker)
    found = parse(of(built))
    assert isinstance(found, Image)
    assert found.child.digest == built.digest
    assert str(found.config.digest) == built.json()["config"]["digest"]
    assert len(found.layers) == 1
    assert config_platform(b'{"os":"linux","architecture":"arm"}') == ARMV7


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"os":"linux"}',
        b'{"os":"linux","architecture":1}',
        b"{",
        b'{"os":"unknown","architecture":"unknown"}',
    ],
)
def test_a_config_without_a_platform_is_malformed(data: bytes) -> None:
    """An artifact's config names none: that is no platform to guess."""
    with pytest.raises(Malformed):
        config_platform(data)


def test_the_type_of_an_artifact_is_its_own_or_its_configs() -> None:
    """As registries list referrers (distribution-spec, listing referrers)."""
    config = {"mediaType": "application/x", "digest": ONE, "size": 2}
    subject = {"mediaType": media.OCI_INDEX, "digest": TWO, "size": 3}
    value = {"schemaVersion": 2, "config": config, "layers": [], "subject": subject}
    found = parse(manifest(value, media.OCI_MANIFEST))
    assert isinstance(found, Image)
    assert found.artifact_type == "application/x"
    assert found.subject == Descriptor(media.OCI_INDEX, Digest.parse(TWO), 3)
    named = parse(manifest({**value, "artifactType": "application/y"}, media.OCI_MANIFEST))
    assert isinstance(named, Image)
    assert named.artifact_type == "application/y"


BROKEN: dict[str, tuple[Any, str]] = {
    "no JSON": (b"<html>", media.OCI_INDEX),
    "no object": ([], media.OCI_INDEX),
    "no version": ({"manifests": []}, media.OCI_INDEX),
    "version 1": ({"schemaVersion": 1, "manifests": []}, media.OCI_INDEX),
    "version 2.0": (b'{"schemaVersion": 2.0, "manifests": []}', media.OCI_INDEX),
    "another type inside": ({"schemaVersion": 2, "mediaType": media.DOCKER_LIST, "manifests": []}, media.OCI_INDEX),
    "both at once": ({"schemaVersion": 2, "manifests": [], "config": {}}, media.OCI_INDEX),
    "both at once, too": ({"schemaVersion": 2, "manifests": [], "config": entry()}, media.OCI_MANIFEST),
    "no manifests": ({"schemaVersion": 2}, media.OCI_INDEX),
    "manifests a map": ({"schemaVersion": 2, "manifests": {}}, media.OCI_INDEX),
    "an entry a text": ({"schemaVersion": 2, "manifests": ["x"]}, media.OCI_INDEX),
    "no digest": ({"schemaVersion": 2, "manifests": [{"mediaType": "x", "size": 1}]}, media.OCI_INDEX),
    "md5": ({"schemaVersion": 2, "manifests": [entry("md5:" + "0" * 32)]}, media.OCI_INDEX),
    "path as digest": ({"schemaVersion": 2, "manifests": [entry("../../etc/passwd")]}, media.OCI_INDEX),
    "negative size": ({"schemaVersion": 2, "manifests": [entry() | {"size": -1}]}, media.OCI_INDEX),
    "size a text": ({"schemaVersion": 2, "manifests": [entry() | {"size": "1"}]}, media.OCI_INDEX),
    "annotations": ({"schemaVersion": 2, "manifests": [], "annotations": {"a": 1}}, media.OCI_INDEX),
    "no config": ({"schemaVersion": 2, "layers": []}, media.OCI_MANIFEST),
    "unknown type": ({"schemaVersion": 2}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_manifest_is_malformed(name: str) -> None:
    """Ambiguous or broken bytes are unknown: never an index without platforms."""
    value, media_type = BROKEN[name]
    with pytest.raises(Malformed):
        parse(manifest(value, media_type))


SCRAPS = st.sampled_from(
    ["manifests", "config", "layers", "digest", "size", "mediaType", "platform", "os", "architecture", "annotations"]
) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([ONE, *media.MANIFESTS, "linux"]) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCRAPS, inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(SCRAPS, VALUES, max_size=6), st.sampled_from(sorted(media.MANIFESTS)))
def test_any_json_is_read_or_malformed(value: dict[str, Any], media_type: str) -> None:
    """Nothing but our own error comes out of the reader."""
    try:
        parse(manifest({"schemaVersion": 2, **value}, media_type))
    except Malformed:
        return


DESCRIPTORS = st.builds(
    Descriptor,
    st.sampled_from(sorted(media.MANIFESTS)),
    st.binary(max_size=8).map(Digest.of),
    st.integers(0, 2**53),
    st.text(max_size=10),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.none() | st.sampled_from([AMD64, ARM64, ARMV7]),
)


@given(DESCRIPTORS)
def test_a_descriptor_that_is_written_is_read_back(descriptor: Descriptor) -> None:
    """Nothing is lost between the index that we write and the one that we read."""
    assert read_descriptor(json.loads(json.dumps(descriptor.as_json())), "x") == descriptor
