"""The local registry's pure parts: paths, durations, ranges, whatever comes in."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.local.registry.answer import Refusal
from reconciler.local.registry.contents import INDEXES, MANIFESTS, read
from reconciler.local.registry.gate import Gate
from reconciler.local.registry.limiter import Limiter, go_duration
from reconciler.local.registry.route import Kind, Route, route
from tests.support.registries import Clock

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("path", "kind", "repository", "reference"),
    [
        ("/v2/", Kind.BASE, "", ""),
        ("/v2", Kind.BASE, "", ""),
        ("/token", Kind.TOKEN, "", ""),
        ("/v2/a/manifests/1.0", Kind.MANIFEST, "a", "1.0"),
        ("/v2/a/b/c/manifests/" + DIGEST, Kind.MANIFEST, "a/b/c", DIGEST),
        ("/v2/a/manifests/" + DIGEST.replace(":", "%3A"), Kind.MANIFEST, "a", DIGEST),
        ("/v2/manifests/manifests/manifests", Kind.MANIFEST, "manifests", "manifests"),
        ("/v2/a/blobs/b/manifests/1", Kind.MANIFEST, "a/blobs/b", "1"),
        ("/v2/a/blobs/uploads/", Kind.UPLOAD, "a", ""),
        ("/v2/a/blobs/uploads/0f", Kind.UPLOAD, "a", "0f"),
        ("/v2/a/blobs/uploads/blobs/" + DIGEST, Kind.BLOB, "a/blobs/uploads", DIGEST),
        ("/v2/a/tags/list", Kind.TAGS, "a", "list"),
        ("/v2/a/tags/list/", Kind.OTHER, "", ""),
        ("/v2/a/referrers/" + DIGEST, Kind.REFERRERS, "a", DIGEST),
        ("/storage/" + DIGEST, Kind.STORAGE, "", DIGEST),
        ("/v2/a/manifests/", Kind.OTHER, "", ""),
        ("/v1/_ping", Kind.OTHER, "", ""),
        ("http://other/v2/", Kind.OTHER, "", ""),
        ("", Kind.OTHER, "", ""),
    ],
)
def test_paths_lead_where_they_should(path: str, kind: Kind, repository: str, reference: str) -> None:
    """Each of the spec's ends is told from the others, repositories named like an end included."""
    assert route(path) == Route(kind, repository, reference)


@given(st.text())
def test_any_path_leads_somewhere(path: str) -> None:
    """No path breaks the router, and no name outside the grammar passes its check."""
    there = route(f"/v2/{path}")
    if there.repository:
        with suppress(Refusal):
            there.check()
            assert re.fullmatch(r"[a-z0-9./_-]+", there.repository)
            assert ".." not in there.repository


@given(st.binary() | st.text().map(str.encode), st.sampled_from(sorted(INDEXES | MANIFESTS)))
def test_any_bytes_are_a_manifest_or_refused(data: bytes, media_type: str) -> None:
    """Whatever is pushed as a manifest is read or refused; nothing else comes out."""
    with suppress(Refusal):
        assert read(data, media_type).media_type == media_type


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(DIGEST),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["digest", "size", "mediaType", "x"]), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "subject", "annotations", "artifactType"]), json_values
    ),
    st.sampled_from(sorted(INDEXES | MANIFESTS)),
)
def test_any_json_is_a_manifest_or_refused(value: dict[str, object], media_type: str) -> None:
    """JSON of the right outline with anything inside is read or refused as well."""
    with suppress(Refusal):
        assert read(json.dumps({"schemaVersion": 2, **value}).encode(), media_type).media_type == media_type


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1e-9, "1ns"),
        (0.000880092, "880.092µs"),
        (0.010305464, "10.305464ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (-1, "0s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    """The forms that were seen from GHCR, and Go's others."""
    assert go_duration(seconds) == text


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50), st.integers(1, 6000))
def test_the_limit_holds_over_any_time(pauses: list[float], per_minute: int) -> None:
    """However requests are spread, no more pass than the bucket held at first and what flowed in since."""
    clock = Clock()
    limiter = Limiter(clock)
    passed = 0
    for pause in pauses:
        clock.turn(pause)
        passed += limiter.check(per_minute) is None
    assert passed <= max(1, per_minute / 60) + sum(pauses) * per_minute / 60 + 1e-6


def test_a_gate_opens_once_for_all() -> None:
    """Whoever waits goes on when it opens, whoever comes later doesn't wait, and a wait can be bounded."""

    async def through() -> list[str]:
        gate, passed = Gate(), []
        await gate.wait(0)
        waiting = asyncio.create_task(gate.wait())
        await asyncio.sleep(0)
        assert gate.arrived(1)
        assert not waiting.done()
        gate.open()
        await waiting
        passed.append("waited")
        await gate.wait()
        passed.append("walked")
        return passed

    assert asyncio.run(through()) == ["waited", "walked"]
