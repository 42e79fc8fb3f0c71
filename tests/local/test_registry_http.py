"""The local registry over HTTP: pulling and pushing as distribution-spec v1.1.1 has it."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from reconciler.errors import ReconcileError
from reconciler.local.registry import Fault, LocalRegistry, Manners, Referrers
from reconciler.local.registry.actions import Stall
from reconciler.model.digest import Digest
from tests.support import images
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import code, message, served

HELLO = "mirror/hello"
BLOB = b"some layer" * 1000
DIGEST = str(Digest.of(BLOB))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the registry keeps what it has."""
    return tmp_path / "registry"


@pytest.fixture
def both(root: Path) -> Iterator[tuple[LocalRegistry, httpx.Client]]:
    """A plain registry and a client."""
    with served(root) as both:
        yield both


def push_config(client: httpx.Client) -> dict[str, object]:
    """Push `{}` as a blob; its descriptor."""
    digest = str(Digest.of(b"{}"))
    answer = client.post(f"/v2/{HELLO}/blobs/uploads/", params={"digest": digest}, content=b"{}")
    assert answer.status_code == 201
    return {"mediaType": images.OCI_CONFIG, "digest": digest, "size": 2}


def manifest(config: dict[str, object], **more: object) -> bytes:
    """An image manifest without layers."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": config, "layers": [], **more}
    ).encode()


def test_the_base_says_yes(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-1: GET /v2/ is 200; another path of nobody's is 404."""
    _, client = both
    assert client.get("/v2/").status_code == 200
    assert client.get("/").status_code == 404
    assert client.get("/v2/a/tags/other").status_code == 404


@pytest.mark.parametrize("way", ["post", "post-put", "patch", "chunks"])
def test_a_blob_comes_back_as_it_was_pushed(both: tuple[LocalRegistry, httpx.Client], way: str) -> None:
    """end-2, 4, 5, 6: whatever way a blob is pushed, HEAD and GET give its size, digest and bytes."""
    registry, client = both
    start = f"/v2/{HELLO}/blobs/uploads/"
    if way == "post":
        done = client.post(start, params={"digest": DIGEST}, content=BLOB)
    else:
        begun = client.post(start)
        assert begun.status_code == 202
        where = begun.headers["Location"]
        rest = BLOB
        if way == "patch":
            where = client.patch(where, content=BLOB).headers["Location"]
            rest = b""
        if way == "chunks":
            first = client.patch(where, content=BLOB[:4000], headers={"Content-Range": "0-3999"})
            assert (first.status_code, first.headers["Range"]) == (202, "0-3999")
            assert client.get(where).headers["Range"] == "0-3999"
            rest = BLOB[4000:]
        done = client.put(where, params={"digest": DIGEST}, content=rest)
    assert (done.status_code, done.headers["Docker-Content-Digest"]) == (201, DIGEST)
    assert done.headers["Location"] == f"/v2/{HELLO}/blobs/{DIGEST}"
    head = client.head(f"/v2/{HELLO}/blobs/{DIGEST}")
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(BLOB)), b"")
    assert client.get(f"/v2/{HELLO}/blobs/{DIGEST}").content == BLOB
    assert registry.store.blob(HELLO, Digest.parse(DIGEST)) == BLOB


def test_a_chunk_out_of_order_is_refused(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-5: a chunk that doesn't follow the last is 416, and the upload goes on where it was."""
    _, client = both
    where = client.post(f"/v2/{HELLO}/blobs/uploads/").headers["Location"]
    client.patch(where, content=BLOB[:10], headers={"Content-Range": "0-9"})
    late = client.patch(where, content=BLOB[20:], headers={"Content-Range": f"20-{len(BLOB) - 1}"})
    assert (late.status_code, late.headers["Range"]) == (416, "0-9")
    done = client.put(where, params={"digest": DIGEST}, content=BLOB[10:])
    assert done.status_code == 201


def test_bytes_that_differ_from_their_digest_are_refused(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """A blob or manifest whose bytes aren't what its digest says is DIGEST_INVALID and not stored."""
    registry, client = both
    wrong = client.post(f"/v2/{HELLO}/blobs/uploads/", params={"digest": DIGEST}, content=b"other")
    assert (wrong.status_code, code(wrong)) == (400, "DIGEST_INVALID")
    data = manifest(push_config(client))
    wrong = client.put(f"/v2/{HELLO}/manifests/{DIGEST}", content=data, headers={"Content-Type": images.OCI_MANIFEST})
    assert (wrong.status_code, code(wrong)) == (400, "DIGEST_INVALID")
    assert registry.store.manifests(HELLO) == ()
    assert not list((registry.root / "unfinished").iterdir())


def test_an_upload_goes_on_after_a_broken_connection(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """What came before a client broke off isn't a blob; the session says how much it has, and goes on from there."""
    registry, client = both
    where = client.post(f"/v2/{HELLO}/blobs/uploads/").headers["Location"]
    connection = http.client.HTTPConnection(registry.host)
    connection.putrequest("PUT", f"{where}?digest={DIGEST}")
    connection.putheader("Content-Length", str(len(BLOB)))
    connection.endheaders(BLOB[:4000])
    upload = registry.root / "unfinished"
    deadline = time.monotonic() + 10
    while next(upload.iterdir()).stat().st_size < 4000:
        assert time.monotonic() < deadline
    connection.close()
    while registry.requests.in_flight:
        assert time.monotonic() < deadline
    assert registry.store.blob(HELLO, Digest.parse(DIGEST)) is None
    assert client.get(where).headers["Range"] == "0-3999"
    done = client.put(where, params={"digest": DIGEST}, content=BLOB[4000:])
    assert done.status_code == 201
    assert client.get(f"/v2/{HELLO}/blobs/{DIGEST}").content == BLOB


def test_a_client_may_ask_before_it_sends(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """`Expect: 100-continue` is answered with 100 before the body, as curl waits for."""
    registry, _ = both
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as connection:
        head = f"POST /v2/{HELLO}/blobs/uploads/?digest={Digest.of(b'hello')} HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"{head}Content-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.makefile("rb").readline() == b"HTTP/1.1 201 Created\r\n"


def test_a_cancelled_upload_is_gone(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """DELETE of an upload removes its file; after that, and for one of another repository, it is unknown."""
    registry, client = both
    where = client.post(f"/v2/{HELLO}/blobs/uploads/").headers["Location"]
    assert code(client.patch(where.replace("hello", "other"), content=b"x")) == "BLOB_UPLOAD_UNKNOWN"
    client.patch(where, content=b"x")
    assert client.delete(where).status_code == 204
    assert code(client.patch(where, content=b"x")) == "BLOB_UPLOAD_UNKNOWN"
    assert not list((registry.root / "unfinished").iterdir())


def test_a_blob_is_mounted_from_another_repository(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-11: a mount of what is there is 201 without bytes, of what isn't a plain upload."""
    registry, client = both
    registry.store.put_blob("mirror/base", BLOB)
    start = f"/v2/{HELLO}/blobs/uploads/"
    assert client.post(start, params={"mount": DIGEST, "from": "mirror/base"}).status_code == 201
    assert client.get(f"/v2/{HELLO}/blobs/{DIGEST}").content == BLOB
    other = str(Digest.of(b"not there"))
    assert client.post(start, params={"mount": other, "from": "mirror/base"}).status_code == 202


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, BLOB[:10]),
        ("bytes=9990-", 206, BLOB[9990:]),
        ("bytes=-10", 206, BLOB[-10:]),
        ("bytes=0-99999999", 206, BLOB),
        ("bytes=10000-", 416, b""),
        ("bytes=5-4", 416, b""),
        ("pages=1-2", 200, BLOB),
        ("bytes=0-1,3-4", 200, BLOB),
    ],
)
def test_parts_of_a_blob(both: tuple[LocalRegistry, httpx.Client], asked: str, status: int, part: bytes) -> None:
    """A Range gives that part, one out of reach 416, one that isn't understood everything."""
    registry, client = both
    registry.store.put_blob(HELLO, BLOB)
    answer = client.get(f"/v2/{HELLO}/blobs/{DIGEST}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, part)


def test_sha512_works_as_well(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """Blobs and manifests may be addressed by sha512."""
    _, client = both
    digest = "sha512:" + hashlib.sha512(BLOB).hexdigest()
    done = client.post(f"/v2/{HELLO}/blobs/uploads/", params={"digest": digest}, content=BLOB)
    assert done.status_code == 201
    assert client.get(f"/v2/{HELLO}/blobs/{digest}").content == BLOB
    data = manifest(push_config(client))
    where = f"/v2/{HELLO}/manifests/sha512:{hashlib.sha512(data).hexdigest()}"
    assert client.put(where, content=data, headers={"Content-Type": images.OCI_MANIFEST}).status_code == 201
    assert client.get(where).content == data


def test_a_manifest_comes_back_byte_for_byte(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-3, 7: pushed by tag or digest, GET gives the very bytes, HEAD the same headers without them."""
    _, client = both
    data = manifest(push_config(client)) + b"\n\n"
    done = client.put(f"/v2/{HELLO}/manifests/1.0.0", content=data, headers={"Content-Type": images.OCI_MANIFEST})
    digest = str(Digest.of(data))
    assert (done.status_code, done.headers["Docker-Content-Digest"]) == (201, digest)
    for reference in ("1.0.0", digest):
        got = client.get(f"/v2/{HELLO}/manifests/{reference}")
        head = client.head(f"/v2/{HELLO}/manifests/{reference}")
        assert (got.status_code, got.content) == (200, data)
        assert head.content == b""
        for name in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
            assert got.headers[name] == head.headers[name]
        assert got.headers["Content-Type"] == images.OCI_MANIFEST


def test_what_is_not_there_has_the_right_code(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """404s name what is unknown; a HEAD's 404 has no body and so no code."""
    registry, client = both
    for path in ("manifests/latest", "tags/list"):
        assert code(client.get(f"/v2/nobody/{path}")) == "NAME_UNKNOWN"
    registry.store.put_blob(HELLO, BLOB)
    for reference in ("latest", DIGEST, ".no-tag"):
        answer = client.get(f"/v2/{HELLO}/manifests/{reference}")
        assert (answer.status_code, code(answer)) == (404, "MANIFEST_UNKNOWN")
    assert code(client.get(f"/v2/{HELLO}/blobs/{Digest.of(b'x')}")) == "BLOB_UNKNOWN"
    head = client.head(f"/v2/{HELLO}/manifests/latest")
    assert (head.status_code, head.content) == (404, b"")


def test_a_manifest_with_missing_parts_is_refused(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """A manifest whose blobs aren't there is MANIFEST_BLOB_UNKNOWN; a missing subject is no reason."""
    registry, client = both
    registry.store.put_blob(HELLO, b"something")
    gone = {"mediaType": images.OCI_CONFIG, "digest": str(Digest.of(b"gone")), "size": 4}
    headers = {"Content-Type": images.OCI_MANIFEST}
    lacking = client.put(f"/v2/{HELLO}/manifests/1", content=manifest(gone), headers=headers)
    assert (lacking.status_code, code(lacking)) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert registry.store.snapshot()[HELLO] == {}
    data = manifest(push_config(client), subject=gone)
    assert client.put(f"/v2/{HELLO}/manifests/{Digest.of(data)}", content=data, headers=headers).status_code == 201


def test_a_manifest_over_four_mebibytes_is_413(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """Size is capped, announced or not."""
    _, client = both
    large = b" " * (4 * 1024 * 1024 + 1)
    for body in (large, iter([large])):
        answer = client.put(f"/v2/{HELLO}/manifests/1", content=body)
        assert (answer.status_code, code(answer)) == (413, "SIZE_INVALID")


@pytest.mark.parametrize("name", ["..", "a/../b", "UPPER", "a//b", "%2e%2e/%2e%2e/etc", "a%00b", "a%0ab", "-a", "a_-b"])
def test_hostile_names_are_refused(both: tuple[LocalRegistry, httpx.Client], name: str) -> None:
    """A name outside the grammar is NAME_INVALID, however it is encoded, for reading and for writing."""
    registry, _ = both
    connection = http.client.HTTPConnection(registry.host)  # it sends a path as it is, where httpx tidies it up
    for method, rest in (("GET", "manifests/1"), ("GET", "tags/list"), ("POST", "blobs/uploads/")):
        connection.request(method, f"/v2/{name}/{rest}")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["errors"][0]["code"]) == (400, "NAME_INVALID")
    connection.close()
    assert not registry.store.repositories()


def test_hostile_references_are_refused(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """What is neither tag nor digest can't be pushed to, and digests of other kinds aren't understood."""
    _, client = both
    data = manifest(push_config(client))
    headers = {"Content-Type": images.OCI_MANIFEST}
    for reference in (".hidden", "-x", "a" * 129, "a%2Fb", "ä"):
        assert client.put(f"/v2/{HELLO}/manifests/{reference}", content=data, headers=headers).status_code in (400, 404)
    for digest in ("md5:abc", "sha256:abc", "sha256:" + "A" * 64, "sha256:" + "0" * 63 + "%0a"):
        assert code(client.get(f"/v2/{HELLO}/manifests/{digest}")) == "DIGEST_INVALID"
        assert code(client.get(f"/v2/{HELLO}/blobs/{digest}")) == "DIGEST_INVALID"


def test_tags_are_listed_page_by_page(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-8: `n` and `last` page through the tags in order, Link leads on, n=0 is empty, nonsense is 400."""
    registry, client = both
    one = images.image(registry.store, HELLO, AMD64)
    for tag in ("b", "A", "c", "a", "10"):
        registry.store.tag(HELLO, tag, one.digest)
    path = f"/v2/{HELLO}/tags/list"
    assert client.get(path).json() == {"name": HELLO, "tags": ["10", "A", "a", "b", "c"]}
    seen, where = [], f"{path}?n=2"
    while where:
        answer = client.get(where)
        seen.append(answer.json()["tags"])
        where = answer.links.get("next", {}).get("url", "")
    assert seen == [["10", "A"], ["a", "b"], ["c"]]
    none = client.get(f"{path}?n=0")
    assert (none.json()["tags"], "Link" in none.headers) == ([], False)
    assert client.get(f"{path}?n=many").status_code == 400
    assert client.get(f"{path}?last=A").json()["tags"] == ["a", "b", "c"]


def test_deleting(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """end-9, 10: a tag goes alone, a manifest with its tags, a blob by its digest; a second time each is 404."""
    registry, client = both
    one = images.image(registry.store, HELLO, AMD64, tag="1")
    registry.store.tag(HELLO, "2", one.digest)
    for expected in (202, 404):
        assert client.delete(f"/v2/{HELLO}/manifests/1").status_code == expected
    assert client.get(f"/v2/{HELLO}/manifests/2").status_code == 200
    for expected in (202, 404):
        assert client.delete(f"/v2/{HELLO}/manifests/{one.digest}").status_code == expected
    assert client.get(f"/v2/{HELLO}/manifests/2").status_code == 404
    config = one.json()["config"]["digest"]
    for expected in (202, 404):
        assert client.delete(f"/v2/{HELLO}/blobs/{config}").status_code == expected


def test_a_registry_may_delete_nothing(root: Path) -> None:
    """With `deletes` off, as on GHCR, DELETE is 405 and changes nothing."""
    with served(root, manners=Manners(deletes=False)) as (registry, client):
        one = images.image(registry.store, HELLO, AMD64, tag="1")
        answer = client.delete(f"/v2/{HELLO}/manifests/1")
        assert (answer.status_code, code(answer)) == (405, "UNSUPPORTED")
        assert registry.store.snapshot() == {HELLO: {"1": one.digest}}


def test_the_referrers_api(root: Path) -> None:
    """end-12: an index of all referrers with type and annotations, filtered on demand, in pages, never 404."""
    with served(root, manners=Manners(referrers=Referrers.API, referrers_page=1)) as (registry, client):
        whole = images.built(registry.store, HELLO, [AMD64, ARM64])
        bundle = images.referrer(registry.store, HELLO, whole, b"1", predicate=images.SLSA)
        other = images.referrer(registry.store, HELLO, whole, b"2", kind="application/example")
        path = f"/v2/{HELLO}/referrers/{whole.digest}"
        first = client.get(path)
        assert first.headers["Content-Type"] == images.OCI_INDEX
        assert first.json()["manifests"] == [bundle.descriptor()]
        second = client.get(first.links["next"]["url"])
        assert second.json()["manifests"] == [other.descriptor()]
        assert "next" not in second.links
        only = client.get(path, params={"artifactType": "application/example"})
        assert only.headers["OCI-Filters-Applied"] == "artifactType"
        assert only.json()["manifests"] == [other.descriptor()]
        assert client.get(f"/v2/{HELLO}/referrers/{DIGEST}").json()["manifests"] == []
        assert client.get(f"/v2/{HELLO}/referrers/latest").status_code == 400
        pushed = client.put(
            f"/v2/{HELLO}/manifests/{other.digest}", content=other.data, headers={"Content-Type": images.OCI_MANIFEST}
        )
        assert pushed.headers["OCI-Subject"] == str(whole.digest)


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        (Referrers.UNKNOWN, 404, b"MANIFEST_UNKNOWN"),
        (Referrers.PAGE, 404, b"page not found"),
        (Referrers.EMPTY, 200, b'"manifests": []'),
    ],
)
def test_no_referrers_api(root: Path, kind: Referrers, status: int, says: bytes) -> None:
    """Without the API it is 404 or always empty, and a push has no OCI-Subject."""
    with served(root, manners=Manners(referrers=kind)) as (registry, client):
        whole = images.built(registry.store, HELLO, [AMD64])
        one = images.attach(registry.store, HELLO, whole, b"1")
        answer = client.get(f"/v2/{HELLO}/referrers/{whole.digest}")
        assert answer.status_code == status
        assert says in answer.content
        pushed = client.put(
            f"/v2/{HELLO}/manifests/{one.digest}", content=one.data, headers={"Content-Type": images.OCI_MANIFEST}
        )
        assert "OCI-Subject" not in pushed.headers


def test_conditional_requests(root: Path) -> None:
    """With ETags on, If-Match lets only the one who saw the last write pass, and If-None-Match saves a body."""
    with served(root, manners=Manners(conditional=True)) as (registry, client):
        first, second = (images.image(registry.store, HELLO, AMD64, text=text) for text in "12")
        path, kind = f"/v2/{HELLO}/manifests/1", {"Content-Type": images.OCI_MANIFEST}
        new = client.put(path, content=first.data, headers={**kind, "If-None-Match": "*"})
        assert new.status_code == 201
        assert client.put(path, content=second.data, headers={**kind, "If-None-Match": "*"}).status_code == 412
        etag = client.get(path).headers["ETag"]
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
        assert client.put(path, content=second.data, headers={**kind, "If-Match": etag}).status_code == 201
        stale = client.put(path, content=first.data, headers={**kind, "If-Match": etag})
        assert stale.status_code == 412
        assert registry.store.resolve(HELLO, "1") == second.digest
        absent = client.put(f"/v2/{HELLO}/manifests/2", content=first.data, headers={**kind, "If-Match": "*"})
        assert absent.status_code == 412


def test_hooks_see_a_tag_before_anyone_else(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """A hook gets the tag, its digest and a view while the tag still reads as before, and may ask the registry."""
    registry, client = both
    whole = images.built(registry.store, HELLO, [AMD64])
    calls: list[tuple[str, str, Digest, bool, int]] = []

    @registry.on_tag_put
    def _(repository: str, tag: str, digest: Digest, view: object) -> None:
        unseen = registry.store.resolve(repository, tag) is None
        status = httpx.get(f"{registry.url}/v2/{repository}/manifests/{tag}", trust_env=False).status_code
        calls.append((repository, tag, digest, unseen, status))

    done = client.put(f"/v2/{HELLO}/manifests/1.0.0", content=whole.data, headers={"Content-Type": images.OCI_INDEX})
    assert done.status_code == 201
    assert calls == [(HELLO, "1.0.0", whole.digest, True, 404)]
    assert registry.violations == []


def test_a_hook_that_raises_stops_the_tag(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """What a hook raises, pytest.fail included, is kept, the PUT is 500, and the tag doesn't appear."""
    registry, client = both
    whole = images.built(registry.store, HELLO, [AMD64])

    @registry.on_tag_put
    def _(repository: str, tag: str, digest: Digest, view: object) -> None:
        pytest.fail("unsigned")

    done = client.put(f"/v2/{HELLO}/manifests/1.0.0", content=whole.data, headers={"Content-Type": images.OCI_INDEX})
    assert done.status_code == 500
    assert "unsigned" in message(done)
    assert [(v.repository, v.tag, v.digest) for v in registry.violations] == [(HELLO, "1.0.0", whole.digest)]
    assert "unsigned" in str(registry.violations[0])
    assert registry.store.snapshot() == {HELLO: {}}


def test_every_request_is_in_the_log(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """Kind, repository, reference, status, agent, sizes; counted, and forgotten on reset."""
    registry, client = both
    one = images.image(registry.store, HELLO, AMD64, tag="1")
    client.get(f"/v2/{HELLO}/manifests/1", headers={"User-Agent": "crane/1"})
    client.head(f"/v2/{HELLO}/manifests/2")
    client.post(f"/v2/{HELLO}/blobs/uploads/", params={"digest": DIGEST}, content=BLOB)
    assert registry.requests.tally() == {"GET manifest": 1, "HEAD manifest": 1, "POST upload": 1}
    got, missed, pushed = registry.requests
    assert (got.repository, got.reference, got.status, got.user_agent) == (HELLO, "1", 200, "crane/1")
    assert (got.sent, got.received, missed.sent, missed.status) == (one.size, 0, 0, 404)
    assert pushed.received == len(BLOB)
    assert registry.requests.writes() == [pushed]
    assert registry.requests.count(kind="manifest", repository=HELLO, also=lambda seen: seen.number == 1) == 1
    assert registry.requests.max_in_flight == 1
    registry.requests.reset()
    assert len(registry.requests) == 0


def test_what_cannot_start_says_why(root: Path, both: tuple[LocalRegistry, httpx.Client]) -> None:
    """A taken port, a folder that can't be made, a registry never entered: errors of ours that say what to do."""
    registry, _ = both
    taken = LocalRegistry(root.with_name("other"), port=registry.port)
    with pytest.raises(ReconcileError, match="can't listen") as caught, taken:
        pass
    assert (caught.value.where, bool(caught.value.todo)) == (registry.host, True)
    in_the_way = root.with_name("file")
    in_the_way.write_text("")
    with pytest.raises(ReconcileError, match="can't be used"), LocalRegistry(in_the_way):
        pass
    with pytest.raises(ReconcileError, match="never started"):
        _ = LocalRegistry(root).store
    # the failed start left its folder unlocked
    with LocalRegistry(root.with_name("other")) as other:
        assert other.port != registry.port


def test_it_serves_again_on_the_same_port(root: Path) -> None:
    """Stopped and entered again, it has the same address and everything that it had."""
    registry = LocalRegistry(root)
    with registry:
        url = registry.url
        one = images.image(registry.store, HELLO, AMD64, tag="1")
        with httpx.Client(trust_env=False) as kept_alive:
            assert kept_alive.get(f"{url}/v2/").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/v2/", trust_env=False)
    with registry:
        assert registry.url == url
        answer = httpx.get(f"{url}/v2/{HELLO}/manifests/1", trust_env=False)
        assert answer.headers["Docker-Content-Digest"] == str(one.digest)


async def test_async_clients_share_it(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """It serves from a thread of its own, so a test's own event loop can wait for it; requests overlap."""
    registry, _ = both
    stall = registry.faults.add(Fault(Stall(effect=False), times=None))
    async with (
        httpx.AsyncClient(base_url=registry.url, trust_env=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(8):
            group.start_soon(client.get, "/v2/")
        with anyio.fail_after(10):
            # only the requests themselves tell when all have come
            while registry.requests.in_flight < 8:  # noqa: ASYNC110
                await anyio.sleep(0.001)
        registry.faults.remove(stall)
    assert (len(registry.requests), registry.requests.max_in_flight, registry.requests.in_flight) == (8, 8, 0)
