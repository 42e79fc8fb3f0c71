"""The token server gives each user exactly what is theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from reconciler.local.tokens import ALL, PULL, PUSH, Right, TokenServer, User

USERS = (
    User("me", "p:ä&", (Right("mine/*", PUSH), Right("shared", ALL))),
    User("other", "q", (Right("other/*", PUSH),)),
)


@pytest.fixture(scope="module")
def server() -> Iterator[TokenServer]:
    """A server with two users, and one repository that everybody may pull."""
    with TokenServer(USERS, anonymous=[Right("mine/public", PULL)], service="here") as server:
        yield server


def claims(answer: httpx.Response) -> dict[str, object]:
    """What a token says."""
    assert answer.status_code == 200
    body = answer.json()
    assert body["token"] == body["access_token"]
    part = body["token"].split(".")[1]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def ask(server: TokenServer, *scopes: str, auth: tuple[str, str] | None = None) -> httpx.Response:
    """GET the token, as docker does."""
    with httpx.Client(trust_env=False) as client:
        return client.get(
            server.realm, params={"service": "here", "scope": scopes}, auth=httpx.BasicAuth(*auth) if auth else None
        )


@pytest.mark.parametrize(
    ("auth", "scope", "granted"),
    [
        (None, "repository:mine/public:pull", ["pull"]),
        (None, "repository:mine/public:pull,push", ["pull"]),
        (None, "repository:mine/private:pull", None),
        (("me", "p:ä&"), "repository:mine/private:push,pull", ["pull", "push"]),
        (("me", "p:ä&"), "repository:mine/private:delete", None),
        (("me", "p:ä&"), "repository:shared:delete,pull", ["delete", "pull"]),
        (("other", "q"), "repository:mine/private:pull", None),
        (("other", "q"), "repository:mine/public:pull", ["pull"]),
        (("me", "p:ä&"), "registry:catalog:*", None),
        (("me", "p:ä&"), "nonsense", None),
    ],
)
def test_a_token_holds_what_is_asked_and_allowed(
    server: TokenServer, auth: tuple[str, str] | None, scope: str, granted: list[str] | None
) -> None:
    """Neither more than was asked for, nor more than the user may do."""
    access = claims(ask(server, scope, auth=auth))["access"]
    name = scope.split(":")[1] if ":" in scope else ""
    assert access == ([{"type": "repository", "name": name, "actions": granted}] if granted else [])


def test_several_scopes_in_one_token(server: TokenServer) -> None:
    """Scopes come as several parameters, or in one with spaces between."""
    one, two = "repository:mine/a:pull", "repository:mine/b:push"
    for scopes in ((one, two), (f"{one} {two}",)):
        access = claims(ask(server, *scopes, auth=("me", "p:ä&")))["access"]
        assert [entry["name"] for entry in access] == ["mine/a", "mine/b"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("auth", [("me", "wrong"), ("nobody", ""), ("", "p:ä&")])
def test_a_wrong_password_is_refused(server: TokenServer, auth: tuple[str, str]) -> None:
    """A wrong password isn't taken for no password."""
    assert ask(server, "repository:mine/public:pull", auth=auth).status_code == 401


def test_oauth(server: TokenServer) -> None:
    """POST with the password grant answers the same; other grants are refused."""
    form = {"grant_type": "password", "username": "me", "password": "p:ä&", "scope": "repository:mine/a:pull"}
    with httpx.Client(trust_env=False) as client:
        assert claims(client.post(server.realm, data=form))["sub"] == "me"
        assert client.post(server.realm, data={**form, "password": "no"}).status_code == 401
        assert client.post(server.realm, data={"grant_type": "refresh_token"}).status_code == 400
        assert client.post(server.realm, content=b"x" * 20_000).status_code == 400
        assert client.get(server.realm + "s").status_code == 404


def test_the_signature_is_by_the_certificate(server: TokenServer) -> None:
    """A token verifies with the certificate that the registry is given, and names issuer, audience and a life time."""
    answer = ask(server, "repository:mine/public:pull")
    said = claims(answer)
    assert (said["iss"], said["aud"]) == (server.issuer, "here")
    assert said["exp"] - said["iat"] == answer.json()["expires_in"]  # type: ignore[operator]
    head, body, signature = answer.json()["token"].split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = x509.load_pem_x509_certificate(server.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))


def test_tokens_are_counted_and_passwords_hidden(server: TokenServer) -> None:
    """`asked` grows with each token handed out; a password is in no repr."""
    before = server.asked
    ask(server, "repository:mine/public:pull")
    ask(server, auth=("me", "wrong"))
    assert server.asked == before + 1
    assert "p:ä&" not in repr(USERS)
