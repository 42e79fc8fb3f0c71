"""Signatures by identities: sigstore-python verifies them, here is how it is asked.

Imported only where there is such a signature to verify, because it imports sigstore-python (half a second).

A bundle is verified as sigstore-python does it: certificate chain at the logged time, SCT, log entry with inclusion
proof, signature, entry against the rest. The policy that it is given only notes who signed and accepts everybody, so
that a valid signature by someone else can be told from a broken one; whether the signer is accepted is asked after.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat import asn1
from sigstore.errors import Error as SigstoreError
from sigstore.errors import MetadataError, VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier

from reconciler.errors import EvidenceError
from reconciler.evidence.parse import Unreadable, clean
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
_ANEW = "make it anew with `cosign trusted-root create`"


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


class Noting:
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
        raise EvidenceError(f"the trusted root is unusable: {clean(error)}", todo=_ANEW) from None
    return verifier


def _cause(error: BaseException) -> BaseException:
    return _cause(error.__cause__) if error.__cause__ is not None else error


def verify_dsse(verifier: Verifier, data: bytes) -> tuple[str, bytes, Signed]:
    """Payload type, payload and signer of a bundle with a DSSE envelope; Unreadable where it doesn't hold."""
    noted = Noting()
    with asking():
        bundle = Bundle.from_json(data)
        payload_type, payload = verifier.verify_dsse(bundle, noted)
    return payload_type, payload, signed_by(noted, bundle)


def signed_by(noted: Noting, bundle: Bundle) -> Signed:
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


@contextmanager
def asking() -> Iterator[None]:
    """Turns what sigstore-python says of a signature into Unreadable, and of the trusted root into EvidenceError."""
    try:
        yield
    except MetadataError as error:
        raise EvidenceError(f"the trusted root is unusable: {clean(error)}", todo=_ANEW) from None
    except SigstoreError as error:
        said = str(error)
        raise Unreadable(next((words for sign, words in _WORDS if sign in said), clean(said))) from None
