"""The local registry's store: what it keeps, what it refuses, what survives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ReconcileError
from reconciler.local.registry import Refusal, Store, View
from reconciler.model.digest import Digest
from tests.support import images
from tests.support.images import Shape
from tests.support.nouns import AMD64, ARM64, ARMV7

HELLO = "mirror/hello"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    store = Store(tmp_path / "registry")
    yield store
    store.close()


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    """Blobs, manifests, referrers and tags, in their order, are the same when the folder is opened again."""
    store = Store(tmp_path)
    whole = images.built(store, HELLO, [AMD64, ARM64], tag="2.0.0")
    images.index(store, HELLO, whole, tag="1.0.0")
    images.attach(store, HELLO, whole, b"a bundle", predicate=images.SPDX)
    store.tag(HELLO, "gone", whole.digest)
    store.untag(HELLO, "gone")
    before = (store.snapshot(), list(store.tags(HELLO)), store.referrers(HELLO, whole.digest), store.manifests(HELLO))
    store.close()
    again = Store(tmp_path)
    after = (again.snapshot(), list(again.tags(HELLO)), again.referrers(HELLO, whole.digest), again.manifests(HELLO))
    again.close()
    assert after == before
    assert before[1] == ["2.0.0", "1.0.0", whole.digest.fallback_tag]
    stored = again.manifest(HELLO, whole.digest)
    assert stored is not None
    assert stored.data == whole.data


def test_a_torn_last_event_is_forgotten(tmp_path: Path) -> None:
    """An event that a full disk cut off is dropped, all before it stay, and new ones follow them."""
    store = Store(tmp_path)
    one = images.image(store, HELLO, AMD64, tag="1.0.0")
    store.close()
    with (tmp_path / "journal").open("ab") as journal:
        journal.write(b'["tag","mirror/hello","2.0.0","sha2')
    again = Store(tmp_path)
    again.tag(HELLO, "3.0.0", one.digest)
    again.close()
    third = Store(tmp_path)
    third.close()
    assert third.snapshot() == {HELLO: {"1.0.0": one.digest, "3.0.0": one.digest}}


def test_unfinished_files_are_cleared_away(tmp_path: Path) -> None:
    """What a killed process didn't finish is gone after the next start."""
    Store(tmp_path).close()
    (tmp_path / "unfinished" / "1-7").write_bytes(b"half")
    Store(tmp_path).close()
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_only_one_process_may_have_it(tmp_path: Path, store: Store) -> None:
    """A second registry on the same folder is refused with what to do."""
    with pytest.raises(ReconcileError, match="another registry uses this folder") as caught:
        Store(tmp_path / "registry")
    assert "stop it" in caught.value.todo


def test_a_manifest_needs_its_blobs_and_children(store: Store) -> None:
    """A manifest or index that names what isn't in this repository is refused; a missing subject isn't."""
    one = images.image(store, HELLO, AMD64)
    with pytest.raises(Refusal, match="names what isn't in mirror/other") as caught:
        store.put_manifest("mirror/other", one.data, one.media_type)
    assert (caught.value.status, caught.value.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    index = json.dumps({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [one.descriptor()]}).encode()
    store.put_manifest(HELLO, index, images.OCI_INDEX)
    with pytest.raises(Refusal, match="names what isn't"):
        store.put_manifest("mirror/other", index, images.OCI_INDEX)
    absent = images.Built(Digest.of(b"nowhere"), images.OCI_MANIFEST, 7, b"nowhere")
    lonely = images.referrer(store, HELLO, absent, b"bundle")
    assert [entry["digest"] for entry in store.referrers(HELLO, absent.digest)] == [str(lonely.digest)]


@pytest.mark.parametrize(
    ("data", "media_type", "why"),
    [
        (b"{", images.OCI_MANIFEST, "no JSON"),
        (b"[" * 100_000, images.OCI_MANIFEST, "no JSON"),
        (b"\xff\xfe", images.OCI_MANIFEST, "no JSON"),
        (b"[]", images.OCI_MANIFEST, "not a JSON object"),
        (b"{}", images.OCI_MANIFEST, "schemaVersion"),
        (b'{"schemaVersion":2}', images.OCI_MANIFEST, "config is no descriptor"),
        (b'{"schemaVersion":2}', "text/plain", "media type"),
        (b'{"schemaVersion":2,"mediaType":"text/html"}', images.OCI_INDEX, "Content-Type"),
        (b'{"schemaVersion":2,"manifests":{}}', images.OCI_INDEX, "manifests is no list"),
        (b'{"schemaVersion":2,"manifests":[7]}', images.OCI_INDEX, "is no descriptor"),
        (b'{"schemaVersion":2,"manifests":[{"size":true}]}', images.OCI_INDEX, "has no size"),
        (b'{"schemaVersion":2,"manifests":[{"size":1,"digest":"md5:1"}]}', images.OCI_INDEX, "is no digest"),
        (b'{"schemaVersion":2,"annotations":{"a":1}}', images.OCI_INDEX, "map of strings"),
    ],
)
def test_what_is_no_manifest_is_refused(store: Store, data: bytes, media_type: str, why: str) -> None:
    """Bytes that aren't a manifest of the said type are refused with the reason, and nothing is stored."""
    with pytest.raises(Refusal, match=why):
        store.put_manifest(HELLO, data, media_type)
    assert store.repositories() == ()


def test_names_that_lead_elsewhere_are_refused(store: Store, tmp_path: Path) -> None:
    """No name outside the grammar is stored: it can't lead out of the folder."""
    for name in ("../up", "/etc", "UPPER", "a//b", "a/../b", "a b", "", "a/b\n"):
        with pytest.raises(ValueError, match="no repository name"):
            store.put_blob(name, b"x")
    with pytest.raises(ValueError, match="no tag"):
        store.tag(HELLO, "../latest", Digest.of(b"x"))


def test_a_tag_names_only_what_is_there(store: Store) -> None:
    """A tag on an unknown digest is refused; deleting a manifest takes its tags along, and nothing else."""
    with pytest.raises(Refusal, match="no manifest"):
        store.tag(HELLO, "latest", Digest.of(b"nowhere"))
    one, other = (images.image(store, HELLO, platform) for platform in (AMD64, ARM64))
    for tag, digest in (("1", one.digest), ("2", other.digest), ("3", one.digest)):
        store.tag(HELLO, tag, digest)
    store.delete_manifest(HELLO, one.digest)
    assert store.snapshot() == {HELLO: {"2": other.digest}}
    assert store.manifest(HELLO, one.digest) is None
    assert store.before(HELLO, "1") == one.digest


def test_referrers_and_fallback_are_told_apart(store: Store) -> None:
    """`referrers` are all manifests with that subject, `fallback` is what the tag lists, in each writer's shape."""
    whole = images.built(store, HELLO, [AMD64])
    named = images.referrer(store, HELLO, whole, b"1", predicate=images.SLSA)
    images.fallback(store, HELLO, whole, named, shape=Shape.OLD_COSIGN)
    orphan = images.referrer(store, HELLO, whole, b"2")
    assert {entry["digest"] for entry in store.referrers(HELLO, whole.digest)} == {
        str(named.digest),
        str(orphan.digest),
    }
    assert store.referrers(HELLO, whole.digest)[0]["artifactType"] == images.BUNDLE
    assert store.fallback(HELLO, whole.digest) == [
        {
            "mediaType": images.OCI_MANIFEST,
            "digest": str(named.digest),
            "size": named.size,
            "artifactType": images.EMPTY,
        }
    ]


def test_a_view_sees_and_cannot_write(store: Store) -> None:
    """A hook's view reads everything, and has no way to change anything."""
    whole = images.built(store, HELLO, [AMD64, ARMV7], tag="1.0.0")
    images.attach(store, HELLO, whole, b"bundle")
    view = View(store)
    found = view.manifest(HELLO, "1.0.0")
    assert found is not None
    assert found.digest == whole.digest
    assert view.tags(HELLO) == store.tags(HELLO)
    assert view.fallback(HELLO, whole.digest) == view.referrers(HELLO, whole.digest)
    assert view.blob(HELLO, Digest.of(b"bundle")) == b"bundle"
    assert view.blob("mirror/other", Digest.of(b"bundle")) is None
    assert [name for name in dir(view) if not name.startswith("_")] == [
        "blob",
        "fallback",
        "manifest",
        "referrers",
        "tags",
    ]


def test_broken_content_can_be_stored_on_purpose(store: Store) -> None:
    """`check=False` stores an index whose child isn't there, and bytes that aren't a manifest."""
    elsewhere = images.image(store, "mirror/other", AMD64)
    lacking = images.index(store, HELLO, elsewhere, tag="1.0.0", check=False)
    store.put_manifest(HELLO, b"not json", images.OCI_INDEX, tag="2.0.0", check=False)
    assert store.snapshot()[HELLO] == {"1.0.0": lacking.digest, "2.0.0": Digest.of(b"not json")}
