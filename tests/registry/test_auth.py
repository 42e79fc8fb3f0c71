from __future__ import annotations

import json
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Denied, Malformed
from reconciler.registry import auth
from reconciler.registry.credential import Credential, Use

ME = Credential("me", "hunter2", source="a test")
IDENTITY = Credential("", "refresh-me", Use.IDENTITY, "a test")
REALM = httpx.URL("https://auth.example.org/token?account=me")


def ask(credential: Credential | None = None, scopes: tuple[str, ...] = ("repository:a/b:pull",)) -> httpx.Request:
    return next(auth.obtain(REALM, "registry", scopes, credential, "x"))


def token(status: int, body: object, credential: Credential | None = None) -> auth.Token:
    flow = auth.obtain(REALM, "registry", ("repository:a/b:pull",), credential, "example.org/a/b")
    next(flow)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as done:
        flow.send(httpx.Response(status, content=content))
    found = done.value.value
    assert isinstance(found, auth.Token)
    return found


def test_an_anonymous_request_names_service_and_scope_and_nobody() -> None:
    """GET realm?service&scope, what the realm's own query says kept, no Authorization (protocols 2.1)."""
    request = ask()
    assert str(request.url) == (
        "https://auth.example.org/token?account=me&service=registry&scope=repository%3Aa%2Fb%3Apull"
    )
    assert request.method == "GET"
    assert "authorization" not in request.headers


def test_a_password_goes_as_basic() -> None:
    """As GHCR wants it (protocols 2.4), and nowhere but in the header."""
    request = ask(ME)
    assert request.headers["authorization"] == "Basic bWU6aHVudGVyMg=="
    assert "hunter2" not in str(request.url)


def test_several_scopes_are_asked_for_in_one_request() -> None:
    """Each a parameter of its own (distribution auth/token.md)."""
    assert ask(None, ("repository:a:pull", "repository:b:pull")).url.params.get_list("scope") == [
        "repository:a:pull",
        "repository:b:pull",
    ]


def test_an_identity_token_is_exchanged_by_post() -> None:
    """It goes in the body, never in the URL (distribution auth/oauth.md)."""
    request = ask(IDENTITY)
    assert request.method == "POST"
    assert dict(httpx.QueryParams(request.content.decode())) == {
        "grant_type": "refresh_token",
        "service": "registry",
        "client_id": "reconcile",
        "scope": "repository:a/b:pull",
        "refresh_token": "refresh-me",
    }
    assert "refresh-me" not in str(request.url)
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("body", "life"),
    [
        ({"token": "t"}, 60),
        ({"access_token": "t", "expires_in": 300}, 300),
        ({"token": "t", "access_token": "other", "expires_in": 0}, 60),
        ({"token": "t", "expires_in": "soon"}, 60),
        ({"token": "t", "expires_in": True}, 60),
        ({"token": "t", "expires_in": 10**12}, 86400),
    ],
)
def test_a_token_is_read_with_its_life(body: Mapping[str, object], life: float) -> None:
    """`token` or `access_token`; a life that isn't stated, or absurd, is the spec's sixty seconds (protocols 2.3)."""
    assert token(200, body) == auth.Token("t", life)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"token": 1}', b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b'{"token": ""}'],
)
def test_what_is_no_token_is_malformed(body: bytes) -> None:
    """Whatever can't stand in a header isn't put there."""
    with pytest.raises(Malformed):
        token(200, body)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_denied_and_named_by_its_source(status: int) -> None:
    """The message says where the credential came from, and not what it is."""
    with pytest.raises(Denied, match="refuses the credential from a test") as caught:
        token(status, b"", ME)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(Denied, match="refuses anonymous access"):
        token(status, b"")


@pytest.mark.parametrize("status", [201, 204, 302, 307, 400, 404])
def test_any_other_answer_is_malformed(status: int) -> None:
    """A redirect of the token service is an answer too: it isn't followed."""
    with pytest.raises(Malformed):
        token(status, {"token": "t"})


@given(st.binary(max_size=200))
def test_nothing_but_our_errors_comes_from_any_answer(body: bytes) -> None:
    """Hostile token services are Malformed."""
    try:
        token(200, body)
    except Malformed:
        return


# where a credential may go


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("ghcr.io", "https://ghcr.io/token", True),
        ("ghcr.io", "https://GHCR.io:443/token", True),
        ("ghcr.io", "https://ghcr.io:8443/token", False),
        ("ghcr.io", "https://ghcr.io.evil.org/token", False),
        ("ghcr.io", "https://token.ghcr.io/token", False),
        ("ghcr.io", "https://evil.org/ghcr.io/token", False),
        ("docker.io", "https://auth.docker.io/token", True),
        ("ghcr.io", "https://auth.docker.io/token", False),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("example.org", "https://named.example.org/auth", True),
        ("other.org", "https://named.example.org/auth", False),
        ("127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("localhost:5000", "http://127.0.0.1:5001/token", True),
        ("example.org", "https://127.0.0.1/token", False),
        ("127.0.0.1:5000", "https://example.org/token", False),
    ],
)
def test_a_credential_goes_to_its_own_host_or_one_that_is_named(registry: str, realm: str, allowed: bool) -> None:
    """Not to a realm that merely looks alike, nor to one that is right for another registry."""
    realms = {"example.org": frozenset({"named.example.org"})}
    assert auth.may_have(ME, httpx.URL(realm), registry, registry, realms) is allowed


def test_a_bearer_credential_goes_to_no_realm() -> None:
    """A registrytoken is for the registry itself."""
    assert not auth.may_have(Credential("", "t", Use.BEARER), httpx.URL("https://a.org/t"), "a.org", "a.org", {})


@pytest.mark.parametrize(
    ("realm", "plain"),
    [
        ("", False),
        ("token", False),
        ("/token", True),
        ("ftp://a.org/token", False),
        ("http://a.org/token", False),
        ("http://b.org/token", True),
        ("https://me:pw@a.org/token", False),
        ("https:///token", False),
        ("https://a.org/token#x", False),
        ("https://a\x00.org/", False),
    ],
)
def test_a_realm_that_cant_be_trusted_at_all_is_malformed(realm: str, plain: bool) -> None:
    """No URL, another scheme, a user in it, or http where the registry itself isn't spoken to so."""
    with pytest.raises(Malformed):
        auth.check_realm(realm, "a.org", plain=plain, where="x")


def test_a_plain_registry_may_have_a_plain_realm_of_its_own() -> None:
    """What the operator allowed for a host holds for its token service on the same host."""
    assert auth.check_realm("http://a.org/token", "a.org", plain=True, where="x").host == "a.org"


def test_the_operator_names_realms() -> None:
    """RECONCILE_TOKEN_REALMS: pairs, comma-separated; several per registry; garbage is refused."""
    assert auth.parse_realms(" a.org=b.org , a.org=C.org,d.org:5000=e.org:1 ") == {
        "a.org": frozenset({"b.org", "c.org"}),
        "d.org:5000": frozenset({"e.org:1"}),
    }
    assert auth.parse_realms("") == {}
    for bad in ("a.org", "=b", "a=", "a.org=https://b.org/token"):
        with pytest.raises(ValueError, match="names no token service"):
            auth.parse_realms(bad)
