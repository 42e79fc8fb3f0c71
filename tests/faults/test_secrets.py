"""Secrets planted in every input, by a registry that says back all it is shown; looked for in every output."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from reconciler.local.registry import Auth, Fault, User, on
from reconciler.local.registry.actions import Scene
from reconciler.local.registry.answer import Answer
from tests.support.mirrors import LocalMirror, mirror

PASSWORD = 'pa&ss<w>"ö/+ 1'
IDENTITY = "identity-token-of-another-host"
GITHUB = "ghs_" + "x1Y" * 12
COSIGN = "cosign&password"
ENV = {
    "RECONCILE_REGISTRY_USERNAME": "me",
    "RECONCILE_REGISTRY_PASSWORD": PASSWORD,
    "GITHUB_TOKEN": GITHUB,
    "COSIGN_PASSWORD": COSIGN,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "oidc-request-token",
}


@dataclass(frozen=True, slots=True)
class Echo:
    """An error that says back who asked, in all spellings."""

    status: int = 500

    async def play(self, scene: Scene) -> Answer:
        """Say it."""
        shown = scene.call.headers.get("Authorization", "")
        text = f"{shown} {scene.call.query}"
        if shown.startswith("Basic "):
            decoded = base64.b64decode(shown[6:]).decode()
            password = decoded.partition(":")[2]
            text += (
                f" {decoded} {quote(password)} {quote_plus(password)} {html.escape(password)} {json.dumps(password)}"
            )
        body = json.dumps(
            {"errors": [{"code": "UNKNOWN", "message": text[:180]}, {"code": "DENIED", "message": shown}]}
        )
        return Answer(self.status, {"Content-Type": "application/json"}, body.encode())


def spellings(secret: str) -> Iterator[str]:
    """How it may turn up (behaviours.md 21)."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield html.escape(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for user in ("me:", "", "x-access-token:"):
        yield base64.b64encode((user + secret).encode()).decode().rstrip("=")


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror on a registry that asks for a token."""
    with mirror(tmp_path, auth=Auth(users=(User("me", PASSWORD),))) as made:
        made.released("1.0.0", "1.1.0")
        made.publish("1.0.0")
        config = made.folder / ".docker" / "config.json"
        config.parent.mkdir()
        auth = base64.b64encode(f"other:{PASSWORD}2".encode()).decode()
        config.write_text(
            json.dumps({"auths": {"other.example": {"auth": auth}, "third.example": {"identitytoken": IDENTITY}}})
        )
        yield made


@pytest.mark.parametrize("kind", ["manifest", "token", "referrers", "upload"])
@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_output_has_a_secret(m: LocalMirror, kind: str, status: int) -> None:
    """Whatever the registry says back is in no plan, report, record, file or log, of any verb and format."""
    m.registry.faults.add(Fault(Echo(status), match=on(kind=kind), times=None))
    said = []
    with m.hurried():
        for verb, *flags in (
            ("plan", "-vv"),
            ("plan", "--format=json", "-vv"),
            ("plan", "--format=markdown", f"--output={m.folder / 'plan.md'}"),
            ("plan", "--format=json", f"--output={m.folder / 'plan.json'}"),
            ("apply", "--format=json", f"--logs={m.folder / 'logs'}"),
            ("apply", "-vv"),
            ("verify", "--format=json"),
            ("verify",),
        ):
            _, out, err = m.run(verb, *flags, env=ENV)
            said.append(out + err)
    written = [
        path.read_bytes().decode(errors="replace")
        for folder in (m.state, m.folder / "logs", m.folder)
        for path in (folder.glob("*") if folder == m.folder else folder.rglob("*"))
        if path.is_file()
    ]
    assert "127.0.0.1" in "".join(said)
    tokens = list(m.registry.access._tokens)
    assert tokens or kind in ("token", "manifest"), kind
    for secret in (PASSWORD, PASSWORD + "2", IDENTITY, GITHUB, COSIGN, "oidc-request-token", *tokens):
        for spelling in spellings(secret):
            for text in said + written:
                assert spelling not in text, (spelling, text[:2000])


@pytest.mark.parametrize("header", ["Docker-Content-Digest", "Content-Type"])
def test_no_header_says_a_token_back(m: LocalMirror, header: str) -> None:
    """Nor does one that an error would quote, though it is cut in the middle of it."""
    m.registry.faults.add(Fault(EchoHeader(header), match=on(kind="manifest"), times=None))
    with m.hurried():
        status, out, err = m.run("plan", env=ENV)
    assert status == 1
    tokens = list(m.registry.access._tokens)
    assert tokens
    for token in tokens:
        assert token[:12] not in out + err


@dataclass(frozen=True, slots=True)
class EchoHeader:
    """An answer whose header is the token that was shown."""

    header: str

    async def play(self, scene: Scene) -> Answer:
        """Say it."""
        answer = await scene.proceed()
        shown = scene.call.headers.get("Authorization", "").partition(" ")[2]
        return replace(answer, headers={**answer.headers, self.header: "x" * 40 + shown})
