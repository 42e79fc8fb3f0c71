from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from reconciler.errors import Malformed, RegistryError, TooLarge, Unreachable
from reconciler.local.registry import Fault, LocalRegistry, Manners, on
from reconciler.local.registry.actions import Reset, WrongType, reply_error
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry import media
from reconciler.registry.descriptor import Descriptor, Manifest
from tests.registry.support import Script, Time, client, error, names_in, repository, scripted
from tests.support.images import built, image

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
GHCR = Repository.parse("ghcr.example/mirror/hello")
DATA = b'{"schemaVersion":2}'
DIGEST = Digest.of(DATA)


async def test_what_is_there_is_described_by_one_head(tmp_path: Path) -> None:
    """Digest, type and size of a tag or a digest; one request each, and no other."""
    with LocalRegistry(tmp_path, manners=Manners(strict_accept=True)) as registry:
        whole = built(registry.store, "mirror/hello", [AMD64, ARM64], tag="1.0.0")
        async with client(registry) as asked:
            for reference in ("1.0.0", whole.digest):
                found = await asked.head(repository(registry), reference)
                assert found == Descriptor(whole.media_type, whole.digest, whole.size)
        assert registry.requests.tally() == {"HEAD manifest": 2}
        assert asked.requests == {"head": 2}


async def test_a_manifest_comes_whole_and_checked(tmp_path: Path) -> None:
    """By tag and by digest, of every type that there is (protocols 1.4)."""
    with LocalRegistry(tmp_path, manners=Manners(strict_accept=True, conditional=True)) as registry:
        for docker in (False, True):
            one = image(registry.store, "mirror/hello", AMD64, docker=docker, tag="one")
            whole = built(registry.store, "mirror/hello", [AMD64], docker=docker, tag="whole")
            async with client(registry) as asked:
                for stored, tag in ((one, "one"), (whole, "whole")):
                    found = await asked.manifest(repository(registry), tag)
                    assert isinstance(found, Manifest)
                    assert (found.data, found.digest) == (stored.data, stored.digest)
                    assert (found.media_type, found.size) == (stored.media_type, stored.size)
                    assert found.etag
                    assert await asked.manifest(repository(registry), stored.digest) == found


@pytest.mark.parametrize("ghcr", [False, True])
async def test_absence_is_said_by_a_get(tmp_path: Path, ghcr: bool) -> None:
    """A HEAD's 404 has no code and so isn't believed before a GET's has one (rule 1)."""
    manners = Manners(strict_accept=True, redirects=True, digest_header=False) if ghcr else Manners()
    with LocalRegistry(tmp_path, manners=manners) as registry:
        registry.store.put_blob("mirror/hello", b"there")
        async with client(registry) as asked:
            assert await asked.head(repository(registry), "1.0.0") == Absent()
            assert registry.requests.tally() == {"HEAD manifest": 1, "GET manifest": 1}
            assert await asked.manifest(repository(registry), Digest.of(b"x")) == Absent()
            assert await asked.blob(repository(registry), Digest.of(b"x"), cap=10) == Absent()
            assert await asked.manifest(repository(registry, "mirror/nothing"), "1.0.0") == Absent()
            assert await asked.tags(repository(registry, "mirror/nothing")) == Absent()


async def test_a_head_without_a_digest_is_followed_by_a_get(tmp_path: Path) -> None:
    """Docker-Content-Digest is only a SHOULD (protocols 1.3): then the bytes are hashed."""
    with LocalRegistry(tmp_path, manners=Manners(digest_header=False)) as registry:
        stored = image(registry.store, "mirror/hello", AMD64, tag="1")
        async with client(registry) as asked:
            assert await asked.head(repository(registry), "1") == Descriptor(
                stored.media_type, stored.digest, stored.size
            )
        assert registry.requests.tally() == {"HEAD manifest": 1, "GET manifest": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/html", "docker-content-digest": str(DIGEST), "content-length": "19"},
        {"content-type": media.OCI_INDEX, "docker-content-digest": "sha256:zz", "content-length": "19"},
        {"content-type": media.OCI_INDEX, "docker-content-digest": str(DIGEST)},
        {"content-type": media.OCI_INDEX, "docker-content-digest": str(DIGEST), "content-length": "9" * 400},
    ],
)
async def test_a_head_that_cant_be_believed_is_followed_by_a_get(headers: dict[str, str]) -> None:
    """A page of a proxy, a garbled digest, no size: the GET tells."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(200, headers=headers)
        return httpx.Response(200, headers={"content-type": media.OCI_INDEX}, content=DATA)

    script = Script(answer)
    async with scripted(script) as asked:
        assert await asked.head(GHCR, "1") == Descriptor(media.OCI_INDEX, DIGEST, len(DATA))
    assert [r.method for r in script.seen] == ["HEAD", "GET"]


async def test_every_request_for_a_manifest_accepts_all_four_types() -> None:
    """GHCR says "unknown" of what is there where one is missing (protocols 2.9)."""
    script = Script(lambda request: error(404, "MANIFEST_UNKNOWN") if request.method == "GET" else httpx.Response(404))
    async with scripted(script) as asked:
        await asked.head(GHCR, "1")
        await asked.manifest(GHCR, DIGEST)
        await asked.referrers(GHCR, DIGEST)
    for request in script.seen:
        if "/manifests/" in request.url.path:
            assert {part.strip() for part in request.headers["accept"].split(",")} == media.MANIFESTS


@pytest.mark.parametrize(
    ("reference", "headers", "body"),
    [
        ("1", {"docker-content-digest": str(Digest.of(b"other"))}, DATA),
        ("1", {"docker-content-digest": "sha256:0"}, DATA),
        (Digest.of(b"other"), {}, DATA),
        (Digest.of(b"other"), {"docker-content-digest": str(Digest.of(b"other"))}, DATA),
        ("1", {"content-type": "text/html"}, b"<html>"),
        ("1", {"content-type": ""}, DATA),
    ],
)
async def test_bytes_that_dont_match_are_malformed(
    reference: str | Digest, headers: dict[str, str], body: bytes
) -> None:
    """What the answer states, and what was asked for, are both held against the bytes."""
    whole = {"content-type": media.OCI_INDEX} | headers
    async with scripted(Script(lambda _: httpx.Response(200, headers=whole, content=body))) as asked:
        with pytest.raises(Malformed, match=r"ghcr\.example/mirror/hello") as caught:
            await asked.manifest(GHCR, reference)
        assert caught.value.todo


async def test_a_sha512_reference_is_checked_with_sha512() -> None:
    """The digest that was asked for is the one that comes back."""
    digest = Digest("sha512", hashlib.sha512(DATA).hexdigest())
    answer = httpx.Response(200, headers={"content-type": media.OCI_INDEX}, content=DATA)
    async with scripted(Script(lambda _: answer)) as asked:
        found = await asked.manifest(GHCR, digest)
        assert isinstance(found, Manifest)
        assert found.digest == digest


async def test_a_body_over_the_cap_is_too_large_whether_it_says_so_or_not() -> None:
    """Four MiB of a manifest, what the caller says of a blob; and nothing is kept of it."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    def declared(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": media.OCI_INDEX, "content-length": str(2**40)})

    def undeclared(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": media.OCI_INDEX}, content=endless())

    for answer in (declared, undeclared):
        async with scripted(Script(answer)) as asked:
            with pytest.raises(TooLarge):
                await asked.manifest(GHCR, "1")
            with pytest.raises(TooLarge):
                await asked.blob(GHCR, DIGEST, cap=100)


async def test_an_error_body_is_cut_and_still_explains() -> None:
    """A 403 with a body without end is a 403."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"no " * 1000

    script = Script(lambda _: httpx.Response(403, content=endless()))
    async with scripted(script) as asked:
        with pytest.raises(RegistryError, match="403"):
            await asked.manifest(GHCR, "1")


@pytest.mark.parametrize("redirects", [False, True])
async def test_a_blob_comes_whole_from_wherever_it_is(tmp_path: Path, redirects: bool) -> None:
    """From the registry or from its storage; to memory or to a file; checked either way."""
    with LocalRegistry(tmp_path / "registry", manners=Manners(redirects=redirects)) as registry:
        data = bytes(range(256)) * 1000
        digest = registry.store.put_blob("mirror/hello", data)
        async with client(registry) as asked:
            assert await asked.blob(repository(registry), digest, cap=len(data)) == data
            assert await asked.blob_to(repository(registry), digest, tmp_path / "file", cap=len(data)) is None
            with pytest.raises(TooLarge):
                await asked.blob_to(repository(registry), digest, tmp_path / "other", cap=len(data) - 1)
            gone = await asked.blob_to(repository(registry), Digest.of(b"x"), tmp_path / "other", cap=10)
            assert gone == Absent()
        assert (tmp_path / "file").read_bytes() == data
        assert names_in(tmp_path) == ["file", "registry"]


async def test_a_broken_download_starts_anew_and_leaves_nothing(tmp_path: Path) -> None:
    """A file appears whole or not at all, also where the first half came twice."""
    data = b"0123456789" * 100
    digest = Digest.of(data)
    bodies = [data[:500] + b"x" * 500, data]

    async with scripted(Script(lambda _: httpx.Response(200, content=bodies.pop(0)))) as asked:
        with pytest.raises(Malformed):
            await asked.blob_to(GHCR, digest, tmp_path / "file", cap=5000)
        assert names_in(tmp_path) == []
        await asked.blob_to(GHCR, digest, tmp_path / "file", cap=5000)
    assert (tmp_path / "file").read_bytes() == data


async def test_a_file_that_cant_be_written_is_our_own_error(tmp_path: Path) -> None:
    """Nothing of OSError gets out."""
    async with scripted(Script(lambda _: httpx.Response(200, content=DATA))) as asked:
        with pytest.raises(RegistryError, match="can't be written"):
            await asked.blob_to(GHCR, DIGEST, tmp_path / "no" / "folder", cap=100)


# tags


async def test_all_pages_of_a_list_are_read(tmp_path: Path) -> None:
    """Short pages end nothing; the registry's own order stays (protocols 2.11)."""
    with LocalRegistry(tmp_path, manners=Manners(max_page=3, oldest_first=True)) as registry:
        tags = [f"1.{n}.0" for n in (10, 9, 2, 1, 0, 7, 3)]
        for tag in tags:
            image(registry.store, "mirror/hello", AMD64, tag=tag)
        async with client(registry) as asked:
            assert await asked.tags(repository(registry)) == tuple(tags)
        assert registry.requests.tally() == {"GET tags": 3}


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example/v2/mirror/hello/tags/list?last=a>; rel=next",
        "<http://ghcr.example/v2/mirror/hello/tags/list?last=a>; rel=next",
        "</v2/other/tags/list?last=a>; rel=next",
        "</v2/mirror/hello/tags/list?n=1000>; rel=next",
        "garbage; rel=next",
    ],
)
async def test_a_link_that_leads_elsewhere_or_in_a_circle_is_an_error(link: str) -> None:
    """Nothing is asked there, with our token or without it."""
    answer = httpx.Response(200, json={"tags": ["a"]}, headers={"link": link})
    script = Script(lambda _: answer)
    async with scripted(script) as asked:
        with pytest.raises(Malformed, match="its tags"):
            await asked.tags(GHCR)
    assert len(script.seen) == 1


async def test_a_list_without_end_is_an_error() -> None:
    """However it is spelt: a page that always names a new one."""

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("last", "0")) + 1
        link = f'</v2/mirror/hello/tags/list?last={number}>; rel="next"'
        return httpx.Response(200, json={"tags": [f"t{number}"]}, headers={"link": link})

    async with scripted(Script(answer)) as asked:
        with pytest.raises(Malformed, match="over 1000 pages"):
            await asked.tags(GHCR)


@pytest.mark.parametrize("body", [b'{"tags":["-x"]}', b'{"tags":[1]}', b'{"tags":{}}', b"[]", b"<html>"])
async def test_a_list_of_something_else_is_malformed(body: bytes) -> None:
    """A name that no tag can have is not passed on."""
    async with scripted(Script(lambda _: httpx.Response(200, content=body))) as asked:
        with pytest.raises(Malformed):
            await asked.tags(GHCR)


async def test_no_tags_are_an_empty_list_even_as_null() -> None:
    """Some registries send null (protocols 1.5)."""
    async with scripted(Script(lambda _: httpx.Response(200, content=b'{"tags":null}'))) as asked:
        assert await asked.tags(GHCR) == ()


# retries


async def test_what_passes_is_waited_out(tmp_path: Path) -> None:
    """A reset and a 500 later, the answer is the right one; the waits are short and grow."""
    time = Time()
    with LocalRegistry(tmp_path) as registry:
        stored = image(registry.store, "mirror/hello", AMD64, tag="1")
        registry.faults.add(Fault(reply_error(500, "UNKNOWN"), match=on(method="GET")))
        async with client(registry, time=time) as asked:
            found = await asked.manifest(repository(registry), "1")
            assert isinstance(found, Manifest)
            assert found.digest == stored.digest
            assert asked.requests["manifest"] == 2
        assert len(time.slept) == 1
        assert 0.2 < time.slept[0] < 1


async def test_patience_ends() -> None:
    """A host that asks to wait longer than we ever would is an error at once, and isn't waited for."""
    time = Time()
    script = Script(lambda _: httpx.Response(429, headers={"retry-after": "3600"}))
    async with scripted(script, time=time) as asked:
        with pytest.raises(RegistryError, match="429"):
            await asked.manifest(GHCR, "1")
    assert len(script.seen) == 1
    assert time.slept == []


async def test_a_host_that_is_down_isnt_asked_for_every_tag() -> None:
    """A thousand tags of it fail at once after the first few, each with its own name; later it gets another chance."""
    time = Time()
    down = True

    def answer(request: httpx.Request) -> httpx.Response:
        if down:
            raise httpx.ConnectError("no route to host")
        return error(404, "MANIFEST_UNKNOWN")

    script = Script(answer)
    async with scripted(script, time=time) as asked:
        for number in range(1000):
            with pytest.raises(Unreachable, match=f"ghcr.example/mirror/hello:{number}: .*can't be reached"):
                await asked.manifest(GHCR, str(number))
        assert len(script.seen) < 20
        down = False
        time.now += 60
        assert await asked.manifest(GHCR, "1") == Absent()


async def test_images_that_fail_dont_take_the_others_with_them(tmp_path: Path) -> None:
    """One repository that always breaks leaves every other of the same host known."""
    with LocalRegistry(tmp_path) as registry:
        image(registry.store, "mirror/fine", AMD64, tag="1")
        registry.faults.add(Fault(Reset(), match=on(repository="mirror/bad"), times=None))
        async with client(registry) as asked:
            for _ in range(15):
                with pytest.raises(Unreachable):
                    await asked.manifest(repository(registry, "mirror/bad"), "1")
                assert isinstance(await asked.manifest(repository(registry, "mirror/fine"), "1"), Manifest)


async def test_the_number_of_requests_in_flight_is_bounded(tmp_path: Path) -> None:
    """Whatever is asked at once, so many are sent at once."""
    with LocalRegistry(tmp_path, latency=0.002) as registry:
        image(registry.store, "mirror/hello", AMD64, tag="1")
        async with client(registry, concurrency=3) as asked:
            await asyncio.gather(*(asked.head(repository(registry), "1") for _ in range(60)))
        assert registry.requests.max_in_flight == 3


async def test_a_cancelled_question_leaves_the_others_alone(tmp_path: Path) -> None:
    """Neither the one that finds out how the host is spoken to, nor one that waits for it, holds up the rest."""
    with LocalRegistry(tmp_path, latency=0.02) as registry:
        stored = image(registry.store, "mirror/hello", AMD64, tag="1")
        async with client(registry) as asked:
            tasks = [asyncio.ensure_future(asked.head(repository(registry), "1")) for _ in range(6)]
            await asyncio.sleep(0)
            for task in tasks[:2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(f) for f in found[:2]] == [asyncio.CancelledError] * 2
        assert {f.digest for f in found[2:] if isinstance(f, Descriptor)} == {stored.digest}
        assert len(found[2:]) == 4


async def test_a_wrong_type_is_no_manifest(tmp_path: Path) -> None:
    """A sign-in page with status 200 says nothing of the image."""
    with LocalRegistry(tmp_path) as registry:
        image(registry.store, "mirror/hello", AMD64, tag="1")
        registry.faults.add(Fault(WrongType(), times=None))
        async with client(registry) as asked:
            with pytest.raises(Malformed, match="text/html"):
                await asked.head(repository(registry), "1")
