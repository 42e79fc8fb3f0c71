"""Signatures by keys: the accepted public keys, and whether one of them made a signature.

Imported only where there is such a signature to verify, because it imports `cryptography`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from reconciler.errors import EvidenceError
from reconciler.model.signing import PublicKey

_Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
# cosign signs with SHA-256 whatever the curve; sigstore's newer default is the curve's own hash
_CURVES: dict[str, tuple[HashAlgorithm, ...]] = {"secp256r1": (SHA256(),), "secp384r1": (SHA256(), SHA384())}
_SMALLEST_RSA = 2048


@dataclass(frozen=True, slots=True)
class AcceptedKey:
    """A public key that counts: `by` is what proofs say of it, its name and the start of its fingerprint."""

    key: _Key
    by: str


def load(signers: Sequence[PublicKey]) -> tuple[AcceptedKey, ...]:
    """The keys that a policy accepts; EvidenceError where one is no usable public key."""
    return tuple(_load(signer) for signer in signers)


def _load(signer: PublicKey) -> AcceptedKey:
    todo = "write the PEM of an ECDSA (P-256 or P-384), RSA (2048 bits or more) or Ed25519 public key"
    try:
        key = load_pem_public_key(signer.pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise EvidenceError(f"{signer.name} is no public key", todo=todo) from None
    usable = (
        (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA)
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not usable or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise EvidenceError(f"{signer.name} is a public key of a kind that isn't accepted", todo=todo)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return AcceptedKey(key, f"{signer.name} sha256:{hashlib.sha256(spki).hexdigest()[:16]}")


def signed_by(keys: Sequence[AcceptedKey], signature: bytes, data: bytes) -> AcceptedKey | None:
    """Which of `keys` made `signature` over `data`, or None."""
    return next((accepted for accepted in keys if _made(accepted.key, signature, data)), None)


def _made(key: _Key, signature: bytes, data: bytes) -> bool:
    match key:
        case ec.EllipticCurvePublicKey():
            return any(_ecdsa(key, signature, data, algorithm) for algorithm in _CURVES[key.curve.name])
        case rsa.RSAPublicKey():
            return _holds(lambda: key.verify(signature, data, padding.PKCS1v15(), SHA256()))
        case _:
            return _holds(lambda: key.verify(signature, data))


def _ecdsa(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, algorithm: HashAlgorithm) -> bool:
    return _holds(lambda: key.verify(signature, data, ec.ECDSA(algorithm)))


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
