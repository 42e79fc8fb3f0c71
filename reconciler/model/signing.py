"""Whose signatures count, and how ours are made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A keyless signer: OIDC issuer and certificate SAN (exact, or an anchored regular expression).

    `source_repository`, where given, must equal the certificate's source repository URI (OID 1.3.6.1.4.1.57264.1.12).
    """

    issuer: str
    identity: str
    regex: bool = False
    source_repository: str = ""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key-based signer: its public key as PEM, and what the desired state calls it."""

    pem: str
    name: str = "key"


Signer = Identity | PublicKey


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose proofs count as ours: any of `accept`. `trusted_root`: its JSON, empty for Sigstore's own (by TUF).

    `layouts`: where a signature must be found ("bundle", "legacy"); with "legacy" cosign 2's `.sig` must be there too.
    """

    accept: tuple[Signer, ...]
    trusted_root: str = ""
    layouts: tuple[str, ...] = ("bundle",)

    @property
    def hash(self) -> str:
        """Changes whenever a proof may be judged differently: facts in a record are kept under it."""
        signers = [[type(signer).__name__, asdict(signer)] for signer in self.accept]
        text = json.dumps([signers, self.trusted_root, self.layouts], sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Keyless:
    """Sign with an OIDC token. `signing_config`: path of cosign's signing config, empty for Sigstore's own."""

    identity: Identity
    signing_config: str = ""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Sign with a key: `private` is what cosign's --key takes (a path, env://NAME, a KMS URI); empty: given by flag."""

    public: PublicKey
    private: str = ""


@dataclass(frozen=True, slots=True)
class Signing:
    """How ours are made (`method`), and whose count, in which layouts."""

    method: Keyless | KeyPair
    policy: Policy
