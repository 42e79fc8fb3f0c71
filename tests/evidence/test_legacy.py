"""cosign 2's attestations with the older kinds of log entry (`--rekor-entry-type intoto`)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from reconciler.evidence.judge import CERTIFICATE, LOG_ENTRY, Judge
from reconciler.evidence.verdict import Rejected, Verified
from reconciler.local.sigstore import entries
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.mint import Fault, Layer, Mint
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.signing import Identity, Policy
from tests.evidence.test_judge import sbom

MINT = Mint()
IMAGE = Digest.of(b"an image")
JUDGE = Judge(Policy((Identity(GITHUB_ISSUER, WORKFLOW),), json.dumps(MINT.trusted_root())))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def hashed(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def spec_of(version: str, layer: Layer) -> dict[str, Any]:
    """What Rekor keeps of the layer in an entry of kind intoto."""
    envelope = json.loads(layer.data)
    key = encoded(layer.annotations[CERTIFICATE].encode())
    payload_hash = hashed(base64.b64decode(envelope["payload"]))
    if version == "0.0.1":
        return {"content": {"hash": hashed(layer.data), "payloadHash": payload_hash}, "publicKey": key}
    signatures = [{"publicKey": key, "sig": encoded(one["sig"].encode())} for one in envelope["signatures"]]
    kept = {"payloadType": envelope["payloadType"], "signatures": signatures}
    return {"content": {"envelope": kept, "hash": hashed(layer.data), "payloadHash": payload_hash}}


def logged(layer: Layer, version: str, spec: dict[str, Any]) -> Layer:
    entry = MINT.core.log.append(entries.body("intoto", version, spec), MINT.core.clock())
    return Layer(layer.media_type, layer.data, {**layer.annotations, LOG_ENTRY: entry.annotation})


VERSIONS = pytest.mark.parametrize("version", ["0.0.1", "0.0.2"])


@VERSIONS
def test_an_intoto_entry_counts(version: str) -> None:
    """An attestation that is logged as intoto is as good as one that is logged as dsse."""
    layer = MINT.legacy_attestation(sbom(IMAGE))
    layer = logged(layer, version, spec_of(version, layer))
    verdict = JUDGE.judge_attestation(layer.data, layer.annotations, IMAGE)
    assert isinstance(verdict, Verified)
    assert (verdict.kind, verdict.by) == (Kind.SBOM, WORKFLOW)
    assert verdict.at


@VERSIONS
def test_an_intoto_entry_of_another_attestation_does_not_count(version: str) -> None:
    """The entry must be about this very signature: not about another by the same, nor with another certificate."""
    layer, other = MINT.legacy_attestation(sbom(IMAGE)), MINT.legacy_attestation(sbom(IMAGE))
    for mixed in (
        spec_of(version, other),
        spec_of(version, Layer(layer.media_type, layer.data, other.annotations)),
        spec_of(version, Layer(layer.media_type, other.data, layer.annotations)),
    ):
        again = logged(layer, version, mixed)
        verdict = JUDGE.judge_attestation(again.data, again.annotations, IMAGE)
        assert verdict == Rejected("its log entry is about something else", Kind.SBOM)


@VERSIONS
@pytest.mark.parametrize("fault", [Fault.BAD_SIGNATURE, Fault.OTHER_PAYLOAD])
def test_a_broken_signature_with_an_intoto_entry_does_not_count(version: str, fault: Fault) -> None:
    """The log keeps what it was given; the signature must hold all the same."""
    layer = MINT.legacy_attestation(sbom(IMAGE), faults=[fault])
    layer = logged(layer, version, spec_of(version, layer))
    verdict = JUDGE.judge_attestation(layer.data, layer.annotations, IMAGE)
    assert verdict == Rejected("its signature doesn't hold", Kind.SBOM)


@pytest.mark.parametrize(
    "spec", [{}, {"content": {}}, {"content": {"payloadHash": 1, "envelope": {"signatures": [1]}}}]
)
@VERSIONS
def test_a_garbled_intoto_entry_is_rejected(version: str, spec: dict[str, Any]) -> None:
    """Whatever a log was made to keep: rejected, no crash."""
    layer = logged(MINT.legacy_attestation(sbom(IMAGE)), version, spec)
    assert isinstance(JUDGE.judge_attestation(layer.data, layer.annotations, IMAGE), Rejected)
