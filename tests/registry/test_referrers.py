from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Malformed
from reconciler.local.registry import Fault, LocalRegistry, Manners, on
from reconciler.local.registry import Referrers as Api
from reconciler.local.registry.actions import reply_error
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry import media, referrers
from reconciler.registry.answers import Answer
from reconciler.registry.referrers import Referrers, has_no_api, is_listing, listing_digest
from tests.registry.support import Script, client, error, repository, scripted
from tests.support.images import Built, Shape, attach, built

AMD64 = Platform.parse("linux/amd64")


def stock(registry: LocalRegistry, name: str = "mirror/hello", bundles: int = 2) -> Built:
    whole = built(registry.store, name, [AMD64], text=name, tag="1.0.0")
    for number in range(bundles):
        attach(registry.store, name, whole, b"bundle %d" % number)
    return whole


@pytest.mark.parametrize("api", list(Api))
async def test_everything_attached_is_found_with_and_without_the_api(tmp_path: Path, api: Api) -> None:
    """API, none (as GHCR or as distribution says it), or one that always answers an empty list (protocols 2.14)."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api, strict_accept=True)) as registry:
        whole = stock(registry)
        index = registry.store.fallback("mirror/hello", whole.digest)
        async with client(registry) as asked:
            found = await asked.referrers(repository(registry), whole.digest)
            assert {str(d.digest) for d in found.descriptors} == {entry["digest"] for entry in index}
            assert {d.artifact_type for d in found.descriptors} == {entry["artifactType"] for entry in index}
            assert all(d.annotations for d in found.descriptors)
            assert found.from_api is (api in (Api.API, Api.EMPTY))
            assert found.index is not None
            assert is_listing(found.index) is (api is Api.API)
            assert await asked.head_referrers(repository(registry), whole.digest) == found.index


@pytest.mark.parametrize("api", list(Api))
async def test_nothing_attached_is_said_for_sure(tmp_path: Path, api: Api) -> None:
    """Absent only after both places said so."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api)) as registry:
        whole = stock(registry, bundles=0)
        async with client(registry) as asked:
            found = await asked.referrers(repository(registry), whole.digest)
            assert found == Referrers((), None, from_api=api in (Api.API, Api.EMPTY))
            assert await asked.head_referrers(repository(registry), whole.digest) == Absent()


@pytest.mark.parametrize(("api", "questions"), [(Api.UNKNOWN, 1), (Api.PAGE, 2), (Api.API, 20)])
async def test_that_a_host_has_no_api_is_learnt_once_a_run(tmp_path: Path, api: Api, questions: int) -> None:
    """By one request, or two where the first has no code; whoever asks meanwhile waits for the answer."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api)) as registry:
        digests = [stock(registry, f"mirror/a{n}").digest for n in range(20)]
        async with client(registry) as asked:
            found = await asyncio.gather(
                *(asked.referrers(repository(registry, f"mirror/a{n}"), d) for n, d in enumerate(digests))
            )
        assert all(len(f.descriptors) == 2 for f in found)
        assert registry.requests.count(kind="referrers") == questions
        assert registry.requests.count(kind="manifest") == (0 if api is Api.API else 20)


@pytest.mark.parametrize("api", [Api.UNKNOWN, Api.PAGE, Api.API])
async def test_a_warm_plan_asks_once_per_evidence_index(tmp_path: Path, api: Api) -> None:
    """With what it was last, one request tells that nothing changed; nothing has to be learnt first."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api)) as registry:
        whole = stock(registry)
        async with client(registry) as asked:
            last = (await asked.referrers(repository(registry), whole.digest)).index
        registry.requests.reset()
        async with client(registry) as asked:
            assert await asked.head_referrers(repository(registry), whole.digest, expected=last) == last
        assert registry.requests.tally() == ({"GET referrers": 1} if api is Api.API else {"HEAD manifest": 1})


@pytest.mark.parametrize("api", [Api.UNKNOWN, Api.API])
async def test_the_index_changes_with_whatever_is_added(tmp_path: Path, api: Api) -> None:
    """So that a recorded one that still holds means that nothing was added or lost."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api)) as registry:
        whole = stock(registry)
        async with client(registry) as asked:
            last = (await asked.referrers(repository(registry), whole.digest)).index
            attach(registry.store, "mirror/hello", whole, b"another", shape=Shape.COSIGN)
            now = await asked.head_referrers(repository(registry), whole.digest, expected=last)
            assert now != last
            assert now == (await asked.referrers(repository(registry), whole.digest)).index


async def test_all_pages_of_the_api_are_read(tmp_path: Path) -> None:
    """And the order or the pages of a listing don't change what stands for it."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=Api.API)) as registry:
        whole = stock(registry, bundles=5)
        async with client(registry) as asked:
            at_once = await asked.referrers(repository(registry), whole.digest)
            registry.manners = Manners(referrers=Api.API, referrers_page=2)
            paged = await asked.referrers(repository(registry), whole.digest)
        assert len(paged.descriptors) == 5
        assert paged == at_once
        assert listing_digest(reversed(paged.descriptors)) == paged.index


async def test_an_unknown_repository_says_nothing_of_the_host(tmp_path: Path) -> None:
    """NAME_UNKNOWN to the first question must not hide the API from the others."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=Api.API)) as registry:
        whole = stock(registry)
        registry.faults.add(Fault(reply_error(404, "NAME_UNKNOWN"), match=on(kind="referrers")))
        async with client(registry) as asked:
            new = await asked.referrers(repository(registry, "mirror/new"), Digest.of(b"x"))
            assert new == Referrers((), None, from_api=False)
            assert (await asked.referrers(repository(registry), whole.digest)).from_api


async def test_a_denied_first_question_is_anothers_affair(tmp_path: Path) -> None:
    """One image that we may not read doesn't make the rest of the host unknown."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=Api.API)) as registry:
        whole = stock(registry)
        denied = Fault(reply_error(403, "DENIED"), match=on(repository="mirror/secret"), times=None)
        registry.faults.add(denied)
        async with client(registry) as asked:
            asking = [
                asked.referrers(repository(registry, "mirror/secret"), whole.digest),
                asked.referrers(repository(registry), whole.digest),
            ]
            first, second = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(first, Exception)
        assert isinstance(second, Referrers)


async def test_the_etag_of_the_fallback_index_comes_along(tmp_path: Path) -> None:
    """For If-Match, where the registry gives one (protocols 1.8)."""
    with LocalRegistry(tmp_path, manners=Manners(conditional=True)) as registry:
        whole = stock(registry)
        async with client(registry) as asked:
            assert (await asked.referrers(repository(registry), whole.digest)).etag


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"schemaVersion":2,"manifests":[]}'),
        (media.OCI_MANIFEST, b'{"schemaVersion":2,"manifests":[]}'),
        (media.OCI_INDEX, b"{}"),
        (media.OCI_INDEX, b'{"manifests":[{"digest":"x"}]}'),
        (media.OCI_INDEX, b'{"manifests":{}}'),
        (media.OCI_INDEX, b"<html>"),
    ],
)
async def test_a_list_that_is_none_is_malformed_not_empty(content_type: str, body: bytes) -> None:
    """Evidence is missing only where a whole list says so."""
    answer = httpx.Response(200, headers={"content-type": content_type}, content=body)
    async with scripted(Script(lambda _: answer)) as asked:
        with pytest.raises(Malformed):
            await asked.referrers(Repository.parse("a.example/b"), Digest.of(b"x"))


async def test_a_fallback_tag_that_is_no_index_is_malformed() -> None:
    """As the spec wants it: report failure (distribution-spec, referrers tag schema)."""
    image = httpx.Response(200, headers={"content-type": media.OCI_MANIFEST}, content=b"{}")

    def answer(request: httpx.Request) -> httpx.Response:
        return error(404, "MANIFEST_UNKNOWN") if "/referrers/" in request.url.path else image

    async with scripted(Script(answer)) as asked:
        with pytest.raises(Malformed):
            await asked.referrers(Repository.parse("a.example/b"), Digest.of(b"x"))


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (404, ["MANIFEST_UNKNOWN", ""], True),
        (404, ["UNSUPPORTED", ""], None),
        (405, ["UNSUPPORTED", ""], None),
        (404, None, None),
        (405, None, None),
        (501, None, None),
        (404, ["NAME_UNKNOWN", ""], False),
        (404, ["DENIED", ""], False),
        (404, ["MANIFEST_UNKNOWN", "Accept header does not support OCI indexes"], False),
        (200, None, False),
        (401, None, False),
        (403, ["MANIFEST_UNKNOWN", ""], False),
        (500, None, False),
    ],
)
def test_what_says_that_there_is_no_api(status: int, body: list[str] | None, verdict: bool | None) -> None:
    """The registry's own code does at once, a bare 404 only if repeated, all else doesn't."""
    errors: Any = {"errors": [{"code": body[0], "message": body[1]}]} if body else None
    data = json.dumps(errors).encode() if errors else b"404 page not found\n"
    assert has_no_api(Answer(status, httpx.Headers(), data)) is verdict
    assert has_no_api(Answer(status, httpx.Headers(), data, elsewhere=True)) is False


@given(st.binary(max_size=200))
def test_any_list_is_read_or_malformed(data: bytes) -> None:
    """Nothing but our own error comes out of the reader."""
    try:
        referrers.read(data, "x")
    except Malformed:
        return
