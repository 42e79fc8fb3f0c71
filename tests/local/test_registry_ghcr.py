"""The local registry with GHCR's manners (protocols, section 2) and its door."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from reconciler.local.registry import Auth, Lag, LocalRegistry, Manners, Scheme, User
from reconciler.model.digest import Digest
from tests.support import images
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import ALL_TYPES, Clock, basic, code, message, served

HELLO = "owner/hello"
ME = User("me", "secret-of-me", pull=("owner/*",), push=("owner/*",))
READER = User("reader", "secret-of-reader", pull=("owner/*",), push=())
AUTH = Auth(users=(ME, READER), public=("owner/hello",))
OPEN = {"Content-Type": images.OCI_INDEX}


@contextmanager
def ghcr(root: Path, **changes: object) -> Iterator[tuple[LocalRegistry, httpx.Client, Clock]]:
    """A registry as GHCR, without a door unless `auth` is given, on a clock that stands."""
    clock = Clock()
    auth = changes.pop("auth", None)
    with served(root, manners=Manners.ghcr(**changes), auth=auth, clock=clock) as (registry, client):
        yield registry, client, clock


def token(client: httpx.Client, *scopes: str, user: User | None = None) -> httpx.Response:
    """Ask for a token for these scopes."""
    headers = basic(user.name, user.password) if user else {}
    return client.get("/token", params={"service": "x", "scope": list(scopes)}, headers=headers)


def bearer(answer: httpx.Response) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.mark.parametrize(
    ("docker", "says"),
    [
        (False, "OCI index found, but Accept header does not support OCI indexes"),
        (True, "manifest list found, but Accept header does not support manifest lists"),
    ],
)
def test_a_short_accept_turns_present_into_absent(tmp_path: Path, docker: bool, says: str) -> None:
    """2.9: a tag whose type Accept lacks is 404 MANIFEST_UNKNOWN with a message that a HEAD hides; */* won't do."""
    with ghcr(tmp_path) as (registry, client, _):
        one = images.image(registry.store, HELLO, AMD64, docker=docker)
        images.index(registry.store, HELLO, one, docker=docker, tag="1")
        for accept in ("application/vnd.oci.image.manifest.v1+json", "*/*", "application/json, */*"):
            answer = client.get(f"/v2/{HELLO}/manifests/1", headers={"Accept": accept})
            assert (answer.status_code, code(answer), message(answer)) == (404, "MANIFEST_UNKNOWN", says)
            head = client.head(f"/v2/{HELLO}/manifests/1", headers={"Accept": accept})
            assert (head.status_code, head.content) == (404, b"")
        assert client.head(f"/v2/{HELLO}/manifests/1").status_code == 200
        in_lines = [("Accept", part) for part in ALL_TYPES.split(", ")]
        assert httpx.get(f"{registry.url}/v2/{HELLO}/manifests/1", headers=in_lines, trust_env=False).status_code == 200


def test_a_tag_lags_after_it_was_written(tmp_path: Path) -> None:
    """2.12: for a while a new tag is 404 and a moved one reads as before; by digest it is there at once."""
    with ghcr(tmp_path, lag=Lag(seconds=2)) as (registry, client, clock):
        first, second = (images.built(registry.store, HELLO, [AMD64], text=text) for text in "12")
        path = f"/v2/{HELLO}/manifests/latest"

        def reads() -> str | None:
            answer = client.get(path)
            return answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None

        client.put(path, content=first.data, headers=OPEN)
        assert reads() is None
        assert client.get(f"/v2/{HELLO}/tags/list").json()["tags"] == []
        assert client.get(f"/v2/{HELLO}/manifests/{first.digest}").status_code == 200
        clock.turn(1)
        client.put(path, content=second.data, headers=OPEN)
        assert reads() is None
        clock.turn(1)
        assert reads() == str(first.digest)
        clock.turn(1)
        assert reads() == str(second.digest)
        assert client.get(f"/v2/{HELLO}/tags/list").json()["tags"] == ["latest"]


def test_a_lag_may_count_reads_or_hide(tmp_path: Path) -> None:
    """The lag can be so many reads, whatever the clock says, and show 404 instead of the old digest."""
    with ghcr(tmp_path, lag=Lag(reads=2, hides=True)) as (registry, client, _):
        first, second = (images.built(registry.store, HELLO, [AMD64], text=text) for text in "12")
        registry.store.tag(HELLO, "latest", first.digest)
        path = f"/v2/{HELLO}/manifests/latest"
        assert client.head(path).status_code == 200
        client.put(path, content=second.data, headers=OPEN)
        assert [client.head(path).status_code for _ in range(3)] == [404, 404, 200]


def test_the_fallback_tag_lags_too(tmp_path: Path) -> None:
    """A read-modify-write of the `sha256-` tag within the lag loses what was written (2.15)."""
    with ghcr(tmp_path, lag=Lag(seconds=2)) as (registry, client, clock):
        whole = images.built(registry.store, HELLO, [AMD64])
        one = images.referrer(registry.store, HELLO, whole, b"1")
        listing = images.fallback(registry.store, HELLO, whole, one, tag=False)
        path = f"/v2/{HELLO}/manifests/{whole.digest.fallback_tag}"
        client.put(path, content=listing.data, headers=OPEN)
        assert client.get(path).status_code == 404
        clock.turn(2)
        assert client.get(path).json()["manifests"] == [one.descriptor()]


def test_tags_come_oldest_first_by_the_hundred(tmp_path: Path) -> None:
    """2.11: pages of 100 unless asked otherwise, in the order of writing, Link leading on."""
    with ghcr(tmp_path) as (registry, client, _):
        one = images.image(registry.store, HELLO, AMD64)
        tags = [f"v{number}" for number in range(150, 0, -1)]
        for tag in tags:
            registry.store.tag(HELLO, tag, one.digest)
        first = client.get(f"/v2/{HELLO}/tags/list")
        assert first.json()["tags"] == tags[:100]
        second = client.get(first.links["next"]["url"])
        assert (second.json()["tags"], "Link" in second.headers) == (tags[100:], False)
        assert client.get(f"/v2/{HELLO}/tags/list?n=10000").json()["tags"] == tags


def test_there_is_no_referrers_api_and_nothing_is_deleted(tmp_path: Path) -> None:
    """2.14, 2.18: referrers are 404 MANIFEST_UNKNOWN; DELETE is refused."""
    with ghcr(tmp_path) as (registry, client, _):
        whole = images.built(registry.store, HELLO, [AMD64], tag="1")
        assert code(client.get(f"/v2/{HELLO}/referrers/{whole.digest}")) == "MANIFEST_UNKNOWN"
        assert client.delete(f"/v2/{HELLO}/manifests/1").status_code == 405


def test_blobs_come_from_another_host(tmp_path: Path) -> None:
    """2.21: GET is a redirect to a signed address that expires, fits one blob, and takes no other credentials."""
    with ghcr(tmp_path) as (registry, client, clock):
        digest = registry.store.put_blob(HELLO, b"0123456789")
        assert client.head(f"/v2/{HELLO}/blobs/{digest}").status_code == 200
        answer = client.get(f"/v2/{HELLO}/blobs/{digest}")
        where = answer.headers["Location"]
        assert answer.status_code == 307
        assert urlsplit(where).netloc != registry.host
        assert where.startswith(registry.storage_url + "/")
        assert httpx.get(where, trust_env=False).content == b"0123456789"
        assert httpx.get(where, headers={"Range": "bytes=2-4"}, trust_env=False).content == b"234"
        assert httpx.head(where, trust_env=False).status_code == 403
        assert httpx.get(where, headers={"Authorization": "Bearer x"}, trust_env=False).status_code == 400
        assert registry.requests.count(kind="storage", also=lambda seen: seen.credentials == "bearer") == 1
        other = registry.store.put_blob(HELLO, b"other")
        assert httpx.get(where.replace(digest.hex, other.hex), trust_env=False).status_code == 403
        clock.turn(301)
        assert httpx.get(where, trust_env=False).status_code == 403


def test_the_rate_limit_is_told_as_a_go_duration(tmp_path: Path) -> None:
    """2.13: above the limit 429 TOOMANYREQUESTS, the hint in the message only; after it requests pass again."""
    with ghcr(tmp_path, per_minute=120) as (_, client, clock):
        assert [client.get("/v2/").status_code for _ in range(3)] == [200, 200, 429]
        limited = client.get("/v2/")
        assert message(limited) == "retry-after: 500ms, allowed: 120/minute"
        assert "Retry-After" not in limited.headers
        clock.turn(0.5)
        assert client.get("/v2/").status_code == 200


def test_even_public_images_need_a_token(tmp_path: Path) -> None:
    """2.1, 2.2: 401 with realm, service and scope; on /v2/ the scope is a placeholder; an anonymous token pulls."""
    with ghcr(tmp_path, auth=AUTH) as (registry, client, _):
        images.built(registry.store, HELLO, [AMD64], tag="1")
        base = client.get("/v2/")
        assert base.headers["WWW-Authenticate"] == (
            f'Bearer realm="{registry.url}/token",service="{registry.host}",scope="repository:user/image:pull"'
        )
        assert token(client, "repository:user/image:pull").status_code == 403
        denied = client.get(f"/v2/{HELLO}/manifests/1")
        assert (denied.status_code, code(denied)) == (401, "UNAUTHORIZED")
        assert denied.headers["WWW-Authenticate"].endswith(f'scope="repository:{HELLO}:pull"')
        given = token(client, f"repository:{HELLO}:pull")
        assert set(given.json()) == {"token"}
        assert client.get(f"/v2/{HELLO}/manifests/1", headers=bearer(given)).status_code == 200
        assert client.get("/v2/", headers=bearer(given)).status_code == 200
        push = client.post(f"/v2/{HELLO}/blobs/uploads/", headers=bearer(given))
        assert (push.status_code, code(push)) == (403, "DENIED")


def test_missing_and_private_look_the_same_to_strangers(tmp_path: Path) -> None:
    """2.6: who may not read gets the same denial for a private package and for one that doesn't exist."""
    with ghcr(tmp_path, auth=AUTH) as (registry, client, _):
        images.built(registry.store, "owner/private", [AMD64], tag="1")
        answers = {
            (answer.status_code, answer.text)
            for name in ("owner/private", "owner/nothing", "other/nothing", HELLO)
            for answer in [token(client, f"repository:{name}:pull")]
        }
        assert len(answers) == 1
        assert next(iter(answers))[0] == 403
        assert token(client, "repository:owner/nothing:pull", user=READER).status_code == 403
        assert token(client, "repository:owner/private:pull", user=READER).status_code == 200


def test_who_may_create_a_package_sees_that_it_is_not_there(tmp_path: Path) -> None:
    """2.7: with a right to push, a token for pull,push is granted and the GET is a definite 404."""
    with ghcr(tmp_path, auth=AUTH, lag=Lag()) as (registry, client, _):
        mine = bearer(token(client, "repository:owner/new:pull,push", user=ME))
        absent = client.get("/v2/owner/new/manifests/1", headers=mine)
        assert (absent.status_code, code(absent)) == (404, "MANIFEST_UNKNOWN")
        client.post("/v2/owner/new/blobs/uploads/", params={"digest": str(Digest.of(b"x"))}, content=b"x", headers=mine)
        assert registry.store.exists("owner/new")
        assert token(client, "repository:owner/new:pull").status_code == 403
        registry.access.public.add("owner/new")
        assert token(client, "repository:owner/new:pull").status_code == 200


def test_wrong_passwords_and_other_ways_in(tmp_path: Path) -> None:
    """2.4: Basic is for /token, a password as bearer there is 401, base64 of it passes on /v2/."""
    with ghcr(tmp_path, auth=AUTH) as (registry, client, _):
        images.built(registry.store, "owner/private", [AMD64], tag="1")
        scope = {"scope": "repository:owner/private:pull"}
        assert client.get("/token", params=scope, headers=basic("me", "wrong")).status_code == 403
        shown = {"Authorization": f"Bearer {ME.password}"}
        assert client.get("/token", params=scope, headers=shown).status_code == 401
        assert client.post("/token", headers=basic("me", ME.password)).status_code == 405
        encoded = {"Authorization": "Bearer " + base64.b64encode(ME.password.encode()).decode()}
        assert client.get("/v2/owner/private/manifests/1", headers=encoded).status_code == 200
        assert client.get("/v2/owner/private/manifests/1", headers=shown).status_code == 401
        assert client.get("/v2/owner/private/manifests/1", headers=basic("me", ME.password)).status_code == 401


def test_tokens_are_short_lived(tmp_path: Path) -> None:
    """2.3: after its time a token is 401 invalid_token, and a new one works."""
    with ghcr(tmp_path, auth=AUTH) as (registry, client, clock):
        images.built(registry.store, HELLO, [AMD64], tag="1")
        old = bearer(token(client, f"repository:{HELLO}:pull"))
        clock.turn(301)
        expired = client.get(f"/v2/{HELLO}/manifests/1", headers=old)
        assert expired.status_code == 401
        assert 'error="invalid_token"' in expired.headers["WWW-Authenticate"]
        new = bearer(token(client, f"repository:{HELLO}:pull"))
        assert client.get(f"/v2/{HELLO}/manifests/1", headers=new).status_code == 200


@pytest.mark.parametrize("multi", [True, False])
def test_one_token_for_several_repositories(tmp_path: Path, multi: bool) -> None:
    """Several scopes in one request are all granted where the registry allows that, else only the first."""
    auth = Auth(users=(ME,), multi_scope=multi)
    with ghcr(tmp_path, auth=auth) as (registry, client, _):
        for name in ("owner/a", "owner/b", "owner/c"):
            images.built(registry.store, name, [ARM64], tag="1")
        shown = bearer(
            token(client, "repository:owner/a:pull", "repository:owner/b:pull repository:owner/c:pull", user=ME)
        )
        statuses = [client.get(f"/v2/owner/{name}/manifests/1", headers=shown).status_code for name in "abc"]
        assert statuses == ([200, 200, 200] if multi else [200, 401, 401])


def test_a_plain_registry_asks_for_a_better_token(tmp_path: Path) -> None:
    """Without GHCR's manners too little scope is 401 insufficient_scope, with the scope that it takes."""
    with served(tmp_path, auth=AUTH) as (registry, client):
        images.built(registry.store, "owner/private", [AMD64], tag="1")
        given = token(client, "repository:owner/private:pull")
        assert given.json()["expires_in"] == 300
        refused = client.get("/v2/owner/private/manifests/1", headers=bearer(given))
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].endswith(
            'scope="repository:owner/private:pull",error="insufficient_scope"'
        )
        pull = bearer(token(client, "repository:owner/private:pull", user=ME))
        more = client.post("/v2/owner/private/blobs/uploads/", headers=pull)
        assert more.status_code == 401
        assert 'scope="repository:owner/private:pull,push"' in more.headers["WWW-Authenticate"]


def test_a_mount_needs_the_right_to_read_the_source(tmp_path: Path) -> None:
    """A blob of a repository that the user can't pull isn't mounted: an upload is opened instead."""
    users = (User("a", "secret-a", pull=("a/*",), push=("a/*",)),)
    with served(tmp_path, auth=Auth(users=users)) as (registry, client):
        digest = registry.store.put_blob("b/theirs", b"x")
        registry.store.put_blob("a/base", b"x")
        mine = bearer(token(client, "repository:a/mine:pull,push", user=users[0]))
        for source, status in (("b/theirs", 202), ("a/base", 201)):
            mount = {"mount": str(digest), "from": source}
            assert client.post("/v2/a/mine/blobs/uploads/", params=mount, headers=mine).status_code == status


def test_a_registry_may_want_basic(tmp_path: Path) -> None:
    """With the Basic scheme the challenge says so, credentials are shown on /v2/ itself, public is open."""
    auth = Auth(users=(ME, READER), public=(HELLO,), scheme=Scheme.BASIC)
    with served(tmp_path, auth=auth) as (registry, client):
        for name in (HELLO, "owner/private"):
            images.built(registry.store, name, [AMD64], tag="1")
        path = "/v2/owner/private/manifests/1"
        assert client.get(path).headers["WWW-Authenticate"] == f'Basic realm="{registry.host}"'
        assert client.get(path, headers=basic("me", ME.password)).status_code == 200
        assert client.get(path, headers=basic("me", "wrong")).status_code == 401
        assert client.get(f"/v2/{HELLO}/manifests/1").status_code == 200
        start = "/v2/owner/private/blobs/uploads/"
        assert client.post(start, headers=basic("reader", READER.password)).status_code == 401
        assert client.post(start, headers=basic("me", ME.password)).status_code == 202


def test_no_password_is_ever_logged(tmp_path: Path) -> None:
    """The log knows who asked and with which scheme, and no secret."""
    with ghcr(tmp_path, auth=AUTH) as (registry, client, _):
        images.built(registry.store, HELLO, [AMD64], tag="1")
        shown = bearer(token(client, f"repository:{HELLO}:pull", user=ME))
        client.get(f"/v2/{HELLO}/manifests/1", headers=shown)
        seen = list(registry.requests)
        assert [(s.user, s.credentials) for s in seen] == [("me", "basic"), ("me", "bearer")]
        everything = repr(seen) + repr(AUTH)
        encoded = base64.b64encode(f"{ME.name}:{ME.password}".encode()).decode()
        for secret in (ME.password, encoded, shown["Authorization"].removeprefix("Bearer ")):
            assert secret not in everything


def test_manners_can_change_while_it_serves(tmp_path: Path) -> None:
    """A test may switch a behaviour on and off under a running registry."""
    with served(tmp_path) as (registry, client):
        images.built(registry.store, HELLO, [AMD64], tag="1")
        path, short = f"/v2/{HELLO}/manifests/1", {"Accept": "*/*"}
        assert client.get(path, headers=short).status_code == 200
        registry.manners = Manners.ghcr()
        assert client.get(path, headers=short).status_code == 404
        registry.manners = Manners()
        assert client.get(path, headers=short).status_code == 200


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """While a hook looks at one tag, another PUT waits: nothing comes between the look and the write."""
    with served(tmp_path) as (registry, client):
        first, second = (images.built(registry.store, HELLO, [AMD64], text=text) for text in "12")
        inside, go_on, order = threading.Event(), threading.Event(), []

        @registry.on_tag_put
        def _(_repository: str, _tag: str, digest: Digest, _view: object) -> None:
            order.append(digest)
            if digest == first.digest:
                inside.set()
                assert go_on.wait(10)

        def put(data: bytes) -> None:
            httpx.put(f"{registry.url}/v2/{HELLO}/manifests/1", content=data, headers=OPEN, trust_env=False)

        threads = [threading.Thread(target=put, args=(first.data,)), threading.Thread(target=put, args=(second.data,))]
        threads[0].start()
        assert inside.wait(10)
        threads[1].start()
        assert client.get("/v2/").status_code == 200
        go_on.set()
        for thread in threads:
            thread.join()
        assert order == [first.digest, second.digest]
        assert registry.store.resolve(HELLO, "1") == second.digest
        assert registry.violations == []
