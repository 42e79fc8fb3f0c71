"""Fulcio's part: a root, an intermediate, and short-lived certificates with an embedded SCT.

The SCT is a real one: the certificate is made twice, first without it, and the CT log's key signs that first one's
TBSCertificate together with the hash of the issuer's key (RFC 6962 sections 3.2 and 3.3).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reconciler.local.sigstore.identity import der, extensions, subject
from reconciler.local.sigstore.keys import Key

VALIDITY = timedelta(minutes=10)
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_CA_AGE = timedelta(days=3650)
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate and those above it, root last."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> tuple[str, ...]:
        return tuple(c.public_bytes(serialization.Encoding.PEM).decode() for c in self.certificates)

    @property
    def der(self) -> tuple[bytes, ...]:
        return tuple(c.public_bytes(serialization.Encoding.DER) for c in self.certificates)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that is as old as it must be to have issued at any time a test may choose."""

    now: datetime
    root_key: Key = field(default_factory=Key.generate)
    intermediate_key: Key = field(default_factory=Key.generate)
    root: x509.Certificate = field(init=False)
    intermediate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        root = self._ca("local root", self.root_key, "local root", self.root_key, 1)
        object.__setattr__(self, "root", root)
        intermediate = self._ca("local intermediate", self.intermediate_key, "local root", self.root_key, 0)
        object.__setattr__(self, "intermediate", intermediate)

    @property
    def start(self) -> datetime:
        """Since when the authority's certificates are valid."""
        return self.root.not_valid_before_utc

    @property
    def chain(self) -> Chain:
        """Intermediate and root."""
        return Chain((self.intermediate, self.root))

    def issue(
        self,
        public: ec.EllipticCurvePublicKey,
        claims: Mapping[str, str],
        at: datetime,
        ct_log: Key | None,
    ) -> x509.Certificate:
        """A certificate for ten minutes from `at`, with `ct_log`'s SCT embedded, or with none at all."""
        name = subject(claims)
        general = x509.UniformResourceIdentifier(name) if "://" in name or "@" not in name else x509.RFC822Name(name)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.intermediate_key.public)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + VALIDITY)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName([general]), critical=True)
        )
        for extension in extensions(claims):
            oid = x509.ObjectIdentifier(extension.oid)
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension.value), critical=False)
        certificate = builder.sign(self.intermediate_key.private, hashes.SHA256())
        if ct_log is None:
            return certificate
        sct = _sct(ct_log, self.intermediate_key.id, certificate.tbs_certificate_bytes, at)
        listed = struct.pack(">HH", len(sct) + 2, len(sct)) + sct
        embedded = x509.UnrecognizedExtension(_SCT_LIST, der(0x04, listed))
        return builder.add_extension(embedded, critical=False).sign(self.intermediate_key.private, hashes.SHA256())

    def _ca(self, name: str, key: Key, issuer: str, issuer_key: Key, depth: int) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key.public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - _CA_AGE)
            .not_valid_after(self.now + _CA_AGE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public), critical=False)
            .sign(issuer_key.private, hashes.SHA256())
        )


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "local")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def _sct(log: Key, issuer_key_hash: bytes, tbs: bytes, at: datetime) -> bytes:
    """A SignedCertificateTimestamp of version 1 for a precertificate, without extensions."""
    millis = struct.pack(">Q", int(at.timestamp() * 1000))
    entry = issuer_key_hash + len(tbs).to_bytes(3, "big") + tbs
    signature = log.sign(b"\x00\x00" + millis + b"\x00\x01" + entry + b"\x00\x00")
    return b"\x00" + log.id + millis + b"\x00\x00" + b"\x04\x03" + struct.pack(">H", len(signature)) + signature
