"""Signatures by identities: sigstore-python verifies them, here is how it is asked.

Imported only where there is such a signature to verify, because it imports sigstore-python (half a second).

A bundle is verified as sigstore-python does it: certificate chain at the logged time, SCT, log entry with inclusion
proof, signature, entry against the rest. The policy that it is given only notes who signed and accepts everybody, so
that a valid signature by someone else can be told from a broken one; whether the signer is accepted is asked after.

cosign 2's signatures carry a log entry without an inclusion proof: a promise (signed entry timestamp) by the log's key
is all there is, and all that cosign itself checks offline. They are rebuilt into a bundle whose entry verifies
that promise, and everything else is verified as above.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, TransparencyLogEntry, TrustedRoot
from sigstore.verify import Verifier

from reconciler.errors import EvidenceError
from reconciler.evidence.parse import Unreadable, clean, items, json_object, member, text, unbase64
from reconciler.model.signing import Identity

# what it warns about goes into our reasons; without a handler Python prints it
logging.getLogger("sigstore").addHandler(logging.NullHandler())

# Fulcio's extensions (its docs/oid-info.md): the issuer (raw, and as a DER string) and the source repository
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_SOURCE_REPOSITORY = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.12")
_BUNDLE = "application/vnd.dev.sigstore.bundle+json;version=0.1"
_LONGEST_NAME = 2048


@dataclass(frozen=True, slots=True)
class Signer:
    """Who a certificate says it was issued to, and by whose word."""

    identity: str
    issuer: str
    source_repository: str = ""

    def __str__(self) -> str:
        return f"{clean(self.identity)} (issuer {clean(self.issuer)})"

    def is_one_of(self, accepted: Sequence[Identity]) -> bool:
        """Whether the policy accepts it; a regular expression must match the whole identity."""
        return any(self._is(one) for one in accepted)

    def _is(self, one: Identity) -> bool:
        if self.issuer != one.issuer or (one.source_repository and self.source_repository != one.source_repository):
            return False
        if one.regex:
            return len(self.identity) <= _LONGEST_NAME and re.fullmatch(one.identity, self.identity) is not None
        return self.identity == one.identity


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds: by whom, logged when (RFC 3339, empty if no single source of time says so)."""

    signer: Signer
    at: str


class _Noting:
    """A sigstore-python policy that notes the signer and accepts everybody."""

    def __init__(self) -> None:
        self.signer: Signer | None = None

    def verify(self, cert: x509.Certificate) -> None:
        self.signer = _signer(cert)


def _signer(cert: x509.Certificate) -> Signer:
    issuer = _extension(cert, _ISSUER_V2, der=True) or _extension(cert, _ISSUER, der=False)
    if not issuer:
        raise VerificationError("the certificate names no OIDC issuer")
    names = list(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    # Fulcio issues for exactly one name; with several, which of them was checked would be anybody's guess
    if len(names) != 1:
        raise VerificationError(f"the certificate has {len(names)} subject alternative names, not one")
    match names[0]:
        case x509.UniformResourceIdentifier(value=value) | x509.RFC822Name(value=value):
            identity = value
        case x509.OtherName() as other if other.type_id == _OTHER_NAME:
            identity = asn1.decode_der(str, other.value)
        case _:
            raise VerificationError("the certificate's subject alternative name is of an unknown kind")
    return Signer(identity, issuer, _extension(cert, _SOURCE_REPOSITORY, der=True))


def _extension(cert: x509.Certificate, oid: x509.ObjectIdentifier, *, der: bool) -> str:
    try:
        value = cert.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return ""
    if not isinstance(value, x509.UnrecognizedExtension):
        return ""
    return asn1.decode_der(str, value.value) if der else value.value.decode()


def load(trusted_root: str) -> Verifier:
    """A verifier with the trusted root that `trusted_root` is the JSON of; empty: Sigstore's own, fetched by TUF.

    EvidenceError where it is out of reach or unusable.
    """
    if not trusted_root:
        try:
            return Verifier.production()
        # sigstore-python lets errors of tuf, requests, the file system and its own through
        except Exception as error:
            raise EvidenceError(
                f"Sigstore's trusted root is out of reach: {clean(_cause(error))}",
                todo="try again, or give a trusted root file in mirror.yaml (cosign trusted-root create)",
            ) from None
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trusted_root.json")
            path.write_text(trusted_root, encoding="utf-8")
            verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
    except Exception as error:
        raise EvidenceError(
            f"the trusted root is unusable: {clean(error)}", todo="make it anew with `cosign trusted-root create`"
        ) from None
    return verifier


def _cause(error: BaseException) -> BaseException:
    return _cause(error.__cause__) if error.__cause__ is not None else error


def verify_dsse(verifier: Verifier, data: bytes) -> tuple[str, bytes, Signed]:
    """Payload type, payload and signer of a bundle with a DSSE envelope; Unreadable where it doesn't hold."""
    noted = _Noting()
    try:
        bundle = Bundle.from_json(data)
        payload_type, payload = verifier.verify_dsse(bundle, noted)
    except SigstoreError as error:
        raise Unreadable(_worded(error)) from None
    return payload_type, payload, _signed(noted, bundle)


def verify_simple_signing(
    verifier: Verifier, payload: bytes, signature: bytes, annotations: Mapping[str, str]
) -> Signed:
    """The signer of a cosign 2 `.sig` layer (`payload` is its blob); Unreadable where it doesn't hold."""
    content = {
        "messageDigest": {"algorithm": "SHA2_256", "digest": _base64(hashlib.sha256(payload).digest())},
        "signature": _base64(signature),
    }
    noted = _Noting()
    try:
        bundle, _ = _rebuilt(annotations, {"messageSignature": content})
        verifier.verify_artifact(payload, bundle, noted)
    except SigstoreError as error:
        raise Unreadable(_worded(error)) from None
    return _signed(noted, bundle)


def verify_attestation(
    verifier: Verifier, data: bytes, envelope: Mapping[str, Any], annotations: Mapping[str, str]
) -> tuple[str, bytes, Signed]:
    """Payload type, payload and signer of a cosign 2 `.att` layer; Unreadable where it doesn't hold.

    `data` are the layer's bytes, `envelope` what they parse to.
    """
    content = {name: envelope[name] for name in ("payload", "payloadType", "signatures") if name in envelope}
    noted = _Noting()
    try:
        bundle, body = _rebuilt(annotations, {"dsseEnvelope": content})
        if body.get("kind") == "intoto":
            payload_type, payload = _verify_intoto(verifier, bundle, body, data, noted)
        else:
            payload_type, payload = verifier.verify_dsse(bundle, noted)
    except SigstoreError as error:
        raise Unreadable(_worded(error)) from None
    return payload_type, payload, _signed(noted, bundle)


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
    verifier: Verifier, bundle: Bundle, body: Mapping[str, Any], data: bytes, policy: _Noting
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


def _signed(noted: _Noting, bundle: Bundle) -> Signed:
    if noted.signer is None:
        raise Unreadable("the certificate was not looked at")
    inner = bundle.log_entry._inner  # noqa: SLF001 - the time that was verified isn't given out
    stamps = bundle.verification_material.timestamp_verification_data
    if inner.integrated_time and inner.inclusion_promise:
        at = datetime.fromtimestamp(inner.integrated_time, UTC)
    elif stamps is not None and len(stamps.rfc3161_timestamps) == 1:
        at = stamps.rfc3161_timestamps[0].tst_info.gen_time
    else:
        return Signed(noted.signer, "")
    return Signed(noted.signer, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


# what sigstore-python's texts say of a signature, in words that a plan can show; the first that is found counts
_WORDS = (
    ("cert is not valid at validation time", "its certificate wasn't valid when it was logged"),
    ("certificate chain", "its certificate isn't by a trusted authority"),
    ("SCT", "its certificate isn't in a trusted certificate log"),
    ("inclusion proof", "its log entry isn't in the log: the inclusion proof doesn't hold"),
    ("checkpoint", "its log entry isn't in a trusted log"),
    ("inclusion promise", "its log entry isn't promised by a trusted log"),
    ("log entr", "its log entry is about something else"),
    ("invalid signature", "its signature doesn't hold"),
    ("Signature is invalid", "its signature doesn't hold"),
)


def _worded(error: SigstoreError) -> str:
    said = str(error)
    return next((words for sign, words in _WORDS if sign in said), clean(said))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
