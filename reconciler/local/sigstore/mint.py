"""Evidence made in this process, for tests that need much of it fast: bundles and cosign 2's layers, good and broken.

Each has the shape that cosign really writes, and is judged by sigstore-python and by cosign in the tests. Half a
millisecond each.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reconciler.local.sigstore import entries
from reconciler.local.sigstore.authority import VALIDITY, Authority
from reconciler.local.sigstore.core import Core
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW, github_claims
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.log import Entry, Log

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"


class Fault(Enum):
    """What is wrong with a bundle or layer that must not count."""

    EXPIRED = auto()  # logged an hour after its certificate expired
    NO_LOG_ENTRY = auto()
    GARBLED_PROOF = auto()  # one hash of the inclusion proof is another
    GARBLED_PROMISE = auto()  # the signed entry timestamp is over another time
    OTHER_LOG = auto()  # logged in a log that nobody trusts
    OTHER_ENTRY = auto()  # the log entry is another envelope's
    OTHER_CT_KEY = auto()  # the SCT is by a CT log that nobody trusts
    NO_SCT = auto()
    OTHER_CA = auto()  # issued by an authority that nobody trusts
    BAD_SIGNATURE = auto()  # by a key other than the certificate's (or than the public key)
    OTHER_PAYLOAD = auto()  # the payload was replaced after signing


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of cosign 2's `.sig` or `.att` manifest."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workflow:
    """Sign keyless as this identity. `source_repository` (owner/name) is the caller's, of a reusable workflow."""

    identity: str = WORKFLOW
    issuer: str = GITHUB_ISSUER
    source_repository: str = ""


@dataclass(frozen=True, slots=True)
class _Signed:
    """A message, its signature, and what verifies that."""

    signature: bytes
    verifier_pem: str
    certificate: x509.Certificate | None


@dataclass(frozen=True, slots=True)
class Mint:
    """Signs with the authority and logs of one `Core`, whose trusted root then accepts what isn't broken."""

    core: Core = field(default_factory=Core)

    def trusted_root(self) -> dict[str, Any]:
        """The trusted root as JSON: `TrustedRoot.from_json`, after `json.dumps`."""
        return self.core.trusted_root("http://127.0.0.1")

    def keyless_bundle(
        self,
        statement: bytes | Mapping[str, Any],
        identity: str = WORKFLOW,
        issuer: str = GITHUB_ISSUER,
        source_repository: str | None = None,
        *,
        at: datetime | None = None,
        faults: Collection[Fault] = (),
    ) -> bytes:
        """A bundle as `cosign sign` or `cosign attest` of version 3 writes it, signed and logged at `at` (now)."""
        signer = Workflow(identity, issuer, source_repository or "")
        return self._bundle(_payload(statement), signer, at or self.core.clock(), faults, logged=True)

    def key_bundle(
        self,
        statement: bytes | Mapping[str, Any],
        key: Key,
        *,
        logged: bool = False,
        at: datetime | None = None,
        faults: Collection[Fault] = (),
    ) -> bytes:
        """A bundle as cosign 3 writes it with `--key`: no certificate, and no log entry unless `logged`."""
        return self._bundle(_payload(statement), key, at or self.core.clock(), faults, logged=logged)

    def legacy_signature(
        self,
        repository: str,
        digest: str,
        signer: Workflow | Key | None = None,
        *,
        logged: bool = True,
        at: datetime | None = None,
        faults: Collection[Fault] = (),
    ) -> Layer:
        """A layer of the `.sig` manifest: simple signing, as cosign 2 writes it; keyless where no key is given."""
        payload = simple_signing(repository, digest)
        when = at or self.core.clock()
        signed = self._sign(payload, signer or Workflow(), when, faults)
        annotations = {"dev.cosignproject.cosign/signature": _b64(signed.signature)} | self._chain(signed)
        if logged and Fault.NO_LOG_ENTRY not in faults:
            spec = entries.hashedrekord(hashlib.sha256(payload).digest(), signed.signature, signed.verifier_pem)
            if Fault.OTHER_ENTRY in faults:
                other = b"another payload"
                signature = self._sign(other, signer or Workflow(), when, ()).signature
                spec = entries.hashedrekord(hashlib.sha256(other).digest(), signature, signed.verifier_pem)
            entry = self._log("hashedrekord", spec, when, faults)
            annotations["dev.sigstore.cosign/bundle"] = _garbled_promise(entry, faults)
        if Fault.OTHER_PAYLOAD in faults:
            payload = simple_signing(repository, "sha256:" + "f" * 64)
        return Layer(SIMPLE_SIGNING_TYPE, payload, annotations)

    def legacy_attestation(
        self,
        statement: bytes | Mapping[str, Any],
        signer: Workflow | Key | None = None,
        *,
        logged: bool = True,
        at: datetime | None = None,
        faults: Collection[Fault] = (),
    ) -> Layer:
        """A layer of the `.att` manifest: a DSSE envelope, as cosign 2 writes it; keyless where no key is given."""
        payload = _payload(statement)
        when = at or self.core.clock()
        envelope, signed = self._envelope(payload, signer or Workflow(), when, faults)
        annotations = {
            "dev.cosignproject.cosign/signature": "",
            "predicateType": str(json.loads(payload)["predicateType"]),
        } | self._chain(signed)
        if logged and Fault.NO_LOG_ENTRY not in faults:
            entry = self._log_envelope(envelope, signed, signer or Workflow(), when, faults)
            annotations["dev.sigstore.cosign/bundle"] = _garbled_promise(entry, faults)
        return Layer(ENVELOPE_TYPE, _json(_replaced(envelope, faults)), annotations)

    def _bundle(
        self, payload: bytes, signer: Workflow | Key, at: datetime, faults: Collection[Fault], *, logged: bool
    ) -> bytes:
        envelope, signed = self._envelope(payload, signer, at, faults)
        material: dict[str, Any] = {}
        if signed.certificate is not None:
            der = signed.certificate.public_bytes(serialization.Encoding.DER)
            material["certificate"] = {"rawBytes": _b64(der)}
        elif isinstance(signer, Key):
            material["publicKey"] = {"hint": signer.hint}
        if logged and Fault.NO_LOG_ENTRY not in faults:
            entry = self._log_envelope(envelope, signed, signer, at, faults).bundled
            if Fault.GARBLED_PROOF in faults:
                entry["inclusionProof"]["hashes"][0] = _b64(hashlib.sha256(b"another node").digest())
            if Fault.GARBLED_PROMISE in faults:
                entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)
            material["tlogEntries"] = [entry]
        return _json(
            {
                "mediaType": BUNDLE_TYPE,
                "verificationMaterial": material,
                "dsseEnvelope": _replaced(envelope, faults),
            }
        )

    def _envelope(
        self, payload: bytes, signer: Workflow | Key, at: datetime, faults: Collection[Fault]
    ) -> tuple[dict[str, Any], _Signed]:
        signed = self._sign(entries.pre_authentication_encoding(STATEMENT_TYPE, payload), signer, at, faults)
        signatures = [{"sig": _b64(signed.signature)}]
        return {"payload": _b64(payload), "payloadType": STATEMENT_TYPE, "signatures": signatures}, signed

    def _sign(self, message: bytes, signer: Workflow | Key, at: datetime, faults: Collection[Fault]) -> _Signed:
        key = signer if isinstance(signer, Key) else Key.generate()
        signature = (Key.generate() if Fault.BAD_SIGNATURE in faults else key).sign(message)
        if isinstance(signer, Key):
            return _Signed(signature, key.public_pem, None)
        authority = Authority(self.core.clock()) if Fault.OTHER_CA in faults else self.core.authority
        ct_key = Key.generate() if Fault.OTHER_CT_KEY in faults else self.core.ct_key
        repository = {"repository": signer.source_repository} if signer.source_repository else {}
        claims = github_claims(signer.identity, signer.issuer, repository)
        certificate = authority.issue(key.public, claims, at, None if Fault.NO_SCT in faults else ct_key)
        return _Signed(signature, certificate.public_bytes(serialization.Encoding.PEM).decode(), certificate)

    def _log_envelope(
        self,
        envelope: Mapping[str, Any],
        signed: _Signed,
        signer: Workflow | Key,
        at: datetime,
        faults: Collection[Fault],
    ) -> Entry:
        logged = envelope
        if Fault.OTHER_ENTRY in faults:
            logged, _ = self._envelope(b'{"another": "statement"}', signer, at, ())
        return self._log("dsse", entries.dsse(logged, signed.verifier_pem), at, faults)

    def _log(self, kind: str, spec: Mapping[str, Any], at: datetime, faults: Collection[Fault]) -> Entry:
        log = Log(Key.generate()) if Fault.OTHER_LOG in faults else self.core.log
        late = VALIDITY + timedelta(hours=1) if Fault.EXPIRED in faults else timedelta(0)
        return log.append(entries.body(kind, "0.0.1", spec), at + late)

    def _chain(self, signed: _Signed) -> dict[str, str]:
        if signed.certificate is None:
            return {}
        return {
            "dev.sigstore.cosign/certificate": signed.verifier_pem,
            "dev.sigstore.cosign/chain": "".join(self.core.authority.chain.pem),
        }


def simple_signing(repository: str, digest: str) -> bytes:
    """The payload of a legacy signature, in cosign's bytes."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return _json({"critical": critical, "optional": None})


def sign_statement(digest: str, annotations: Mapping[str, str] | None = None) -> bytes:
    """The statement that `cosign sign` of version 3 makes about a `sha256:` digest, in cosign's bytes."""
    subject = {"digest": {"sha256": digest.removeprefix("sha256:")}, "annotations": dict(annotations or {})}
    return _json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": SIGN_PREDICATE,
            "predicate": {},
        }
    )


def _replaced(envelope: Mapping[str, Any], faults: Collection[Fault]) -> dict[str, Any]:
    if Fault.OTHER_PAYLOAD not in faults:
        return dict(envelope)
    payload = base64.b64decode(envelope["payload"])
    return dict(envelope) | {"payload": _b64(payload + b" ")}


def _garbled_promise(entry: Entry, faults: Collection[Fault]) -> str:
    if Fault.GARBLED_PROMISE not in faults:
        return entry.annotation
    content = json.loads(entry.annotation)
    content["Payload"]["integratedTime"] += 1
    return json.dumps(content, separators=(",", ":"))


def _payload(statement: bytes | Mapping[str, Any]) -> bytes:
    return statement if isinstance(statement, bytes) else _json(statement)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
