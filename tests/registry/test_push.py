from __future__ import annotations

import base64
import functools
import json
from pathlib import Path

import httpx
import pytest

from reconciler.errors import Conflict, Denied, Malformed, Moved, RateLimited, TooLarge
from reconciler.local.registry import Auth, Fault, LocalRegistry, Manners, Scheme, User, on
from reconciler.local.registry import Referrers as Api
from reconciler.local.registry.actions import Reset, WrongDigest, reply_error, reply_html, reply_rate_limited
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry import media
from reconciler.registry.credential import Credential
from reconciler.registry.descriptor import Manifest
from reconciler.registry.push import Granted, NotGranted, Pushed
from tests.registry.support import Script, client, repository, scripted
from tests.support.images import image

AMD64 = Platform.parse("linux/amd64")
GHCR = Repository.parse("ghcr.example/mirror/hello")
INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


async def test_what_is_pushed_is_there(tmp_path: Path) -> None:
    """Blob, manifest by digest, then the tag; through GHCR's manners and token auth."""
    manners = Manners.ghcr(lag=Manners().lag)
    with LocalRegistry(tmp_path, manners=manners, auth=Auth(users=(User("me", "pw"),))) as registry:
        at = repository(registry)
        async with client(registry, user="me", password="pw") as asked:
            config = await asked.put_blob(at, b"{}")
            assert await asked.has_blob(at, config.digest)
            data = json.dumps(
                {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config.as_json(), "layers": []}
            ).encode()
            digest = await asked.put_manifest(at, Digest.of(data), data, media.OCI_MANIFEST)
            assert digest == Digest.of(data)
            assert await asked.put_manifest(at, "1.0.0", data, media.OCI_MANIFEST) == digest
            found = await asked.manifest(at, "1.0.0")
            assert isinstance(found, Manifest)
            assert found.data == data


async def test_a_blob_that_is_there_isnt_sent_again(tmp_path: Path) -> None:
    """One HEAD instead."""
    with LocalRegistry(tmp_path) as registry:
        registry.store.put_blob("mirror/hello", b"data")
        async with client(registry) as asked:
            await asked.put_blob(repository(registry), b"data")
        assert registry.requests.tally() == {"HEAD blob": 1}


@pytest.mark.parametrize("api", [Api.API, Api.UNKNOWN])
async def test_a_referrer_tells_who_keeps_the_list(tmp_path: Path, api: Api) -> None:
    """OCI-Subject means that the registry does, and no fallback index must be written (protocols 1.8)."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=api)) as registry:
        subject = image(registry.store, "mirror/hello", AMD64, tag="1")
        async with client(registry) as asked:
            at = repository(registry)
            config = await asked.put_blob(at, b"{}")
            value = {
                "schemaVersion": 2,
                "mediaType": media.OCI_MANIFEST,
                "artifactType": "application/x",
                "config": {**config.as_json(), "mediaType": media.OCI_EMPTY},
                "layers": [],
                "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size},
            }
            data = json.dumps(value).encode()
            pushed = await asked.put_referrer(at, data, media.OCI_MANIFEST)
        assert pushed == Pushed(Digest.of(data), subject.digest if api is Api.API else None)


async def test_who_writes_second_is_told(tmp_path: Path) -> None:
    """If-Match with the ETag that was read: 412 is a Conflict, and what the first one wrote stays."""
    with LocalRegistry(tmp_path, manners=Manners(conditional=True)) as registry:
        at = repository(registry)
        async with client(registry) as asked:
            await asked.put_manifest(at, "x", INDEX, media.OCI_INDEX)
            read = await asked.manifest(at, "x")
            assert isinstance(read, Manifest)
            theirs = INDEX.replace(b"[]", b"[] ")
            await asked.put_manifest(at, "x", theirs, media.OCI_INDEX, if_match=read.etag)
            with pytest.raises(Conflict):
                await asked.put_manifest(at, "x", INDEX + b" ", media.OCI_INDEX, if_match=read.etag)
            now = await asked.manifest(at, "x")
            assert isinstance(now, Manifest)
            assert now.data == theirs


async def test_every_attempt_at_a_tag_looks_once_more(tmp_path: Path) -> None:
    """`before` runs right before each attempt, also one after a lost answer; what it raises stops the write."""
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) > 1:
            raise Moved("someone was faster")

    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(Reset(), match=on(method="PUT")))
        async with client(registry) as asked:
            with pytest.raises(Moved):
                await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX, before=look)
            assert await asked.manifest(repository(registry), "1") == Absent()
        assert looks == [0, 1]
        assert registry.requests.count(method="PUT") == 1


async def test_a_lost_answer_is_written_again(tmp_path: Path) -> None:
    """A PUT of the same bytes is the same PUT."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(Reset(effect=True), match=on(method="PUT")))
        async with client(registry) as asked:
            assert await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX) == Digest.of(INDEX)
        assert registry.requests.count(method="PUT") == 2


async def test_a_blob_that_isnt_known_yet_is_waited_for(tmp_path: Path) -> None:
    """As GHCR now and then says right after its upload (protocols 2.19)."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(reply_error(404, "MANIFEST_BLOB_UNKNOWN", "unknown blob"), match=on(method="PUT")))
        async with client(registry) as asked:
            assert await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX) == Digest.of(INDEX)


async def test_what_the_registry_says_it_has_is_checked(tmp_path: Path) -> None:
    """Another digest than ours is an error, after the fact, but before anything is built on it."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(WrongDigest(), match=on(method="PUT")))
        async with client(registry) as asked:
            with pytest.raises(Malformed, match="says that it has"):
                await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX)


async def test_a_manifest_isnt_sent_under_a_digest_or_type_that_isnt_its_own() -> None:
    """Our own mistakes don't reach the wire."""
    script = Script(lambda _: httpx.Response(201))
    async with scripted(script) as asked:
        with pytest.raises(Malformed):
            await asked.put_manifest(GHCR, Digest.of(b"x"), INDEX, media.OCI_INDEX)
        with pytest.raises(Malformed):
            await asked.put_manifest(GHCR, "1", INDEX, "text/html")
    assert script.seen == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (reply_error(403, "DENIED", "permission_denied: write_package"), Denied),
        (reply_error(403, "DENIED", "You have exceeded a secondary rate limit"), RateLimited),
        (reply_rate_limited(), RateLimited),
        (reply_error(413, "SIZE_INVALID"), TooLarge),
        (reply_error(400, "MANIFEST_INVALID"), Malformed),
        (reply_error(307, "UNKNOWN"), Malformed),
    ],
)
async def test_a_refused_write_is_an_error_of_its_kind(tmp_path: Path, fault: object, kind: type[Exception]) -> None:
    """And the message names host, image and what to do."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(fault, times=None))  # type: ignore[arg-type]
        async with client(registry) as asked:
            with pytest.raises(kind, match="mirror/hello:1"):
                await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX)


@pytest.mark.parametrize("status", [200, 202])
async def test_a_proxys_page_is_no_write(tmp_path: Path, status: int) -> None:
    """Where something on the way says 200 to a write, nothing was written, and nobody is told that it was."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(reply_html(status)))
        async with client(registry) as asked:
            with pytest.raises(Malformed, match=f"answers {status}, but doesn't say that it has it"):
                await asked.put_manifest(repository(registry), "1", INDEX, media.OCI_INDEX)


@pytest.mark.parametrize("location", ["https://evil.example/u", "http://ghcr.example/u", "https://ghcr.example:1/u"])
async def test_an_upload_stays_at_the_registry(location: str) -> None:
    """A Location on another host gets neither our bytes nor our token."""
    script = Script(
        lambda r: httpx.Response(404) if r.method == "HEAD" else httpx.Response(202, headers={"location": location})
    )
    async with scripted(script) as asked:
        with pytest.raises(Malformed, match="another host"):
            await asked.put_blob(GHCR, b"data")
    assert [r.method for r in script.seen] == ["HEAD", "POST"]
    assert not script.sent("evil.example")


async def test_a_redirected_write_goes_nowhere() -> None:
    """Only what is read may be sent on to another place."""
    script = Script(lambda _: httpx.Response(307, headers={"location": "https://evil.example/"}))
    async with scripted(script) as asked:
        with pytest.raises(Malformed):
            await asked.put_manifest(GHCR, "1", INDEX, media.OCI_INDEX)
    assert not script.sent("evil.example")


# whether we may


@pytest.mark.parametrize("scheme", [None, Scheme.BASIC, Scheme.BEARER])
async def test_who_may_push_is_told_so_and_leaves_nothing(tmp_path: Path, scheme: Scheme | None) -> None:
    """With opaque tokens, Basic or an open door: an upload is started and cancelled."""
    auth = (
        Auth(users=(User("me", "pw", push=("mirror/*",)), User("guest", "pw", push=())), scheme=scheme)
        if scheme
        else None
    )
    with LocalRegistry(tmp_path, auth=auth) as registry:
        async with client(registry, user="me", password="pw") as asked:
            assert await asked.can_push(repository(registry)) == Granted()
        assert registry.requests.count(kind="upload", method="DELETE") == 1
        assert registry.requests.count(method="PUT") == 0
        if auth is None:
            return
        for user in ("guest", ""):
            async with client(registry, user=user, password="pw") as asked:
                refused = await asked.can_push(repository(registry))
            assert isinstance(refused, NotGranted)
            assert "mirror/hello" in refused.reason
            assert "docker login" in refused.reason


async def test_a_token_that_can_be_read_spares_the_upload() -> None:
    """A JWT says what it grants; nothing is started at all."""
    for actions, expected in ((["pull"], NotGranted), (["pull", "push"], Granted)):
        claims = {"access": [{"type": "repository", "name": "a/b", "actions": actions}]}
        part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        answer = httpx.Response(200, json={"token": f"e30.{part}.sig"})
        script = Script(functools.partial(lambda found, _: found, answer))
        credential = Credential("me", "pw", source="a test")
        async with scripted(script, {"ghcr.io": credential}) as asked:
            assert isinstance(await asked.can_push(Repository.parse("ghcr.io/a/b")), expected)
        assert [r.url.path for r in script.seen] == ["/token"]


async def test_a_registry_that_is_down_neither_grants_nor_refuses(tmp_path: Path) -> None:
    """Unknown is an error here too."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(reply_rate_limited(), times=None))
        async with client(registry) as asked:
            with pytest.raises(RateLimited):
                await asked.can_push(repository(registry))


async def test_a_registry_that_cant_cancel_still_grants(tmp_path: Path) -> None:
    """It said that we may; what is never finished it drops by itself."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(reply_error(405, "UNSUPPORTED"), match=on(method="DELETE"), times=None))
        async with client(registry) as asked:
            assert await asked.can_push(repository(registry)) == Granted()
        registry.faults.clear()
        registry.faults.add(Fault(Reset(), match=on(method="DELETE"), times=None))
        async with client(registry) as asked:
            assert await asked.can_push(repository(registry)) == Granted()


async def test_a_denied_look_for_a_blob_is_denied(tmp_path: Path) -> None:
    """Not taken for a blob that has to be uploaded first."""
    with LocalRegistry(tmp_path) as registry:
        registry.faults.add(Fault(reply_error(403, "DENIED"), match=on(method="HEAD"), times=None))
        async with client(registry) as asked:
            with pytest.raises(Denied):
                await asked.put_blob(repository(registry), b"data")
        assert registry.requests.writes() == []
