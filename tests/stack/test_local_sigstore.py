"""The real cosign 2 and 3 sign and verify against the local Sigstore, and judge what its mint makes."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.local.cncf import CncfRegistry
from reconciler.local.sigstore import (
    GITHUB_ISSUER,
    WORKFLOW,
    Fault,
    Key,
    Layer,
    LocalSigstore,
    Workflow,
    sign_statement,
    simple_signing,
)
from reconciler.local.tools import Tool, Tools
from tests.stack.attaching import Repository
from tests.stack.running import run_tool

SPDX = "https://spdx.dev/Document"
SIGN = "https://sigstore.dev/cosign/sign/v1"
PASSWORD = "correct horse"
IDENTITY = ["--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", GITHUB_ISSUER]
LEGACY = ["--new-bundle-format=false", "--use-signing-config=false"]


@dataclass(frozen=True, slots=True)
class Cosign:
    """cosign 3 and 2, trusting one local Sigstore only."""

    tools: Tools
    sigstore: LocalSigstore

    def three(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run(Tool.COSIGN, *words, check=check)

    def two(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run(Tool.COSIGN2, *words, check=check)

    @property
    def trust(self) -> list[object]:
        return ["--trusted-root", self.sigstore.trusted_root]

    @property
    def keyless(self) -> list[object]:
        config = ["--signing-config", self.sigstore.signing_config]
        return [*config, *self.trust, "--identity-token", self.sigstore.identity_token(), "-y"]

    @property
    def services(self) -> list[object]:
        urls = ["--fulcio-url", self.sigstore.url, "--rekor-url", self.sigstore.url]
        return [*urls, "--identity-token", self.sigstore.identity_token(), "-y"]

    def keyed(self, private: Path) -> list[object]:
        return ["--key", private, "--signing-config", self.sigstore.key_signing_config, *self.trust, "-y"]

    def _run(self, tool: Tool, *words: object, check: bool) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(self.sigstore.folder), "COSIGN_PASSWORD": PASSWORD}
        return run_tool(self.tools[tool], *words, env=self.sigstore.environment | home, check=check)


@pytest.fixture(scope="module")
def cosign(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cosign]:
    with LocalSigstore(tmp_path_factory.mktemp("sigstore")) as sigstore:
        yield Cosign(tools, sigstore)


@pytest.fixture
def repository(registry: CncfRegistry, request: pytest.FixtureRequest) -> Repository:
    """A repository of the test's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower()).strip("-")
    return Repository(registry.host, f"sigstore/{'-'.join(part for part in name.split('-') if part)}")


def _statement(*digests: str, kind: str = SPDX) -> bytes:
    subjects = [{"name": "app", "digest": {"sha256": digest.removeprefix("sha256:")}} for digest in digests]
    predicate = {"spdxVersion": "SPDX-2.3", "name": "<odd> & \u20ac"}
    whole = {"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": kind}
    return json.dumps(whole | {"predicate": predicate}, indent=1).encode()


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _types(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {entry["critical"]["type"] for entry in json.loads(done.stdout)}


def _payload(bundle: bytes) -> bytes:
    return base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])


def test_keyless_signature_and_two_subject_attestation(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """Signed to files, attached by us: cosign verifies both on the index, and the attestation on the platform too."""
    index, platform = repository.image()
    signature, sbom = tmp_path / "signature", tmp_path / "sbom"
    statement = _written(tmp_path, "statement", _statement(index, platform))
    cosign.three("sign", *cosign.keyless, "--upload=false", "--bundle", signature, f"{repository}@{index}")
    cosign.three("attest-blob", *cosign.keyless, "--bundle", sbom, "--statement", statement)
    assert _payload(signature.read_bytes()) == sign_statement(index)
    assert _payload(sbom.read_bytes()) == statement.read_bytes()
    repository.bundles(index, signature.read_bytes(), sbom.read_bytes())
    repository.bundles(platform, sbom.read_bytes())
    assert _types(cosign.three("verify", *cosign.trust, *IDENTITY, f"{repository}@{index}")) == {SIGN, SPDX}
    for digest in (index, platform):
        cosign.three("verify-attestation", *cosign.trust, *IDENTITY, "--type", "spdxjson", f"{repository}@{digest}")
    for wrong in (
        ["--certificate-identity", WORKFLOW + "x", "--certificate-oidc-issuer", GITHUB_ISSUER],
        ["--certificate-identity", WORKFLOW, "--certificate-oidc-issuer", "https://issuer.example"],
    ):
        assert cosign.three("verify", *cosign.trust, *wrong, f"{repository}@{index}", check=False).returncode != 0


def test_keyless_attestation_of_a_predicate(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """`attest --no-upload --predicate` asks no registry at all, and its bundle verifies once attached."""
    index, _ = repository.image()
    bundle, predicate = tmp_path / "bundle", _written(tmp_path, "predicate", b'{"a": 1}')
    nowhere = f"127.0.0.1:1/o/app@{index}"
    words = ["--no-upload", "--bundle", bundle, "--type", "https://example.org/p", "--predicate", predicate]
    cosign.three("attest", *cosign.keyless, *words, nowhere)
    repository.bundles(index, bundle.read_bytes())
    kind = ["--type", "https://example.org/p"]
    cosign.three("verify-attestation", *cosign.trust, *IDENTITY, *kind, f"{repository}@{index}")


def test_key_signature_and_attestation(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """The same with a key whose file we made: cosign opens it, signs with it, and verifies with the public half."""
    _, private, public = cosign.sigstore.key_pair(PASSWORD, "first")
    _, _, other = cosign.sigstore.key_pair(PASSWORD, "second")
    index, platform = repository.image()
    signature, sbom = tmp_path / "signature", tmp_path / "sbom"
    statement = _written(tmp_path, "statement", _statement(index, platform))
    cosign.three("sign", *cosign.keyed(private), "--upload=false", "--bundle", signature, f"{repository}@{index}")
    cosign.three("attest-blob", *cosign.keyed(private), "--bundle", sbom, "--statement", statement)
    repository.bundles(index, signature.read_bytes(), sbom.read_bytes())
    verify = ["--insecure-ignore-tlog=true", "--key"]
    assert _types(cosign.three("verify", *verify, public, f"{repository}@{index}")) == {SIGN, SPDX}
    cosign.three("verify-attestation", *verify, public, "--type", "spdxjson", f"{repository}@{index}")
    assert cosign.three("verify", *verify, other, f"{repository}@{index}", check=False).returncode != 0


def test_cosign_2_signs_and_attests_and_both_verify(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """The legacy layout by its own program, with both kinds of log entry for attestations."""
    index, _ = repository.image()
    image = f"{repository}@{index}"
    predicate = _written(tmp_path, "predicate", b'{"a": 1}')
    cosign.two("sign", *cosign.services, image)
    for kind, entry in (("spdxjson", "dsse"), ("https://example.org/p", "intoto")):
        attest = ["--rekor-entry-type", entry, "--type", kind, "--predicate", predicate]
        cosign.two("attest", *cosign.services, *attest, image)
    kinds = [entry.body.kind for entry in cosign.sigstore.core.log.entries()[-3:]]
    assert kinds == ["hashedrekord", "dsse", "intoto"]
    for run, trust in ((cosign.two, []), (cosign.three, cosign.trust)):
        assert _types(run("verify", *trust, *IDENTITY, image)) == {"cosign container image signature"}
        for kind in ("spdxjson", "https://example.org/p"):
            run("verify-attestation", *trust, *IDENTITY, "--type", kind, image)
    wrong = ["--certificate-identity", WORKFLOW + "x", "--certificate-oidc-issuer", GITHUB_ISSUER]
    assert cosign.two("verify", *wrong, image, check=False).returncode != 0


def test_cosign_2_finds_the_entry_in_the_log_itself(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """Where the layer has no log entry, cosign 2 searches the log and checks the proof it gets."""
    index, _ = repository.image()
    layer = cosign.sigstore.mint.legacy_signature(str(repository), index)
    away = {k: v for k, v in layer.annotations.items() if k != "dev.sigstore.cosign/bundle"}
    repository.legacy(index, ".sig", Layer(layer.media_type, layer.data, away))
    online = ["--rekor-url", cosign.sigstore.url, *IDENTITY, f"{repository}@{index}"]
    assert cosign.two("verify", *online).returncode == 0
    repository.legacy(index, ".sig", _unlogged(cosign, repository, index))
    assert cosign.two("verify", *online, check=False).returncode != 0


def _unlogged(cosign: Cosign, repository: Repository, digest: str) -> Layer:
    return cosign.sigstore.mint.legacy_signature(str(repository), digest, faults=[Fault.NO_LOG_ENTRY])


def test_cosign_3_writes_the_legacy_layout_too(cosign: Cosign, repository: Repository) -> None:
    index, _ = repository.image()
    cosign.three("sign", *LEGACY, *cosign.services, f"{repository}@{index}")
    cosign.two("verify", *IDENTITY, f"{repository}@{index}")


def test_a_signed_blob_makes_a_legacy_signature(cosign: Cosign, repository: Repository, tmp_path: Path) -> None:
    """`sign-blob` of a simple signing payload holds all that a `.sig` layer needs, which isn't a chain."""
    index, _ = repository.image()
    payload, out = simple_signing(str(repository), index), tmp_path / "bundle"
    cosign.three("sign-blob", *cosign.keyless, "--bundle", out, _written(tmp_path, "payload", payload))
    bundle = json.loads(out.read_text())
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    logged = {
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logIndex": int(entry["logIndex"]),
            "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
        },
    }
    certificate = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    annotations = {
        "dev.cosignproject.cosign/signature": bundle["messageSignature"]["signature"],
        "dev.sigstore.cosign/certificate": ssl.DER_cert_to_PEM_cert(certificate),
        "dev.sigstore.cosign/bundle": json.dumps(logged),
    }
    repository.legacy(index, ".sig", Layer("application/vnd.dev.cosign.simplesigning.v1+json", payload, annotations))
    cosign.two("verify", *IDENTITY, f"{repository}@{index}")
    cosign.three("verify", *cosign.trust, *IDENTITY, f"{repository}@{index}")


def _shape(value: Any) -> Any:
    """Names, their order and the kinds of values, without the values."""
    if isinstance(value, dict):
        return [(name, _shape(inner)) for name, inner in value.items()]
    return [_shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def test_minted_bundles_look_like_cosigns(cosign: Cosign, tmp_path: Path) -> None:
    """Same names in the same order, same encoding, same statement: with a key, with a key and a log, and keyless."""
    key, private, _ = cosign.sigstore.key_pair(PASSWORD, "shape")
    statement = sign_statement("sha256:" + "a" * 64)
    file, mint = _written(tmp_path, "statement", statement), cosign.sigstore.mint
    logged = ["--key", private, "--signing-config", cosign.sigstore.signing_config, *cosign.trust, "-y"]
    for name, words, minted in (
        ("key", cosign.keyed(private), mint.key_bundle(statement, key)),
        ("logged", logged, mint.key_bundle(statement, key, logged=True)),
        ("keyless", cosign.keyless, mint.keyless_bundle(statement)),
    ):
        out = tmp_path / name
        cosign.three("attest-blob", *words, "--bundle", out, "--statement", file)
        # a proof has one hash per level of the tree, which grows meanwhile
        ours, theirs = (_without_hashes(json.loads(raw)) for raw in (minted, out.read_bytes()))
        assert _shape(ours) == _shape(theirs), name
        assert _payload(minted) == _payload(out.read_bytes()) == statement
        assert ours["verificationMaterial"].get("publicKey") == theirs["verificationMaterial"].get("publicKey")
        assert (minted[-1:], b'": ' in minted) == (b"}", False)


def _without_hashes(bundle: dict[str, Any]) -> dict[str, Any]:
    for entry in bundle["verificationMaterial"].get("tlogEntries", []):
        assert entry["inclusionProof"].pop("hashes")
    return bundle


def test_cosign_accepts_minted_bundles(cosign: Cosign, repository: Repository) -> None:
    """Keyless, of a reusable workflow, with a key, and with a key and a log: each alone on an image of its own."""
    mint, called = cosign.sigstore.mint, "https://github.com/shared/flows/.github/workflows/s.yml@refs/tags/v1"
    key, _, public = cosign.sigstore.key_pair(PASSWORD, "minted")
    reusable = ["--certificate-identity", called, "--certificate-oidc-issuer", GITHUB_ISSUER]
    reusable += ["--certificate-github-workflow-repository", "o/caller"]
    for salt, words in (
        ("keyless", [*cosign.trust, *IDENTITY]),
        ("reusable", [*cosign.trust, *reusable]),
        ("key", ["--key", public, "--insecure-ignore-tlog=true"]),
        ("logged", ["--key", public, *cosign.trust]),
    ):
        index, _ = repository.image(salt)
        statement = sign_statement(index)
        made = {
            "keyless": lambda s: mint.keyless_bundle(s),
            "reusable": lambda s: mint.keyless_bundle(s, called, source_repository="o/caller"),
            "key": lambda s: mint.key_bundle(s, key),
            "logged": lambda s: mint.key_bundle(s, key, logged=True),
        }
        repository.bundles(index, made[salt](statement))
        assert _types(cosign.three("verify", *words, f"{repository}@{index}")) == {SIGN}


@pytest.mark.parametrize("fault", Fault)
def test_cosign_refuses_minted_bundles_with_a_fault(cosign: Cosign, repository: Repository, fault: Fault) -> None:
    """What is broken for sigstore-python is broken for cosign 3."""
    index, _ = repository.image()
    repository.bundles(index, cosign.sigstore.mint.keyless_bundle(sign_statement(index), faults=[fault]))
    done = cosign.three("verify", *cosign.trust, *IDENTITY, f"{repository}@{index}", check=False)
    assert done.returncode != 0, done.stdout


def test_cosign_2_accepts_minted_layers(cosign: Cosign, repository: Repository) -> None:
    """Signature and attestation, keyless and with a key, with and without a log."""
    index, _ = repository.image()
    image, mint = f"{repository}@{index}", cosign.sigstore.mint
    key, _, public = cosign.sigstore.key_pair(PASSWORD, "layers")
    statement = _statement(index)
    offline = ["--key", public, "--insecure-ignore-tlog=true"]
    cases: list[tuple[Workflow | Key, bool, list[object]]] = [
        (Workflow(), True, [*IDENTITY]),
        (key, True, ["--key", public]),
        (key, False, [*offline]),
    ]
    for signer, logged, words in cases:
        repository.legacy(index, ".sig", mint.legacy_signature(str(repository), index, signer, logged=logged))
        repository.legacy(index, ".att", mint.legacy_attestation(statement, signer, logged=logged))
        cosign.two("verify", *words, image)
        cosign.two("verify-attestation", *words, "--type", "spdxjson", image)


NOT_IN_LEGACY = {Fault.GARBLED_PROOF}  # a layer carries the log's promise and no proof


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in NOT_IN_LEGACY])
def test_cosign_2_refuses_minted_layers_with_a_fault(cosign: Cosign, repository: Repository, fault: Fault) -> None:
    """The same faults in the legacy layout, where they can be."""
    index, _ = repository.image()
    mint = cosign.sigstore.mint
    repository.legacy(index, ".sig", mint.legacy_signature(str(repository), index, faults=[fault]))
    repository.legacy(index, ".att", mint.legacy_attestation(_statement(index), faults=[fault]))
    online = ["--rekor-url", cosign.sigstore.url, *IDENTITY]
    signed = cosign.two("verify", *online, f"{repository}@{index}", check=False)
    attested = cosign.two("verify-attestation", *online, "--type", "spdxjson", f"{repository}@{index}", check=False)
    assert (signed.returncode != 0, attested.returncode != 0) == (True, True), signed.stdout + attested.stdout
