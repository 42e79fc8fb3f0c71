"""Judging what is attached to a digest: pure, given a policy and its trust material.

Three forms exist, and each says the same in the end, a statement about digests by someone:

| form | what is signed | protocols |
|---|---|---|
| bundle (cosign 3, actions/attest) | an in-toto statement in a DSSE envelope in a Sigstore bundle | 3.6 |
| `.sig` layer (cosign 2) | the simple signing payload that the layer is | 3.2, 3.3 |
| `.att` layer (cosign 2) | an in-toto statement in the DSSE envelope that the layer is | 3.4 |

Whatever is wrong with the thing itself makes it `Rejected`. EvidenceError, which means that nothing can be told
(unknown, rule 1), is raised only where the policy's own trust material is out of reach or unusable.

Where a key signed, no log is asked for: a key doesn't expire. What a bundle says of its time is then worth nothing, so
`at` is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import EvidenceError
from reconciler.evidence import statements
from reconciler.evidence.parse import Unreadable, clean, items, json_object, member, text, unbase64
from reconciler.evidence.raw import MAX_BUNDLE, MAX_PAYLOAD
from reconciler.evidence.trust import Trust
from reconciler.evidence.verdict import Rejected, Verdict, Verified, kind_of
from reconciler.model.digest import Digest
from reconciler.model.evidence import PREDICATES, Kind
from reconciler.model.signing import Policy

if TYPE_CHECKING:
    from sigstore.verify import Verifier

    from reconciler.evidence.keyless import Signed

CERTIFICATE = "dev.sigstore.cosign/certificate"
SIGNATURE = "dev.cosignproject.cosign/signature"
LOG_ENTRY = "dev.sigstore.cosign/bundle"
NO_ENTRY = "it has no entry of a transparency log"
_MAX_SIGNATURES = 16
_BUNDLE = "application/vnd.dev.sigstore.bundle"
_SIMPLE_SIGNING = "cosign container image signature"


class Judge:
    """Judges by one policy; made once per run, used from several threads."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._trust = Trust(policy)

    def judge_bundle(self, data: bytes, subject: Digest) -> Verdict:
        """Whether a Sigstore bundle (0.1 to 0.3) proves something of `subject`."""
        return _guarded(lambda: self._bundle(data, subject), data, MAX_BUNDLE)

    def judge_attestation(self, data: bytes, annotations: Mapping[str, str], subject: Digest) -> Verdict:
        """Whether a layer of an `.att` manifest, with its annotations, proves something of `subject`."""
        return _guarded(lambda: self._attestation(data, annotations, subject), data, MAX_BUNDLE)

    def judge_signature(self, data: bytes, annotations: Mapping[str, str], subject: Digest) -> Verdict:
        """Whether a layer of a `.sig` manifest, with its annotations, proves a signature of `subject`."""
        verdict = _guarded(lambda: self._signature(data, annotations, subject), data, MAX_PAYLOAD)
        return replace(verdict, claims=Kind.SIGNATURE) if isinstance(verdict, Rejected) else verdict

    def _bundle(self, data: bytes, subject: Digest) -> Verified:
        bundle = json_object(data, "the bundle")
        if not text(bundle, "mediaType", "the bundle").startswith(_BUNDLE):
            raise Unreadable("it is no Sigstore bundle")
        if "dsseEnvelope" not in bundle and "messageSignature" in bundle:
            raise Unreadable("it signs bytes, not a statement about this digest")
        envelope = member(bundle, "dsseEnvelope", "the bundle")
        material = member(bundle, "verificationMaterial", "the bundle")
        if "publicKey" in material:
            if "certificate" in material or "x509CertificateChain" in material:
                raise Unreadable("it has both a certificate and a public key")
            return self._by_key(envelope, subject)
        if not material.get("tlogEntries"):
            raise Unreadable(f"{NO_ENTRY}; GitHub's bundles of private repositories have none")
        verifier = self._verifier()
        from reconciler.evidence import keyless

        payload_type, payload, signed = keyless.verify_dsse(verifier, data)
        return _stated(payload_type, payload, subject, self._accepted(signed), signed.at)

    def _attestation(self, data: bytes, annotations: Mapping[str, str], subject: Digest) -> Verified:
        envelope = json_object(data, "the envelope")
        if not annotations.get(CERTIFICATE):
            return self._by_key(envelope, subject)
        if not annotations.get(LOG_ENTRY):
            raise Unreadable(NO_ENTRY)
        verifier = self._verifier()
        from reconciler.evidence import legacy

        payload_type, payload, signed = legacy.verify_attestation(verifier, data, envelope, annotations)
        return _stated(payload_type, payload, subject, self._accepted(signed), signed.at)

    def _signature(self, data: bytes, annotations: Mapping[str, str], subject: Digest) -> Verified:
        signature = unbase64(annotations.get(SIGNATURE), "the signature")
        if annotations.get(CERTIFICATE):
            if not annotations.get(LOG_ENTRY):
                raise Unreadable(NO_ENTRY)
            verifier = self._verifier()
            from reconciler.evidence import legacy

            signed = legacy.verify_simple_signing(verifier, data, signature, annotations)
            by, at = self._accepted(signed), signed.at
        else:
            by, at = self._accepted_key([signature], data), ""
        about = _simple_signing_digest(data)
        if about != subject:
            raise Unreadable(f"it signs {about.short}, not this digest")
        return Verified(PREDICATES[Kind.SIGNATURE][0], by, at, frozenset({about}))

    def _verifier(self) -> Verifier:
        if not self._trust.identities:
            # and so a mirror that signs with a key needs no trusted root
            raise Unreadable("signed by an identity, and none is accepted")
        return self._trust.verifier()

    def _accepted(self, signed: Signed) -> str:
        if not signed.signer.is_one_of(self._trust.identities):
            raise Unreadable(f"signed by {signed.signer}, which isn't accepted")
        return signed.signer.identity

    def _by_key(self, envelope: Mapping[str, Any], subject: Digest) -> Verified:
        payload_type = text(envelope, "payloadType", "the envelope")
        payload = unbase64(envelope.get("payload"), "the payload")
        signatures = [
            unbase64(entry.get("sig") if isinstance(entry, dict) else None, "the signature")
            for entry in items(envelope, "signatures", "the envelope", _MAX_SIGNATURES)
        ]
        by = self._accepted_key(signatures, _pae(payload_type, payload))
        return _stated(payload_type, payload, subject, by, "")

    def _accepted_key(self, signatures: Sequence[bytes], data: bytes) -> str:
        if not self._trust.public_keys:
            raise Unreadable("signed by a key, and none is accepted")
        accepted = self._trust.keys()
        from reconciler.evidence import keys

        for signature in signatures:
            found = keys.signed_by(accepted, signature, data)
            if found is not None:
                return found.by
        raise Unreadable("signed by a key that isn't accepted, or the signature doesn't hold")


def _guarded(judge: Callable[[], Verified], data: bytes, cap: int) -> Verdict:
    """What `judge` says of `data`; whatever hostile bytes make the code below it raise is a rejection."""
    if len(data) > cap:
        return Rejected(f"{len(data)} bytes, more than the {cap} that are read")
    try:
        return judge()
    except (EvidenceError, MemoryError):
        raise
    except Unreadable as error:
        return Rejected(str(error), _claims(data))
    # pydantic, cryptography's ASN.1 and sigstore-python between them raise nearly everything on odd input
    except Exception as error:
        return Rejected(f"it doesn't parse: {type(error).__name__}: {clean(error, 120)}", _claims(data))


def _claims(data: bytes) -> Kind | None:
    """The kind that a rejected bundle's or envelope's statement says it is."""
    try:
        outer = json_object(data, "it")
        inner = outer.get("dsseEnvelope", outer)
        payload = unbase64(inner.get("payload") if isinstance(inner, dict) else None, "the payload")
        return kind_of(statements.read(payload).predicate_type)
    except Unreadable:
        return None


def _stated(payload_type: str, payload: bytes, subject: Digest, by: str, at: str) -> Verified:
    """The verified payload as a proof about `subject` (protocols 7.11); Unreadable where it is none."""
    if payload_type != statements.PAYLOAD_TYPE:
        raise Unreadable(f"its payload is {clean(payload_type, 60)}, no in-toto statement")
    statement = statements.read(payload)
    if subject not in statement.subjects:
        about = ", ".join(sorted(digest.short for digest in statement.subjects)[:3]) or "nothing with a sha256"
        raise Unreadable(f"a statement about {about}, not about this digest")
    if kind_of(statement.predicate_type) is Kind.MIRROR:
        statements.binding(statement.predicate or {})
    return Verified(statement.predicate_type, by, at, statement.subjects, statement.predicate)


def _pae(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is over (secure-systems-lab/dsse, protocol.md)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _simple_signing_digest(data: bytes) -> Digest:
    """The digest that a simple signing payload is about; its names are read in any case, as Go reads them (3.2)."""
    what = "the payload"
    critical = member(_lowered(json_object(data, what)), "critical", what)
    critical = _lowered(critical)
    if text(critical, "type", what) != _SIMPLE_SIGNING:
        raise Unreadable(f"{what} is no image signature")
    try:
        return Digest.parse(text(_lowered(member(critical, "image", what)), "docker-manifest-digest", what))
    except ValueError:
        raise Unreadable(f"{what} names no digest") from None


def _lowered(value: Mapping[str, Any]) -> dict[str, Any]:
    lowered = {name.lower(): inner for name, inner in value.items()}
    if len(lowered) != len(value):
        raise Unreadable("the payload has the same name twice")
    return lowered
