from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Denied, Malformed, Unreachable
from reconciler.local.registry import Auth, LocalRegistry, Manners, Scheme, User
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry import tokens
from reconciler.registry.credential import Credential, Use
from reconciler.registry.descriptor import Descriptor
from tests.registry.support import Script, Time, client, error, repository, scripted
from tests.support.images import image

AMD64 = Platform.parse("linux/amd64")
ME = User("me", "secret")
CREDENTIAL = Credential("me", "secret", source="a test")
TAGS = [f"1.{n}.0" for n in range(10)]


def stock(registry: LocalRegistry, *names: str) -> None:
    for name in names or ("mirror/hello",):
        for tag in TAGS:
            image(registry.store, name, AMD64, tag=tag)


async def test_one_token_per_image_is_shared_by_all_its_requests(tmp_path: Path) -> None:
    """However many ask at once: one bare request for the host, one token per image, one request per tag."""
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,))) as registry:
        names = ("mirror/a", "mirror/b", "mirror/c")
        stock(registry, *names)
        async with client(registry, user="me", password="secret") as asked:
            found = await asyncio.gather(
                *(asked.head(repository(registry, name), tag) for name in names for tag in TAGS)
            )
            assert all(isinstance(f, Descriptor) for f in found)
        assert registry.requests.count(kind="token") == 3
        assert registry.requests.count(kind="manifest", status=401) == 1
        assert registry.requests.count(kind="manifest", status=200) == 30
        assert len(registry.requests) == 34


async def test_a_host_that_asks_for_nothing_costs_nothing_more(tmp_path: Path) -> None:
    """The first request is the probe."""
    with LocalRegistry(tmp_path) as registry:
        stock(registry)
        async with client(registry, user="me", password="secret") as asked:
            await asyncio.gather(*(asked.head(repository(registry), tag) for tag in TAGS))
        assert registry.requests.tally() == {"HEAD manifest": 10}
        assert {seen.credentials for seen in registry.requests} == {""}


async def test_ghcr_isnt_asked_how_it_wants_to_be_asked() -> None:
    """Its realm is known: the token is the first request, and each tag costs one (protocols 2.1)."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": "t"})
        return error(404, "MANIFEST_UNKNOWN")

    script = Script(answer)
    async with scripted(script, {"ghcr.io": CREDENTIAL}) as asked:
        assert await asked.manifest(Repository.parse("ghcr.io/a/b"), "1") == Absent()
    assert [str(r.url) for r in script.seen] == [
        "https://ghcr.io/token?service=ghcr.io&scope=repository%3Aa%2Fb%3Apull",
        "https://ghcr.io/v2/a/b/manifests/1",
    ]
    assert [r.headers["authorization"] for r in script.seen] == [CREDENTIAL.basic, "Bearer t"]


async def test_pull_and_push_tokens_are_kept_apart(tmp_path: Path) -> None:
    """Reading never carries a token that may write; writing asks for pull and push."""
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,))) as registry:
        stock(registry)
        async with client(registry, user="me", password="secret") as asked:
            await asked.head(repository(registry), "1.0.0")
            await asked.put_blob(repository(registry), b"data")
            await asked.head(repository(registry), "1.0.0", push=True)
        scopes = [parse_qs(seen.query)["scope"] for seen in registry.requests.where(kind="token")]
        assert scopes == [["repository:mirror/hello:pull"], ["repository:mirror/hello:pull,push"]]


async def test_an_expired_token_is_replaced_before_it_is_used(tmp_path: Path) -> None:
    """By our clock: no request is spent on finding out."""
    time = Time()
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,), token_seconds=100), clock=time) as registry:
        stock(registry)
        async with client(registry, time=time, user="me", password="secret") as asked:
            await asked.head(repository(registry), "1.0.0")
            time.now += 90
            await asked.head(repository(registry), "1.0.0")
            assert registry.requests.count(kind="token") == 1
            time.now += 10
            await asked.head(repository(registry), "1.0.0")
        assert registry.requests.count(kind="token") == 2
        assert registry.requests.count(status=401) == 1


async def test_a_token_that_is_refused_is_refreshed_once_for_all(tmp_path: Path) -> None:
    """Ten requests meet a 401 at once, one new token is asked for, and all ten succeed."""
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,)), latency=0.01) as registry:
        stock(registry)
        async with client(registry, user="me", password="secret") as asked:
            await asked.head(repository(registry), "1.0.0")
            registry.requests.reset()
            registry.access.forget_tokens()
            found = await asyncio.gather(*(asked.head(repository(registry), tag) for tag in TAGS))
            assert all(isinstance(f, Descriptor) for f in found)
        assert registry.requests.count(kind="token") == 1
        assert registry.requests.count(kind="manifest", status=401) == 10


async def test_a_second_refusal_is_denied(tmp_path: Path) -> None:
    """No third token is asked for."""
    with LocalRegistry(tmp_path, auth=Auth(users=(User("me", "secret", pull=("other/*",), push=()),))) as registry:
        stock(registry)
        async with client(registry, user="me", password="secret") as asked:
            with pytest.raises(Denied, match=r"mirror/hello:1\.0\.0") as caught:
                await asked.manifest(repository(registry), "1.0.0")
        assert "docker login" in caught.value.todo
        assert registry.requests.count(kind="token") == 1
        assert registry.requests.count(kind="manifest") == 2


async def test_a_wrong_password_is_asked_with_once(tmp_path: Path) -> None:
    """Ten tags of an image whose token is refused cost one token request, and each is denied by its own name."""
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,))) as registry:
        stock(registry)
        async with client(registry, user="me", password="wrong") as asked:
            found = await asyncio.gather(
                *(asked.manifest(repository(registry), tag) for tag in TAGS), return_exceptions=True
            )
        assert [type(f) for f in found] == [Denied] * 10
        assert "wrong" not in str(found[0]).replace("wrong user name", "")
        assert registry.requests.count(kind="token") == 1


async def test_basic_registries_get_basic(tmp_path: Path) -> None:
    """After the first 401 said so; without credentials they are denied at once."""
    with LocalRegistry(tmp_path, auth=Auth(users=(ME,), scheme=Scheme.BASIC)) as registry:
        stock(registry)
        async with client(registry, user="me", password="secret") as asked:
            for tag in TAGS:
                assert isinstance(await asked.head(repository(registry), tag), Descriptor)
        assert len(registry.requests) == 11
        async with client(registry) as asked:
            with pytest.raises(Denied, match="name and a password"):
                await asked.head(repository(registry), "1.0.0")


async def test_public_images_are_read_without_credentials(tmp_path: Path) -> None:
    """An anonymous token, as GHCR gives them (protocols 2.1)."""
    manners = Manners.ghcr()
    with LocalRegistry(tmp_path, auth=Auth(public=("mirror/*",)), manners=manners) as registry:
        stock(registry)
        async with client(registry) as asked:
            assert isinstance(await asked.head(repository(registry), "1.0.0"), Descriptor)
            with pytest.raises(Denied):
                await asked.manifest(repository(registry, "mirror/unheard-of"), "1.0.0")


async def test_several_repositories_share_a_token_where_that_is_asked_for(tmp_path: Path) -> None:
    """One token for three images; where the registry grants the first alone, the others get their own."""
    names = ("mirror/a", "mirror/b", "mirror/c")
    for multi, expected in ((True, 1), (False, 3)):
        with LocalRegistry(tmp_path / str(multi), auth=Auth(users=(ME,), multi_scope=multi)) as registry:
            stock(registry, *names)
            shared = frozenset({registry.host})
            async with client(registry, user="me", password="secret", share_tokens=shared) as asked:
                asked.expect(repository(registry, name) for name in names)
                for name in names:
                    for tag in TAGS:
                        assert isinstance(await asked.head(repository(registry, name), tag), Descriptor)
            assert registry.requests.count(kind="token") == expected


async def test_a_failing_first_request_fails_for_all_who_waited_for_it() -> None:
    """A host out of reach is tried by one; each of the others is told by its own name, and none tries again."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    script = Script(answer)
    async with scripted(script) as asked:
        at = Repository.parse("down.example/a/b")
        found = await asyncio.gather(*(asked.manifest(at, tag) for tag in TAGS), return_exceptions=True)
    assert [type(f) for f in found] == [Unreachable] * 10
    assert [str(f).partition(": ")[0] for f in found] == [f"down.example/a/b:{tag}" for tag in TAGS]
    assert len(script.seen) == 2


@pytest.mark.parametrize(
    ("challenge", "kind"),
    [
        ("", Denied),
        ("Negotiate", Denied),
        ('Bearer realm="http://ghcr.example/token"', Malformed),
        ('Bearer realm="ftp://ghcr.example/token"', Malformed),
        ('Bearer realm="https://me:pw@ghcr.example/token"', Malformed),
        ('Bearer realm="https://ghcr.example/token', Malformed),
        ('Bearer service="x"', Denied),
    ],
)
async def test_a_challenge_that_leads_nowhere_is_no_absence(challenge: str, kind: type[Exception]) -> None:
    """Nothing is sent on it but the request that met it."""
    script = Script(lambda _: httpx.Response(401, headers={"www-authenticate": challenge} if challenge else {}))
    async with scripted(script, {"ghcr.example": CREDENTIAL}) as asked:
        with pytest.raises(kind):
            await asked.manifest(Repository.parse("ghcr.example/a/b"), "1")
    assert len(script.seen) == 1


# credentials go nowhere else


def realm_elsewhere(realm: str, *, grants: bool = True) -> Script:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": "t"}) if grants else httpx.Response(403)
        if "authorization" in request.headers:
            return error(404, "MANIFEST_UNKNOWN")
        return httpx.Response(401, headers={"www-authenticate": f'Bearer realm="{realm}",service="s"'})

    return Script(answer)


@pytest.mark.parametrize("use", list(Use))
async def test_a_realm_on_another_host_gets_no_credential(use: Use) -> None:
    """It is asked anonymously: enough for public images. Nothing of ours is in any part of that request."""
    script = realm_elsewhere("https://evil.example/token")
    credential = Credential("me", "hunter2", use, "a test")
    async with scripted(script, {"ghcr.example": credential}) as asked:
        assert await asked.manifest(Repository.parse("ghcr.example/a/b"), "1") == Absent()
    for request in script.sent("evil.example"):
        assert "authorization" not in request.headers
        assert "hunter2" not in f"{request.url}{request.headers}{request.content!r}"
    assert len(script.sent("evil.example")) == (0 if use is Use.BEARER else 1)


async def test_a_realm_that_needs_our_credential_must_be_named() -> None:
    """The error says how; once the operator has, the credential goes there."""
    script = realm_elsewhere("https://auth.example/token", grants=False)
    at = Repository.parse("ghcr.example/a/b")
    async with scripted(script, {"ghcr.example": CREDENTIAL}) as asked:
        with pytest.raises(Denied) as caught:
            await asked.manifest(at, "1")
        assert "RECONCILE_TOKEN_REALMS=ghcr.example=auth.example" in caught.value.todo
    script = realm_elsewhere("https://auth.example/token")
    realms = {"ghcr.example": frozenset({"auth.example"})}
    async with scripted(script, {"ghcr.example": CREDENTIAL}, realms=realms) as asked:
        assert await asked.manifest(at, "1") == Absent()
    assert script.sent("auth.example")[0].headers["authorization"] == CREDENTIAL.basic


async def test_a_realm_that_redirects_is_not_followed() -> None:
    """Neither with a credential nor without."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(307, headers={"location": "https://evil.example/token"})
        return httpx.Response(401, headers={"www-authenticate": 'Bearer realm="https://ghcr.example/token"'})

    script = Script(answer)
    async with scripted(script, {"ghcr.example": CREDENTIAL}) as asked:
        with pytest.raises(Malformed):
            await asked.manifest(Repository.parse("ghcr.example/a/b"), "1")
    assert not script.sent("evil.example")


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/blob",
        "http://ghcr.example/blob",
        "https://ghcr.example:8443/blob",
        "//evil.example/blob",
        "https://ghcr.example.evil.example/blob",
    ],
)
async def test_a_redirect_to_another_origin_gets_no_credential(location: str) -> None:
    """Nor does a way back from there to the registry."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": "t"})
        if request.url.path == "/blob":
            return httpx.Response(307, headers={"location": "https://ghcr.example/back"})
        if request.url.path == "/back":
            return httpx.Response(200, content=b"data")
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"www-authenticate": 'Bearer realm="https://ghcr.example/token"'})
        return httpx.Response(307, headers={"location": location})

    script = Script(answer)
    async with scripted(script, {"ghcr.example": CREDENTIAL}) as asked:
        at = Repository.parse("ghcr.example/a/b")
        await asked.blob(at, Digest.of(b"data"), cap=10)
    away = script.seen[3:]
    assert [r.url.path for r in away] == ["/blob", "/back"]
    for request in away:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


async def test_a_redirect_within_the_registry_keeps_the_token() -> None:
    """Same scheme, host and port: the same registry."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": "t"})
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"www-authenticate": 'Bearer realm="https://ghcr.example/token"'})
        if request.url.path == "/other":
            return httpx.Response(200, content=b"data")
        return httpx.Response(307, headers={"location": "/other"})

    async with scripted(Script(answer), {"ghcr.example": CREDENTIAL}) as asked:
        at = Repository.parse("ghcr.example/a/b")
        assert await asked.blob(at, Digest.of(b"data"), cap=10) == b"data"


async def test_tokens_are_secrets_too() -> None:
    """Whoever redacts output is told of them."""
    script = realm_elsewhere("https://ghcr.example/token")
    async with scripted(script, {"ghcr.example": CREDENTIAL}) as asked:
        await asked.manifest(Repository.parse("ghcr.example/a/b"), "1")
        assert asked.secrets() == {"secret", "t"}


# what a token grants


def jwt(claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer e30.{part}.sig"


def test_a_tokens_grants_are_read_for_the_one_repository() -> None:
    """Of a JWT as distribution's token services make them; of anything else nothing is known."""
    access = [
        {"type": "repository", "name": "a/b", "actions": ["pull", "push"]},
        {"type": "repository", "name": "a/c", "actions": ["pull"]},
        {"type": "registry", "name": "a/c", "actions": ["push"]},
    ]
    assert tokens.granted(jwt({"access": access}), "a/b") == frozenset({"pull", "push"})
    assert tokens.granted(jwt({"access": access}), "a/c") == frozenset({"pull"})
    assert tokens.granted(jwt({"access": []}), "a/b") == frozenset()
    for opaque in ("Bearer abc", "Bearer a.b.c", jwt([]), jwt({"access": [1]}), jwt({"access": None})):
        assert tokens.granted(opaque, "a/b") is None


@given(st.text(max_size=60))
def test_any_token_can_be_looked_at(text: str) -> None:
    """A hostile one is merely opaque."""
    assert tokens.granted(f"Bearer {text}", "a") in (None, frozenset())
