"""Apply as it runs on GitHub: keyless, both layouts, a registry that asks for tokens, and secrets that stay unseen."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reconciler.apply.results import Done
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.sigstore import GITHUB_ISSUER, WORKFLOW, LocalSigstore
from reconciler.local.tokens import PULL, PUSH, Right, TokenServer, User
from reconciler.local.tools import Tools
from reconciler.model.evidence import Kind
from reconciler.model.signing import Identity, Keyless, Policy, Signing
from reconciler.registry.credential import Credential
from tests.stack.mirror import AMD64, Mirror
from tests.stack.running import run_tool

SECRET = "pass-word-of-the-mirror"
IDENTITY = Identity(GITHUB_ISSUER, WORKFLOW)


@pytest.fixture
def sigstore(tmp_path: Path) -> Iterator[LocalSigstore]:
    """A Fulcio and a Rekor on this machine."""
    with LocalSigstore(tmp_path / "sigstore") as sigstore:
        yield sigstore


@pytest.fixture
def guarded(tools: Tools, tmp_path: Path) -> Iterator[tuple[CncfRegistry, str]]:
    """A registry where anyone may read what is public, and only `ci` may push; and its token server's host."""
    users = [User("ci", SECRET, (Right("mirror/*", PUSH),))]
    with (
        TokenServer(users, anonymous=[Right("mirror/*", PULL)]) as server,
        CncfRegistry(tools, tmp_path / "guarded", tokens=server) as registry,
    ):
        yield registry, urlsplit(server.realm).netloc


@contextmanager
def everyones_words() -> Iterator[set[str]]:
    """Every argument of every process that runs meanwhile, as anyone on the machine can read them."""
    seen: set[str] = set()
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.005):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    except OSError:
                        continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


async def test_keyless_in_both_layouts_with_tokens(
    guarded: tuple[CncfRegistry, str],
    sigstore: LocalSigstore,
    base_images: BaseImages,
    builder: Builder,
    tools: Tools,
    tmp_path: Path,
) -> None:
    """Signed by the workflow's identity; cosign 3 and cosign 2 agree; no secret is in argv, logs or records."""
    registry, realm = guarded
    token = sigstore.identity_token()
    trusted_root = sigstore.trusted_root.read_text(encoding="utf-8")
    mirror = Mirror.on(
        registry.host,
        base_images,
        builder,
        tools,
        tmp_path / "keyless",
        platforms=(AMD64,),
        signed=Signing(
            Keyless(IDENTITY, str(sigstore.signing_config)), Policy((IDENTITY,), trusted_root, ("bundle", "legacy"))
        ),
        credential=Credential("ci", SECRET),
        realms={registry.host: frozenset({realm})},
        options={"token": token},
    )
    # what cosign 2's way to sign needs to trust a Fulcio and a Rekor that aren't Sigstore's own
    mirror.environ = {**mirror.environ, **sigstore.environment, "GITHUB_TOKEN": "ghs_" + "x" * 36}
    with everyones_words() as words:
        outcome = await mirror.reconcile()
    assert [type(result) for result in outcome.results] == [Done, Done], outcome
    assert (await mirror.plan()).changes == ()
    assert (await mirror.plan(fresh=True)).changes == ()
    proofs = mirror.records.load("hello").images[str(mirror.repository())].tags["1.0.0"].proofs
    assert proofs.keys() == set(Kind)
    assert all(proof.by == WORKFLOW and proof.at for proof in proofs.values())

    who = ["--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", GITHUB_ISSUER]
    tag = mirror.tag("1.0.0")
    run_tool(tools[Tool.COSIGN], "verify", "--trusted-root", sigstore.trusted_root, *who, tag)
    run_tool(
        tools[Tool.COSIGN],
        "verify-attestation",
        "--trusted-root",
        sigstore.trusted_root,
        *who,
        "--type",
        "spdxjson",
        tag,
    )
    run_tool(tools[Tool.COSIGN2], "verify", "--rekor-url", sigstore.url, *who, tag, env=dict(sigstore.environment))

    logs = [path.read_text(encoding="utf-8") for path in (mirror.folder / "logs").iterdir()]
    record = mirror.records.path("hello").read_text(encoding="utf-8")
    secrets = [SECRET, base64.b64encode(f"ci:{SECRET}".encode()).decode(), token.read_text(encoding="utf-8"), "ghs_xxx"]
    assert any("buildx build" in line for line in words)
    assert any("cosign sign" in line for line in words)
    for secret in secrets:
        for text in (*words, *logs, record):
            assert secret not in text


async def test_without_the_right_to_push_nothing_is_done(
    guarded: tuple[CncfRegistry, str], base_images: BaseImages, builder: Builder, tools: Tools, tmp_path: Path
) -> None:
    """Refused before the first effect, with the repository and what to do."""
    from reconciler.apply.look import NotReady

    registry, realm = guarded
    mirror = Mirror.on(
        registry.host,
        base_images,
        builder,
        tools,
        tmp_path / "reader",
        platforms=(AMD64,),
        realms={registry.host: frozenset({realm})},
    )
    with pytest.raises(NotReady, match="nothing was done") as caught:
        await mirror.reconcile()
    assert str(mirror.repository()) in str(caught.value)
    assert "docker login" in str(caught.value)
    assert not (registry.storage / "docker" / "registry" / "v2" / "repositories" / "mirror").exists()
