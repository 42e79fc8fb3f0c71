"""Keyless signatures and attestations of cosign 2: rebuilt into bundles and verified by sigstore-python.

Their log entry comes without an inclusion proof: a promise (signed entry timestamp) by the log's key is all there is,
and all that cosign itself checks offline. They are rebuilt into a bundle whose entry verifies that promise, and
everything else is verified as `keyless` does.

Imported only where there is one to verify, as `keyless` is.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sigstore.errors import VerificationError
from sigstore.models import Bundle, TransparencyLogEntry
from sigstore.verify import Verifier

from reconciler.evidence.keyless import Noting, Signed, asking, signed_by
from reconciler.evidence.parse import Unreadable, items, json_object, member, text, unbase64

_BUNDLE = "application/vnd.dev.sigstore.bundle+json;version=0.1"


def verify_simple_signing(
    verifier: Verifier, payload: bytes, signature: bytes, annotations: Mapping[str, str]
) -> Signed:
    """The signer of a cosign 2 `.sig` layer (`payload` is its blob); Unreadable where it doesn't hold."""
    content = {
        "messageDigest": {"algorithm": "SHA2_256", "digest": _base64(hashlib.sha256(payload).digest())},
        "signature": _base64(signature),
    }
    noted = Noting()
    with asking():
        bundle, _ = _rebuilt(annotations, {"messageSignature": content})
        verifier.verify_artifact(payload, bundle, noted)
    return signed_by(noted, bundle)


def verify_attestation(
    verifier: Verifier, data: bytes, envelope: Mapping[str, Any], annotations: Mapping[str, str]
) -> tuple[str, bytes, Signed]:
    """Payload type, payload and signer of a cosign 2 `.att` layer; Unreadable where it doesn't hold.

    `data` are the layer's bytes, `envelope` what they parse to.
    """
    content = {name: envelope[name] for name in ("payload", "payloadType", "signatures") if name in envelope}
    noted = Noting()
    with asking():
        bundle, body = _rebuilt(annotations, {"dsseEnvelope": content})
        if body.get("kind") == "intoto":
            payload_type, payload = _verify_intoto(verifier, bundle, body, data, noted)
        else:
            payload_type, payload = verifier.verify_dsse(bundle, noted)
    return payload_type, payload, signed_by(noted, bundle)


class _Promised(TransparencyLogEntry):
    """A log entry with the log's promise to include it, and no proof that it did."""

    def _verify(self, keyring: Any) -> None:
        self._verify_set(keyring)


def _rebuilt(annotations: Mapping[str, str], content: Mapping[str, Any]) -> tuple[Bundle, dict[str, Any]]:
    """The bundle that cosign 2's annotations and a layer come to, and the body of its log entry."""
    what = "the log entry"
    entry = json_object(annotations.get("dev.sigstore.cosign/bundle", ""), what)
    payload = member(entry, "Payload", what)
    body = text(payload, "body", what)
    canonical = json_object(unbase64(body, "the log entry's body"), "the log entry's body")
    numbers = [payload.get("logIndex"), payload.get("integratedTime")]
    if not all(isinstance(number, int) and 0 <= number < 2**63 for number in numbers):
        raise Unreadable(f"{what} has no index and time")
    try:
        log_id = bytes.fromhex(text(payload, "logID", what))
    except ValueError:
        raise Unreadable(f"{what} has no log ID") from None
    try:
        certificate = x509.load_pem_x509_certificate(annotations.get("dev.sigstore.cosign/certificate", "").encode())
    except ValueError:
        raise Unreadable("the certificate doesn't parse") from None
    kind, version = canonical.get("kind"), canonical.get("apiVersion")
    if kind == "intoto":
        # an older kind of entry that sigstore-python doesn't know; `_verify_intoto` compares its body
        kind, version = "dsse", "0.0.1"
    bundle = Bundle.from_json(
        json.dumps(
            {
                "mediaType": _BUNDLE,
                "verificationMaterial": {
                    "x509CertificateChain": {
                        "certificates": [{"rawBytes": _base64(certificate.public_bytes(Encoding.DER))}]
                    },
                    "tlogEntries": [
                        {
                            "logIndex": str(numbers[0]),
                            "logId": {"keyId": _base64(log_id)},
                            "kindVersion": {"kind": str(kind), "version": str(version)},
                            "integratedTime": str(numbers[1]),
                            "inclusionPromise": {"signedEntryTimestamp": text(entry, "SignedEntryTimestamp", what)},
                            # not there, but asked for before anything is verified; it would verify nowhere
                            "inclusionProof": {
                                "logIndex": "1",
                                "rootHash": _base64(bytes(32)),
                                "treeSize": "2",
                                "hashes": [_base64(bytes(32))],
                                "checkpoint": {"envelope": "none"},
                            },
                            "canonicalizedBody": body,
                        }
                    ],
                },
                **content,
            }
        )
    )
    # should a later sigstore-python keep it elsewhere, the proof that isn't there is verified, and fails
    bundle._log_entry = _Promised(bundle.log_entry._inner)  # noqa: SLF001 - no public way to verify a promise alone
    return bundle, canonical


def _verify_intoto(
    verifier: Verifier, bundle: Bundle, body: Mapping[str, Any], data: bytes, policy: Noting
) -> tuple[str, bytes]:
    """What `verify_dsse` does, for an entry of kind intoto (0.0.1 names the envelope's hash, 0.0.2 its parts)."""
    verifier._verify_common_signing_cert(bundle, policy)  # noqa: SLF001 - the public ones know no such entry
    envelope = bundle._dsse_envelope  # noqa: SLF001
    if envelope is None:
        raise VerificationError("no envelope")
    payload_type, payload = envelope._inner.payload_type, envelope._inner.payload  # noqa: SLF001
    key = bundle.signing_certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerificationError("the certificate's key is of an unknown kind")
    try:
        key.verify(envelope.signature, envelope.pae(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise VerificationError("DSSE: invalid signature") from None
    what = "the log entry"
    spec = member(body, "spec", what)
    content = member(spec, "content", what)
    if body.get("apiVersion") == "0.0.1":
        hashed, verifiers = member(content, "hash", what), [spec.get("publicKey")]
        consistent = hashed == {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}
    else:
        hashed = member(content, "payloadHash", what)
        logged = items(member(content, "envelope", what), "signatures", what, 1)
        verifiers = [one.get("publicKey") for one in logged if isinstance(one, dict)]
        # base64 of the envelope's own base64
        signatures = [unbase64(unbase64(one.get("sig"), what).decode("ascii"), what) for one in logged]
        consistent = signatures == [envelope.signature] and hashed == {
            "algorithm": "sha256",
            "value": hashlib.sha256(payload).hexdigest(),
        }
    logged_keys = [x509.load_pem_x509_certificate(unbase64(one, what)) for one in verifiers]
    if not consistent or logged_keys != [bundle.signing_certificate]:
        raise VerificationError("transparency log entry is inconsistent with other materials")
    return payload_type, payload


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
