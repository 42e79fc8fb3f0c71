"""A token server for a local registry: bearer tokens as GHCR and Docker Hub hand them out.

It answers `GET /token?service=…&scope=repository:NAME:pull,push` with HTTP Basic or without, and `POST /token` with
`grant_type=password` (distribution spec: docs/spec/auth/token.md, oauth.md, jwt.md). A wrong password is 401; a scope
that isn't allowed is left out of the token, so that the registry is the one who refuses.
"""

from __future__ import annotations

import base64
import fnmatch
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from reconciler.errors import ToolError

_LONGEST_BODY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done (`pull`, `push`, `delete`, `*`) in the repositories whose name matches a shell pattern."""

    repositories: str
    actions: frozenset[str]


PULL = frozenset({"pull"})
PUSH = frozenset({"pull", "push"})
ALL = frozenset({"pull", "push", "delete", "*"})


@dataclass(frozen=True, slots=True)
class User:
    """A user by name, with a password that is never shown, and what it may do."""

    name: str
    password: str
    rights: tuple[Right, ...]

    def __repr__(self) -> str:
        return f"User({self.name!r}, password hidden, {self.rights!r})"


class TokenServer:
    """A context manager: answers at `realm` inside `with`; `asked` counts the tokens handed out."""

    def __init__(
        self,
        users: Iterable[User] = (),
        *,
        anonymous: Iterable[Right] = (),
        lifetime: float = 300.0,
        service: str = "local",
    ) -> None:
        """`anonymous` is what may be done without a password; `lifetime` is in seconds."""
        self.service = service
        self.issuer = "reconcile-local"
        self.asked = 0
        self._users = {user.name: user for user in users}
        self._anonymous = tuple(anonymous)
        self._lifetime = lifetime
        self._signer = _Signer()
        self._lock = threading.Lock()

    @property
    def certificate(self) -> bytes:
        """The self-signed certificate (PEM) that tokens are checked against: the registry's rootcertbundle."""
        return self._signer.certificate

    @property
    def realm(self) -> str:
        """The URL that the registry's challenge names."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"tokens": self})
        try:
            self._server = _Server(("127.0.0.1", 0), handler)
        except OSError as error:
            raise ToolError(f"no loopback port for tokens: {error.strerror}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tokens", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rights_of(self, name: str, password: str) -> tuple[Right, ...] | None:
        """What a user may do; None where the password is wrong; an empty name is nobody's."""
        if not name and not password:
            return self._anonymous
        user = self._users.get(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            return None
        return (*user.rights, *self._anonymous)

    def token(self, name: str, rights: Iterable[Right], scopes: Iterable[str]) -> Mapping[str, object]:
        """The answer with a token for what of `scopes` the rights allow."""
        with self._lock:
            self.asked += 1
        rights = tuple(rights)
        access = [entry for scope in scopes for entry in _granted(scope, rights)]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": name,
            "aud": self.service,
            "iat": now,
            "nbf": now - 10,
            "exp": now + int(self._lifetime),
            "jti": secrets.token_hex(8),
            "access": access,
        }
        token = self._signer.sign(claims)
        issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        return {"token": token, "access_token": token, "expires_in": int(self._lifetime), "issued_at": issued}


def _granted(scope: str, rights: Iterable[Right]) -> list[dict[str, object]]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    allowed = {action for right in rights if fnmatch.fnmatchcase(name, right.repositories) for action in right.actions}
    granted = sorted(set(actions.split(",")) & allowed)
    return [{"type": kind, "name": name, "actions": granted}] if kind == "repository" and granted else []


class _Signer:
    """Signs JWTs with a key made for this run (ES256); its certificate goes along in `x5c`."""

    def __init__(self) -> None:
        import datetime as dt

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "reconcile local tokens")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=7))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self._chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode("ascii")]

    def sign(self, claims: Mapping[str, object]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        head = {"typ": "JWT", "alg": "ES256", "x5c": self._chain}
        text = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self._key.sign(text.encode("ascii"), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away: nobody asked."""


class _Handler(BaseHTTPRequestHandler):
    tokens: TokenServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != "/token":
            self._answer(404, {"details": "not found"})
            return
        name, password = self._basic()
        self._grant(name, password, parse_qs(url.query).get("scope", []))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/token" or not 0 < length <= _LONGEST_BODY:
            self.close_connection = True
            self._answer(400, {"error": "invalid_request"})
            return
        form = {key: values[0] for key, values in parse_qs(self.rfile.read(length).decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "password":
            self._answer(400, {"error": "unsupported_grant_type"})
            return
        self._grant(form.get("username", ""), form.get("password", ""), [form.get("scope", "")])

    def _basic(self) -> tuple[str, str]:
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind.lower() != "basic":
            return "", ""
        try:
            name, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except ValueError:
            return "?", "?"
        return name, password

    def _grant(self, name: str, password: str, scopes: Iterable[str]) -> None:
        rights = self.tokens.rights_of(name, password)
        if rights is None:
            self._answer(401, {"details": "incorrect username or password"})
            return
        self._answer(200, self.tokens.token(name, rights, [one for scope in scopes for one in scope.split()]))

    def _answer(self, status: int, body: Mapping[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        """Say nothing: nobody asked."""
