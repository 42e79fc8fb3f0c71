"""Judging one bundle or layer, without a registry."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import EvidenceError
from reconciler.evidence import judge as judging
from reconciler.evidence import statements
from reconciler.evidence.judge import Judge
from reconciler.evidence.raw import MAX_BUNDLE
from reconciler.evidence.verdict import Rejected, Verified
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Fault, Layer, Mint, Workflow, sign_statement, simple_signing
from reconciler.model.digest import Digest
from reconciler.model.evidence import MIRROR_PREDICATE, Binding, Kind
from reconciler.model.signing import Identity, Policy, PublicKey

MINT = Mint()
ROOT = json.dumps(MINT.trusted_root())
KEY = Key.generate()
IMAGE = Digest.of(b"an image")
OTHER = Digest.of(b"another image")
US = Identity(GITHUB_ISSUER, WORKFLOW)
JUDGE = Judge(Policy((US, PublicKey(KEY.public_pem)), ROOT))
SPDX = "https://spdx.dev/Document"


def sbom(*digests: Digest, predicate_type: str = SPDX) -> bytes:
    return statements.dump(statements.statement(predicate_type, {"spdxVersion": "SPDX-2.3"}, "r.test/o/i", digests))


def signed_with_key(payload: bytes, signature: bytes, payload_type: str = statements.PAYLOAD_TYPE) -> bytes:
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": payload_type,
                "signatures": [{"sig": base64.b64encode(signature).decode()}],
            },
        }
    ).encode()


def pae(payload: bytes) -> bytes:
    return b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)


def edited(bundle: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(bundle), **changes}).encode()


def test_a_keyless_signature_says_by_whom_and_when() -> None:
    """A good bundle is verified: the statement's type and subjects, the certificate's identity, the log's time."""
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE))), IMAGE)
    assert isinstance(verdict, Verified)
    assert (verdict.kind, verdict.by, verdict.subjects) == (Kind.SIGNATURE, WORKFLOW, frozenset({IMAGE}))
    assert verdict.at.endswith("Z")
    assert len(verdict.at) == 20


def test_a_key_based_signature_says_by_which_key() -> None:
    """A bundle by an accepted key is verified; its time is nobody's word, so there is none."""
    verdict = JUDGE.judge_bundle(MINT.key_bundle(sign_statement(str(IMAGE)), KEY), IMAGE)
    assert isinstance(verdict, Verified)
    assert verdict.by == f"key sha256:{KEY.id.hex()[:16]}"
    assert verdict.at == ""


@pytest.mark.parametrize("fault", Fault)
def test_a_broken_keyless_bundle_is_rejected(fault: Fault) -> None:
    """Whatever is broken in a keyless bundle, it proves nothing, and what it claimed to be is told."""
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE)), faults=[fault]), IMAGE)
    assert isinstance(verdict, Rejected)
    assert verdict.reason.startswith("it")
    assert verdict.claims is Kind.SIGNATURE


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.EXPIRED, "its certificate wasn't valid when it was logged"),
        (
            Fault.NO_LOG_ENTRY,
            "it has no entry of a transparency log; GitHub's bundles of private repositories have none",
        ),
        (Fault.GARBLED_PROOF, "its log entry isn't in the log: the inclusion proof doesn't hold"),
        (Fault.GARBLED_PROMISE, "its log entry isn't promised by a trusted log"),
        (Fault.OTHER_LOG, "its log entry isn't in a trusted log"),
        (Fault.OTHER_ENTRY, "its log entry is about something else"),
        (Fault.OTHER_CT_KEY, "its certificate isn't in a trusted certificate log"),
        (Fault.OTHER_CA, "its certificate isn't by a trusted authority"),
        (Fault.BAD_SIGNATURE, "its signature doesn't hold"),
    ],
)
def test_a_rejection_names_what_is_wrong(fault: Fault, reason: str) -> None:
    """The reason is one line that a person can act on, not a library's inner text."""
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE)), faults=[fault]), IMAGE)
    assert verdict == Rejected(reason, Kind.SIGNATURE)


# a promise is all that cosign 2 keeps of the log, so there is no proof to garble
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.GARBLED_PROOF])
def test_a_broken_legacy_layer_is_rejected(fault: Fault) -> None:
    """Whatever is broken in cosign 2's layers, they prove nothing."""
    signature = MINT.legacy_signature("r.test/o/i", str(IMAGE), faults=[fault])
    attestation = MINT.legacy_attestation(sbom(IMAGE), faults=[fault])
    assert isinstance(JUDGE.judge_signature(signature.data, signature.annotations, IMAGE), Rejected)
    assert isinstance(JUDGE.judge_attestation(attestation.data, attestation.annotations, IMAGE), Rejected)


@pytest.mark.parametrize("signer", [Workflow(), KEY], ids=["keyless", "key"])
def test_legacy_layers_are_verified(signer: Workflow | Key) -> None:
    """cosign 2's signature and attestation count as the bundles do, by identity and by key."""
    layer = MINT.legacy_signature("r.test/o/i", str(IMAGE), signer)
    signature = JUDGE.judge_signature(layer.data, layer.annotations, IMAGE)
    layer = MINT.legacy_attestation(sbom(IMAGE), signer)
    attestation = JUDGE.judge_attestation(layer.data, layer.annotations, IMAGE)
    assert isinstance(signature, Verified)
    assert isinstance(attestation, Verified)
    assert (signature.kind, attestation.kind) == (Kind.SIGNATURE, Kind.SBOM)
    assert signature.by == attestation.by
    assert bool(signature.at) == isinstance(signer, Workflow)


def test_another_s_valid_signature_says_whose_it_is() -> None:
    """A signature that holds, by an identity that isn't accepted, counts as none and says whose it is."""
    identity = "https://github.com/evil/r/.github/workflows/w.yml@refs/heads/main"
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE)), identity), IMAGE)
    assert verdict == Rejected(f"signed by {identity} (issuer {GITHUB_ISSUER}), which isn't accepted", Kind.SIGNATURE)


def test_another_issuer_s_word_is_not_ours() -> None:
    """The same identity by another issuer isn't accepted."""
    bundle = MINT.keyless_bundle(sign_statement(str(IMAGE)), WORKFLOW, "https://issuer.example")
    verdict = JUDGE.judge_bundle(bundle, IMAGE)
    assert isinstance(verdict, Rejected)
    assert "issuer https://issuer.example" in verdict.reason


@pytest.mark.parametrize(
    ("pattern", "accepted"),
    [
        (r"https://github\.com/o/r/\.github/workflows/.*@refs/heads/main", True),
        (r"https://github\.com/o/r/", False),
        (r"github\.com/o/r/.*", False),
    ],
)
def test_a_regular_expression_must_match_all_of_the_identity(pattern: str, accepted: bool) -> None:
    """An expression that matches a part of the identity only doesn't accept it: `o/r/` would let `evil/o/r/` in."""
    judge = Judge(Policy((Identity(GITHUB_ISSUER, pattern, regex=True),), ROOT))
    verdict = judge.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE))), IMAGE)
    assert isinstance(verdict, Verified) is accepted


@pytest.mark.parametrize(("caller", "accepted"), [("o/mirror", True), ("o/other", False)])
def test_the_source_repository_counts_where_it_is_given(caller: str, accepted: bool) -> None:
    """A reusable workflow's identity is the same for all callers; OID .12 tells which repository called it."""
    judge = Judge(Policy((replace(US, source_repository="https://github.com/o/mirror"),), ROOT))
    bundle = MINT.keyless_bundle(sign_statement(str(IMAGE)), source_repository=caller)
    assert isinstance(judge.judge_bundle(bundle, IMAGE), Verified) is accepted


def test_another_key_is_not_ours() -> None:
    """A bundle by another key is rejected, and a key counts for nothing where only identities do."""
    bundle = MINT.key_bundle(sign_statement(str(IMAGE)), Key.generate())
    assert isinstance(JUDGE.judge_bundle(bundle, IMAGE), Rejected)
    verdict = Judge(Policy((US,), ROOT)).judge_bundle(MINT.key_bundle(sign_statement(str(IMAGE)), KEY), IMAGE)
    assert verdict == Rejected("signed by a key, and none is accepted", Kind.SIGNATURE)


@pytest.mark.parametrize("fault", [Fault.BAD_SIGNATURE, Fault.OTHER_PAYLOAD])
def test_a_broken_key_based_proof_is_rejected(fault: Fault) -> None:
    """A key's signature over something else is none, in both layouts."""
    bundle = MINT.key_bundle(sign_statement(str(IMAGE)), KEY, faults=[fault])
    layer = MINT.legacy_signature("r.test/o/i", str(IMAGE), KEY, faults=[fault])
    assert isinstance(JUDGE.judge_bundle(bundle, IMAGE), Rejected)
    assert isinstance(JUDGE.judge_signature(layer.data, layer.annotations, IMAGE), Rejected)


def test_a_proof_of_another_image_is_rejected() -> None:
    """Our own signature, copied from another image, proves nothing about this one, in any layout."""
    bundle = JUDGE.judge_bundle(MINT.keyless_bundle(sign_statement(str(OTHER))), IMAGE)
    layer = MINT.legacy_signature("r.test/o/i", str(OTHER))
    signature = JUDGE.judge_signature(layer.data, layer.annotations, IMAGE)
    layer = MINT.legacy_attestation(sbom(OTHER))
    attestation = JUDGE.judge_attestation(layer.data, layer.annotations, IMAGE)
    assert bundle == Rejected(f"a statement about {OTHER.short}, not about this digest", Kind.SIGNATURE)
    assert signature == Rejected(f"it signs {OTHER.short}, not this digest", Kind.SIGNATURE)
    assert attestation == Rejected(f"a statement about {OTHER.short}, not about this digest", Kind.SBOM)


def test_the_kind_comes_from_the_signed_statement() -> None:
    """An SBOM is an SBOM, whatever is written around it, and never a signature (protocols 3.12)."""
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sbom(IMAGE)), IMAGE)
    assert isinstance(verdict, Verified)
    assert verdict.kind is Kind.SBOM


@pytest.mark.parametrize(
    ("predicate_type", "kind"),
    [
        (SPDX, Kind.SBOM),
        (f"{SPDX}/v2.3", Kind.SBOM),
        (f"{SPDX}-not", None),
        ("https://cyclonedx.org/bom/v1.6", Kind.SBOM),
        ("https://slsa.dev/provenance/v1", Kind.PROVENANCE),
        ("https://slsa.dev/provenance/v0.2", Kind.PROVENANCE),
        ("https://slsa.dev/provenance/v1/../evil", None),
        ("https://sigstore.dev/cosign/sign/v1", Kind.SIGNATURE),
        ("https://sigstore.dev/cosign/sign/v1/v2", None),
        ("https://cosign.sigstore.dev/attestation/vuln/v1", None),
    ],
)
def test_predicate_types_are_told_apart(predicate_type: str, kind: Kind | None) -> None:
    """A version after the type is the same kind; a longer name isn't."""
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(sbom(IMAGE, predicate_type=predicate_type)), IMAGE)
    assert isinstance(verdict, Verified)
    assert verdict.kind is kind


def test_a_mirror_statement_is_read() -> None:
    """What apply writes about an image is what a plan reads back."""
    bound = Binding("r.test/o/i", "10.3.1", "sha256:abc", "c" * 40)
    content = statements.mirror_statement(IMAGE, bound, source="https://git.test/u", ref="v10.3.1", platforms={})
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(statements.dump(content)), IMAGE)
    assert isinstance(verdict, Verified)
    assert verdict.kind is Kind.MIRROR
    assert statements.binding(verdict.predicate or {}) == bound


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"repository": "r"},
        {"repository": 1, "version": "2"},
        {"repository": "r", "version": "1\n2"},
        {"version": ""},
    ],
)
def test_a_mirror_statement_that_names_nothing_is_rejected(predicate: Mapping[str, Any]) -> None:
    """A statement of our type that binds its subject to nothing proves nothing."""
    content = statements.statement(MIRROR_PREDICATE, predicate, "r.test/o/i", [IMAGE])
    verdict = JUDGE.judge_bundle(MINT.keyless_bundle(statements.dump(content)), IMAGE)
    assert isinstance(verdict, Rejected)
    assert verdict.claims is Kind.MIRROR


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384()], ids=lambda algorithm: algorithm.name)
def test_ecdsa_keys_of_both_curves_count(curve: ec.EllipticCurve, algorithm: hashes.HashAlgorithm) -> None:
    """P-256 goes with SHA-256; P-384 with its own hash, or with the SHA-256 that cosign used for all."""
    private = ec.generate_private_key(curve)
    payload = sign_statement(str(IMAGE))
    bundle = signed_with_key(payload, private.sign(pae(payload), ec.ECDSA(algorithm)))
    verdict = Judge(Policy((PublicKey(pem(private.public_key())),))).judge_bundle(bundle, IMAGE)
    assert isinstance(verdict, Verified) is (curve.name == "secp384r1" or algorithm.name == "sha256")


def pem(key: Any) -> str:
    encoded: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def test_rsa_and_ed25519_keys_count() -> None:
    """The other kinds of key that cosign and the clouds' key services have."""
    payload = sign_statement(str(IMAGE))
    big = rsa.generate_private_key(65537, 2048)
    edwards = ed25519.Ed25519PrivateKey.generate()
    judge = Judge(Policy((PublicKey(pem(big.public_key()), "kms"), PublicKey(pem(edwards.public_key()), "ed"))))
    by_rsa = judge.judge_bundle(
        signed_with_key(payload, big.sign(pae(payload), padding.PKCS1v15(), hashes.SHA256())), IMAGE
    )
    by_edwards = judge.judge_bundle(signed_with_key(payload, edwards.sign(pae(payload))), IMAGE)
    assert isinstance(by_rsa, Verified)
    assert isinstance(by_edwards, Verified)
    assert (by_rsa.by.split()[0], by_edwards.by.split()[0]) == ("kms", "ed")


@pytest.mark.parametrize("text", ["", "garbage", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_an_unusable_key_is_an_error_of_ours_not_of_the_proof(text: str) -> None:
    """With trust material that doesn't load nothing can be told: unknown, never missing (rule 1)."""
    judge = Judge(Policy((PublicKey(text),)))
    with pytest.raises(EvidenceError, match="public key"):
        judge.judge_bundle(MINT.key_bundle(sign_statement(str(IMAGE)), KEY), IMAGE)


@pytest.mark.parametrize("root", ["{", "{}", '{"mediaType": "x"}', "[]"])
def test_an_unusable_trusted_root_is_an_error_of_ours(root: str) -> None:
    """The same for the trusted root, at every bundle that needs it."""
    judge = Judge(Policy((US,), root))
    bundle = MINT.keyless_bundle(sign_statement(str(IMAGE)))
    for _ in range(2):
        with pytest.raises(EvidenceError, match="trusted root is unusable"):
            judge.judge_bundle(bundle, IMAGE)


def test_a_key_based_mirror_needs_no_trusted_root() -> None:
    """Where no identity is accepted, a keyless bundle is rejected without asking anybody for a trusted root."""
    judge = Judge(Policy((PublicKey(KEY.public_pem),), "unusable"))
    assert isinstance(judge.judge_bundle(MINT.key_bundle(sign_statement(str(IMAGE)), KEY), IMAGE), Verified)
    assert isinstance(judge.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE))), IMAGE), Rejected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{}",
        b'{"mediaType": 1}',
        edited(MINT.keyless_bundle(sign_statement(str(IMAGE))), mediaType="application/json"),
        edited(MINT.keyless_bundle(sign_statement(str(IMAGE))), verificationMaterial=None),
        edited(
            MINT.keyless_bundle(sign_statement(str(IMAGE))), verificationMaterial={"certificate": {}, "publicKey": {}}
        ),
        edited(MINT.keyless_bundle(sign_statement(str(IMAGE))), dsseEnvelope={}),
        b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}',
        signed_with_key(sign_statement(str(IMAGE)), KEY.sign(b"DSSEv1 1 x 0 "), "x"),
        signed_with_key(b"[]", KEY.sign(pae(b"[]"))),
        signed_with_key(b"{}", KEY.sign(pae(b"{}"))),
        MINT.key_bundle(b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":{}}', KEY),
        MINT.key_bundle(
            b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[1,{},{"digest":1}]}', KEY
        ),
        MINT.key_bundle(
            b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":{"sha256":"A"}}]}',
            KEY,
        ),
        MINT.key_bundle(sign_statement(str(IMAGE)).replace(b"Statement/v1", b"Statement/v9"), KEY),
        b" " * (MAX_BUNDLE + 1),
    ],
    ids=range(20),
)
def test_garbage_is_rejected(data: bytes) -> None:
    """What is no bundle, deep, huge, or a bundle of something else: rejected with a reason in one line, no crash."""
    verdict = JUDGE.judge_bundle(data, IMAGE)
    assert isinstance(verdict, Rejected)
    assert verdict.reason
    assert "\n" not in verdict.reason
    assert len(verdict.reason) < 250


@pytest.mark.parametrize(
    "payload",
    [
        simple_signing("r", str(IMAGE)).replace(b"cosign container image signature", b"atomic"),
        simple_signing("r", "sha256:abc"),
        b"{}",
        b'{"critical":{},"Critical":{}}',
        b'{"critical":{"type":"cosign container image signature","image":{}}}',
    ],
)
def test_a_payload_that_signs_no_image_is_rejected(payload: bytes) -> None:
    """A valid signature by our key over something else than an image's digest proves no signature."""
    annotations = {judging.SIGNATURE: base64.b64encode(KEY.sign(payload)).decode()}
    assert isinstance(JUDGE.judge_signature(payload, annotations, IMAGE), Rejected)


def test_a_simple_signing_payload_is_read_in_any_case() -> None:
    """Some signers write `Critical` and `Docker-manifest-digest`, and cosign reads them (protocols 3.2)."""
    payload = json.dumps(
        {
            "Critical": {
                "Identity": {"docker-reference": ""},
                "Image": {"Docker-manifest-digest": str(IMAGE)},
                "Type": "cosign container image signature",
            },
            "Optional": None,
        }
    ).encode()
    annotations = {judging.SIGNATURE: base64.b64encode(KEY.sign(payload)).decode()}
    assert isinstance(JUDGE.judge_signature(payload, annotations, IMAGE), Verified)


GOOD = [MINT.keyless_bundle(sign_statement(str(IMAGE))), MINT.key_bundle(sign_statement(str(IMAGE)), KEY)]
LEGACY = [MINT.legacy_attestation(sbom(IMAGE)), MINT.legacy_attestation(sbom(IMAGE), KEY)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@given(data=st.data(), base=st.sampled_from(GOOD), new=JSON)
def test_a_bundle_with_any_value_replaced_never_crashes(data: st.DataObject, base: bytes, new: Any) -> None:
    """Any JSON in any place of a good bundle: verified (the place didn't matter) or rejected, never a crash."""
    content = json.loads(base)
    place = data.draw(st.sampled_from(places(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = JUDGE.judge_bundle(json.dumps(put(content, place, new)).encode(), IMAGE)
    assert isinstance(verdict, Rejected) or verdict.subjects == {IMAGE}


@given(base=st.sampled_from(GOOD), at=st.integers(0, 4000), junk=st.binary(max_size=8), drop=st.integers(0, 40))
def test_a_bundle_with_any_bytes_replaced_never_crashes(base: bytes, at: int, junk: bytes, drop: int) -> None:
    """The same for bytes, which reach the readers of base64, ASN.1 and protobuf JSON."""
    at = min(at, len(base))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = JUDGE.judge_bundle(base[:at] + junk + base[at + drop :], IMAGE)
    assert isinstance(verdict, Rejected) or verdict.subjects == {IMAGE}


@given(
    data=st.data(), layer=st.sampled_from(LEGACY), new=JSON | st.binary(max_size=40).map(lambda b: b.decode("latin-1"))
)
def test_a_layer_with_anything_replaced_never_crashes(data: st.DataObject, layer: Layer, new: Any) -> None:
    """The same for cosign 2's layers and the JSON, PEM and base64 in their annotations."""
    annotations = dict(layer.annotations)
    name = data.draw(st.sampled_from(sorted(annotations)))
    if name == judging.LOG_ENTRY:
        content = json.loads(annotations[name])
        place = data.draw(st.sampled_from(places(content)))
        annotations[name] = json.dumps(put(content, place, new))
    else:
        annotations[name] = str(new)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = JUDGE.judge_attestation(layer.data, annotations, IMAGE)
    assert isinstance(verdict, Rejected) or verdict.subjects == {IMAGE}


@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_rejected(data: bytes) -> None:
    """Bytes that nobody signed never verify, and never crash, in any form."""
    assert isinstance(JUDGE.judge_bundle(data, IMAGE), Rejected)
    assert isinstance(JUDGE.judge_attestation(data, {}, IMAGE), Rejected)
    assert isinstance(JUDGE.judge_signature(data, {judging.SIGNATURE: "AAAA"}, IMAGE), Rejected)


def test_sigstore_s_own_trusted_root_out_of_reach_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a trusted root nothing can be told, so nothing is said to be missing (rule 1)."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    judge = Judge(Policy((US,)))
    with pytest.raises(EvidenceError, match="trusted root is out of reach"):
        judge.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE))), IMAGE)


@pytest.mark.parametrize("lacks", ["tlogs", "ctlogs", "certificateAuthorities"])
def test_a_trusted_root_that_lacks_a_part_is_an_error_of_ours(lacks: str) -> None:
    """A root without the logs' keys or the authority says nothing against a signature."""
    root = {**MINT.trusted_root(), lacks: []}
    judge = Judge(Policy((US,), json.dumps(root)))
    with pytest.raises(EvidenceError, match="trusted root is unusable"):
        judge.judge_bundle(MINT.keyless_bundle(sign_statement(str(IMAGE))), IMAGE)
