"""P-256 keys: what every party of a Sigstore signs with, and the file in which cosign keeps one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reconciler.local.sigstore.secretbox import seal

SCRYPT_N, SCRYPT_R, SCRYPT_P = 65536, 8, 1


@dataclass(frozen=True, slots=True)
class Key:
    """A P-256 key pair; signatures are ECDSA over SHA-256, in DER."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> Key:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.private.public_key()

    @property
    def public_der(self) -> bytes:
        """The SubjectPublicKeyInfo in DER."""
        return self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def public_pem(self) -> str:
        """What `cosign verify --key` reads."""
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    @property
    def id(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo: a log's identity (RFC 6962 section 3.2) and a bundle's key hint."""
        return hashlib.sha256(self.public_der).digest()

    @property
    def hint(self) -> str:
        """The hint that cosign 3 writes for this key in a bundle's `verificationMaterial.publicKey`."""
        return base64.b64encode(self.id).decode()

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))

    def cosign_pem(self, password: str) -> str:
        """The private key as `cosign generate-key-pair` writes it: scrypt, then NaCl's secretbox over PKCS #8.

        cosign reads no plain key, and refuses other scrypt costs than its own, hence about 0.2 s of CPU.
        """
        salt, nonce = os.urandom(32), os.urandom(24)
        derived = hashlib.scrypt(
            password.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=128 << 20, dklen=32
        )
        plain = self.private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = json.dumps(
            {
                "kdf": {
                    "name": "scrypt",
                    "params": {"N": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P},
                    "salt": base64.b64encode(salt).decode(),
                },
                "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
                "ciphertext": base64.b64encode(seal(derived, nonce, plain)).decode(),
            },
            separators=(",", ":"),
        ).encode()
        text = base64.b64encode(content).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        label = "ENCRYPTED SIGSTORE PRIVATE KEY"
        return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
