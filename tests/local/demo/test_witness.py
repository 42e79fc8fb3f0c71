"""The witness finds every tag that is put before it is finished, and only those."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ReconcileError
from reconciler.local.demo.witness import Witness
from reconciler.local.images import PLATFORMS
from reconciler.local.registry import Store, View
from tests.support import images

NAME = "mirror/hello"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty registry's store."""
    store = Store(tmp_path)
    yield store
    store.close()


def test_a_whole_and_signed_tag_is_seen(store: Store) -> None:
    """Attestation manifests in the index are no platforms and don't disturb."""
    witness = Witness("mirror", PLATFORMS)
    whole = images.built(store, NAME, PLATFORMS)
    images.attach(store, NAME, whole, b"{}")
    witness(NAME, "1.0.0", whole.digest, View(store))
    assert witness.seen == [f"{NAME}:1.0.0"]


def test_an_unsigned_tag_is_refused(store: Store) -> None:
    """Whole is not enough."""
    whole = images.built(store, NAME, PLATFORMS)
    with pytest.raises(ReconcileError, match="nothing signs it"):
        Witness("mirror", PLATFORMS)(NAME, "1.0.0", whole.digest, View(store))


@pytest.mark.parametrize("made", ["index", "image"])
def test_a_tag_that_lacks_a_platform_is_refused(store: Store, made: str) -> None:
    """Signed is not enough; and a bare image is for one platform at most."""
    amd64 = images.image(store, NAME, PLATFORMS[0])
    half = images.index(store, NAME, amd64) if made == "index" else amd64
    images.attach(store, NAME, half, b"{}")
    with pytest.raises(ReconcileError, match=r"it lacks .*linux/arm64"):
        Witness("mirror", PLATFORMS)(NAME, "1.0.0", half.digest, View(store))


def test_other_repositories_and_tags_of_referrers_are_none_of_its_business(store: Store) -> None:
    """Base images, and the fallback tags of what is attached, are no tags of the mirror."""
    witness = Witness("mirror", PLATFORMS)
    half = images.image(store, "base/busybox", PLATFORMS[0])
    witness("base/busybox", "latest", half.digest, View(store))
    whole = images.built(store, NAME, PLATFORMS)
    witness(NAME, whole.digest.fallback_tag, whole.digest, View(store))
    assert witness.seen == []
