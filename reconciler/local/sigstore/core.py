"""Everything a Sigstore holds, without a socket: authority, CT log, transparency log, tokens, and the trust in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from reconciler.errors import EvidenceError
from reconciler.local.sigstore.authority import Authority, Chain
from reconciler.local.sigstore.entries import canonical
from reconciler.local.sigstore.identity import github_claims, proven_subject
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.log import Entry, Log

Clock = Callable[[], datetime]
TOKEN_LIFE = timedelta(minutes=5)
TRUSTED_ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"


def wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Core:
    """One Sigstore. Times come from `clock`, which must give aware datetimes."""

    clock: Clock = wall_clock
    ct_key: Key = field(default_factory=Key.generate)
    token_key: Key = field(default_factory=Key.generate)
    log: Log = field(default_factory=lambda: Log(Key.generate()))
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "authority", Authority(self.clock()))

    def token(self, identity: str, issuer: str, claims: Mapping[str, str]) -> str:
        """A JWT (ES256) that this Sigstore's Fulcio accepts for five minutes from now."""
        now = int(self.clock().timestamp())
        times = {"iat": now, "nbf": now, "exp": now + int(TOKEN_LIFE.total_seconds())}
        head = _segment(json.dumps({"alg": "ES256", "typ": "JWT", "kid": self.token_key.hint}).encode())
        signed = f"{head}.{_segment(json.dumps(github_claims(identity, issuer, claims) | times).encode())}"
        r, s = utils.decode_dss_signature(self.token_key.sign(signed.encode()))
        return f"{signed}.{_segment(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token of ours; EvidenceError where it's another's, garbled, or not valid now."""
        try:
            signed, _, signature = token.rpartition(".")
            raw = _unsegment(signature)
            der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            self.token_key.public.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
            claims: dict[str, Any] = json.loads(_unsegment(signed.partition(".")[2]))
            now = self.clock().timestamp()
            if not claims["nbf"] <= now < claims["exp"]:
                raise EvidenceError("the identity token isn't valid at this time")
        except (ValueError, KeyError, InvalidSignature) as error:
            raise EvidenceError(f"the identity token isn't one of ours: {error!r}") from error
        return claims

    def certify(self, token: str, public: ec.EllipticCurvePublicKey, proof: bytes) -> Chain:
        """A certificate for the holder of `token`, who proves with `proof` to hold the key; leaf first, root last."""
        claims = self.claims(token)
        try:
            public.verify(proof, proven_subject(claims), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise EvidenceError("the proof of possession doesn't verify with the key to certify") from error
        texts = {name: str(value) for name, value in claims.items()}
        return Chain((self.issue(texts, public), *self.authority.chain.certificates))

    def issue(self, claims: Mapping[str, str], public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        return self.authority.issue(public, claims, self.clock(), self.ct_key)

    def keep(self, proposed: Mapping[str, Any]) -> Entry:
        """Log a proposed entry now; EvidenceError where it is none or its signature doesn't verify."""
        return self.log.append(canonical(proposed), self.clock())

    def trusted_root(self, url: str) -> dict[str, Any]:
        """The trusted root in protobuf JSON, valid since the authority's certificates are."""
        start = _rfc3339(self.authority.start)
        certificates = [{"rawBytes": _b64(raw)} for raw in self.authority.chain.der]
        return {
            "mediaType": TRUSTED_ROOT_TYPE,
            "tlogs": [_log_instance(url, self.log.key, start)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "local", "commonName": "local root"},
                    "uri": url,
                    "certChain": {"certificates": certificates},
                    "validFor": {"start": start},
                }
            ],
            "ctlogs": [_log_instance(f"{url}/ct", self.ct_key, start)],
            "timestampAuthorities": [],
        }

    def signing_config(self, url: str) -> dict[str, Any]:
        """What cosign 3's `--signing-config` takes to sign keyless with this Sigstore."""
        start = _rfc3339(self.authority.start)
        service = {"url": url, "majorApiVersion": 1, "validFor": {"start": start}, "operator": "local"}
        return {
            "mediaType": SIGNING_CONFIG_TYPE,
            "caUrls": [service],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {},
        }


def no_services() -> dict[str, Any]:
    """The signing config for signing with a key and no log at all."""
    return {"mediaType": SIGNING_CONFIG_TYPE, "rekorTlogConfig": {}, "tsaConfig": {}}


def _log_instance(url: str, key: Key, start: str) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _b64(key.public_der),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": start},
        },
        "logId": {"keyId": _b64(key.id)},
    }


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unsegment(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
