"""What a log keeps of a proposed entry, for the three kinds that cosign writes: hashedrekord, dsse and intoto.

As Rekor v1 does, each signature is verified against the key or certificate that came with it before anything is
kept, and the kept body is canonical JSON (RFC 8785: these bodies hold only strings, so sorted keys and no spaces do).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from reconciler.errors import EvidenceError


@dataclass(frozen=True, slots=True)
class Body:
    """One canonical entry: its kind, the version of its kind, and the bytes that become a leaf."""

    kind: str
    version: str
    content: bytes


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is over (DSSE protocol, section "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def canonical(proposed: Mapping[str, Any]) -> Body:
    """The body to keep; EvidenceError where the proposal isn't one, or a signature in it doesn't verify."""
    try:
        kind, version, spec = proposed["kind"], proposed["apiVersion"], proposed["spec"]
        kept = _KINDS[(kind, version)](spec)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise EvidenceError(f"this is no entry the log can keep: {error!r}") from error
    except InvalidSignature as error:
        raise EvidenceError("the entry's signature doesn't verify with the key that came with it") from error
    return body(kind, version, kept)


def body(kind: str, version: str, spec: Mapping[str, Any]) -> Body:
    """A kept entry of this kind, of a spec that is trusted."""
    content = {"apiVersion": version, "kind": kind, "spec": spec}
    return Body(kind, version, json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def hashedrekord(digest: bytes, signature: bytes, verifier_pem: str) -> dict[str, Any]:
    """The spec of an entry for a signature over data with this SHA-256."""
    return {
        "data": {"hash": _sha256_of(digest)},
        "signature": {"content": _b64(signature), "publicKey": {"content": _b64(verifier_pem.encode())}},
    }


def dsse(envelope: Mapping[str, Any], verifier_pem: str) -> dict[str, Any]:
    """The spec that is kept of a DSSE envelope; `verifier_pem` verified all of its signatures."""
    raw = json.dumps(envelope, separators=(",", ":")).encode()
    return {
        "envelopeHash": _sha256(raw),
        "payloadHash": _sha256(base64.b64decode(envelope["payload"])),
        "signatures": [
            {"signature": signature["sig"], "verifier": _b64(verifier_pem.encode())}
            for signature in envelope["signatures"]
        ],
    }


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key of a PEM public key or certificate; ValueError for anything else."""
    if b"CERTIFICATE" in pem:
        key: object = x509.load_pem_x509_certificate(pem).public_key()
    else:
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("only ECDSA keys are known here")
    return key


def _keep_hashedrekord(spec: Mapping[str, Any]) -> dict[str, Any]:
    algorithm, value = spec["data"]["hash"]["algorithm"], spec["data"]["hash"]["value"]
    if algorithm != "sha256":
        raise ValueError(f"hash algorithm {algorithm}")
    signature = base64.b64decode(spec["signature"]["content"])
    pem = base64.b64decode(spec["signature"]["publicKey"]["content"])
    digest = bytes.fromhex(value)
    public_key(pem).verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return hashedrekord(digest, signature, pem.decode())


def _keep_dsse(spec: Mapping[str, Any]) -> dict[str, Any]:
    content = spec["proposedContent"]
    raw: str = content["envelope"]
    envelope = json.loads(raw)
    payload = base64.b64decode(envelope["payload"])
    pems = [base64.b64decode(verifier) for verifier in content["verifiers"]]
    signatures = [
        {
            "signature": signature["sig"],
            "verifier": _b64(_verifier(envelope["payloadType"], payload, base64.b64decode(signature["sig"]), pems)),
        }
        for signature in envelope["signatures"]
    ]
    if not signatures:
        raise ValueError("no signature")
    return {"envelopeHash": _sha256(raw.encode()), "payloadHash": _sha256(payload), "signatures": signatures}


def _keep_intoto_1(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0.0.1, which cosign 2 writes: the envelope comes as text, and only its hash is kept."""
    raw: str = spec["content"]["envelope"]
    envelope = json.loads(raw)
    payload = base64.b64decode(envelope["payload"])
    pem = base64.b64decode(spec["publicKey"])
    for signature in envelope["signatures"]:
        _verifier(envelope["payloadType"], payload, base64.b64decode(signature["sig"]), [pem])
    return {
        "content": {"hash": _sha256(raw.encode()), "payloadHash": _sha256(payload)},
        "publicKey": spec["publicKey"],
    }


def _keep_intoto(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0.0.2: payload and signatures come in base64 twice; the payload isn't kept."""
    envelope = spec["content"]["envelope"]
    payload = base64.b64decode(base64.b64decode(envelope["payload"]))
    for signature in envelope["signatures"]:
        raw = base64.b64decode(base64.b64decode(signature["sig"]))
        _verifier(envelope["payloadType"], payload, raw, [base64.b64decode(signature["publicKey"])])
    kept = {name: value for name, value in envelope.items() if name != "payload"}
    return {"content": {"envelope": kept, "hash": spec["content"]["hash"], "payloadHash": _sha256(payload)}}


def _verifier(payload_type: str, payload: bytes, signature: bytes, pems: list[bytes]) -> bytes:
    """The first of the keys with which the signature verifies."""
    message = pre_authentication_encoding(payload_type, payload)
    for pem in pems:
        try:
            public_key(pem).verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return pem
    raise InvalidSignature


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sha256(data: bytes) -> dict[str, str]:
    return _sha256_of(hashlib.sha256(data).digest())


def _sha256_of(digest: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": digest.hex()}


_KINDS = {
    ("hashedrekord", "0.0.1"): _keep_hashedrekord,
    ("dsse", "0.0.1"): _keep_dsse,
    ("intoto", "0.0.1"): _keep_intoto_1,
    ("intoto", "0.0.2"): _keep_intoto,
}
