"""The local Sigstore and its mint, with sigstore-python as the judge."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import EvidenceError
from reconciler.local.sigstore import (
    GITHUB_ISSUER,
    WORKFLOW,
    Fault,
    Key,
    LocalSigstore,
    Mint,
    sign_statement,
)
from reconciler.local.sigstore.core import Core
from reconciler.local.sigstore.entries import pre_authentication_encoding
from reconciler.local.sigstore.merkle import Tree, leaf_hash
from reconciler.local.sigstore.secretbox import seal

DIGEST = "sha256:" + "a" * 64
STATEMENT = sign_statement(DIGEST)
STATEMENT_TYPE = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def mint() -> Mint:
    return Mint()


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    with LocalSigstore(tmp_path_factory.mktemp("sigstore")) as sigstore:
        yield sigstore


class Judge:
    """sigstore-python's verifier over one trusted root."""

    def __init__(self, trusted_root: Mapping[str, Any], folder: Path) -> None:
        from sigstore.models import TrustedRoot
        from sigstore.verify import Verifier

        path = folder / "trusted_root.json"
        path.write_text(json.dumps(trusted_root))
        self._verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))

    def dsse(self, bundle: bytes, identity: str = WORKFLOW, source: str | None = None) -> bytes:
        """The verified payload."""
        from sigstore.models import Bundle
        from sigstore.verify import policy

        wanted: list[Any] = [
            policy.Identity(identity=identity, issuer=GITHUB_ISSUER),
            policy.OIDCIssuerV2(GITHUB_ISSUER),
        ]
        if source is not None:
            wanted.append(policy.OIDCSourceRepositoryURI(source))
        kind, payload = self._verifier.verify_dsse(Bundle.from_json(bundle), policy.AllOf(wanted))
        assert kind == STATEMENT_TYPE
        return payload

    def artifact(self, data: bytes, bundle: bytes) -> None:
        from sigstore.models import Bundle
        from sigstore.verify import policy

        self._verifier.verify_artifact(data, Bundle.from_json(bundle), policy.Identity(identity=WORKFLOW))


@pytest.fixture(scope="module")
def judge(mint: Mint, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(mint.trusted_root(), tmp_path_factory.mktemp("judge"))


def test_a_minted_bundle_verifies_and_gives_back_its_statement(mint: Mint, judge: Judge) -> None:
    """What the mint signs is what a verifier gets, byte for byte."""
    statement = b'{"_type": "https://in-toto.io/Statement/v1", "odd": "  spaces  \xe2\x82\xac"}'
    assert judge.dsse(mint.keyless_bundle(statement)) == statement


def test_a_reusable_workflow_signs_as_itself_for_its_caller(mint: Mint, judge: Judge) -> None:
    """The subject is the called workflow's, the source repository the caller's."""
    called = "https://github.com/shared/flows/.github/workflows/sign.yml@refs/tags/v1"
    bundle = mint.keyless_bundle(STATEMENT, called, source_repository="o/caller")
    assert judge.dsse(bundle, called, "https://github.com/o/caller") == STATEMENT
    with pytest.raises(Exception, match="OIDCSourceRepositoryURI"):
        judge.dsse(bundle, called, "https://github.com/shared/flows")


def test_a_bundle_of_long_ago_still_verifies(mint: Mint, judge: Judge) -> None:
    """The log's time counts, not today's: a certificate lives ten minutes and its signature for ever."""
    bundle = mint.keyless_bundle(STATEMENT, at=datetime(2024, 2, 29, 12, tzinfo=UTC))
    assert judge.dsse(bundle) == STATEMENT


def test_another_identity_or_another_sigstore_is_refused(mint: Mint, judge: Judge) -> None:
    with pytest.raises(Exception, match="SANs do not match"):
        judge.dsse(mint.keyless_bundle(STATEMENT, WORKFLOW.replace("main", "other")))
    with pytest.raises(Exception, match="issuer"):
        judge.dsse(mint.keyless_bundle(STATEMENT, issuer="https://issuer.example"))
    with pytest.raises(Exception, match="candidates exhausted"):
        judge.dsse(Mint().keyless_bundle(STATEMENT))


REASONS = {
    Fault.EXPIRED: "cert is not valid at validation time",
    Fault.NO_LOG_ENTRY: "tlogEntries",
    Fault.GARBLED_PROOF: "inclusion proof contains invalid root hash",
    Fault.GARBLED_PROMISE: "SET: invalid inclusion promise",
    Fault.OTHER_LOG: "checkpoint: invalid signature|checkpoint: Signature not found",
    Fault.OTHER_ENTRY: "log entry payload hash does not match",
    Fault.OTHER_CT_KEY: "SCT verify failed",
    Fault.NO_SCT: "does not contain a signed certificate timestamp",
    Fault.OTHER_CA: "candidates exhausted",
    Fault.BAD_SIGNATURE: "DSSE: invalid signature",
    Fault.OTHER_PAYLOAD: "DSSE: invalid signature",
}


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_is_refused_for_its_own_reason(mint: Mint, judge: Judge, fault: Fault) -> None:
    """A broken bundle is broken in the one way that was asked for, and in no other."""
    with pytest.raises(Exception, match=REASONS[fault]):
        judge.dsse(mint.keyless_bundle(STATEMENT, faults=[fault]))


@pytest.mark.parametrize("logged", [False, True])
def test_a_key_bundle_has_the_shape_that_cosign_writes(mint: Mint, logged: bool) -> None:
    """A hint in place of a certificate, compact JSON, no key id, and a log entry only where asked for."""
    key = Key.generate()
    raw = mint.key_bundle(STATEMENT, key, logged=logged)
    bundle = json.loads(raw)
    signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    entries = bundle["verificationMaterial"].pop("tlogEntries", [])
    assert len(entries) == logged
    assert bundle == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": base64.b64encode(hashlib.sha256(key.public_der).digest()).decode()}
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(STATEMENT).decode(),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{"sig": signature}],
        },
    }
    assert b'": ' not in raw
    message = pre_authentication_encoding(STATEMENT_TYPE, STATEMENT)
    key.public.verify(base64.b64decode(signature), message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("fault", [Fault.BAD_SIGNATURE, Fault.OTHER_PAYLOAD])
def test_a_broken_key_bundle_doesnt_verify(mint: Mint, fault: Fault) -> None:
    key = Key.generate()
    envelope = json.loads(mint.key_bundle(STATEMENT, key, faults=[fault]))["dsseEnvelope"]
    message = pre_authentication_encoding(STATEMENT_TYPE, base64.b64decode(envelope["payload"]))
    with pytest.raises(InvalidSignature):
        key.public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), message, ec.ECDSA(hashes.SHA256()))


def _rebuilt(mint: Mint, annotations: Mapping[str, str], content: Mapping[str, Any]) -> bytes:
    """A bundle of a legacy layer's annotations, with the proof that the layer lacks taken from the log."""
    promised = json.loads(annotations["dev.sigstore.cosign/bundle"])
    entry = mint.core.log.entry_at(promised["Payload"]["logIndex"])
    assert promised["Payload"]["body"] == base64.b64encode(entry.body.content).decode()
    assert promised["SignedEntryTimestamp"] == entry.bundled["inclusionPromise"]["signedEntryTimestamp"]
    certificate = x509.load_pem_x509_certificate(annotations["dev.sigstore.cosign/certificate"].encode())
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    material = {"certificate": {"rawBytes": der}, "tlogEntries": [entry.bundled]}
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    return json.dumps({"mediaType": kind, "verificationMaterial": material, **content}).encode()


def test_a_legacy_signature_is_one_that_the_log_knows(mint: Mint, judge: Judge) -> None:
    """Its annotations make a bundle that verifies, once the log's proof is added."""
    layer = mint.legacy_signature("registry.example/o/app", DIGEST)
    assert layer.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert layer.data == (
        b'{"critical":{"identity":{"docker-reference":"registry.example/o/app"},"image":{"docker-manifest-digest":"'
        + DIGEST.encode()
        + b'"},"type":"cosign container image signature"},"optional":null}'
    )
    signature = layer.annotations["dev.cosignproject.cosign/signature"]
    digest = base64.b64encode(hashlib.sha256(layer.data).digest()).decode()
    content = {"messageDigest": {"algorithm": "SHA2_256", "digest": digest}, "signature": signature}
    judge.artifact(layer.data, _rebuilt(mint, layer.annotations, {"messageSignature": content}))


def test_a_legacy_attestation_is_one_that_the_log_knows(mint: Mint, judge: Judge) -> None:
    """Its envelope and annotations make a bundle that verifies, once the log's proof is added."""
    layer = mint.legacy_attestation(STATEMENT)
    assert layer.media_type == "application/vnd.dsse.envelope.v1+json"
    assert layer.annotations["predicateType"] == "https://sigstore.dev/cosign/sign/v1"
    assert layer.annotations["dev.cosignproject.cosign/signature"] == ""
    bundle = _rebuilt(mint, layer.annotations, {"dsseEnvelope": json.loads(layer.data)})
    assert judge.dsse(bundle) == STATEMENT


def test_a_legacy_layer_of_a_key_has_no_certificate(mint: Mint) -> None:
    """Neither certificate nor chain, and a log entry only where asked for."""
    key = Key.generate()
    signature = mint.legacy_signature("registry.example/o/app", DIGEST, key, logged=False)
    assert set(signature.annotations) == {"dev.cosignproject.cosign/signature"}
    attestation = mint.legacy_attestation(STATEMENT, key)
    assert "dev.sigstore.cosign/bundle" in attestation.annotations
    assert "dev.sigstore.cosign/certificate" not in attestation.annotations


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("someone@example.org", [x509.RFC822Name("someone@example.org")]),
        ("https://ci.example/job/1", [x509.UniformResourceIdentifier("https://ci.example/job/1")]),
    ],
)
def test_who_isnt_a_workflow_has_no_repository(mint: Mint, identity: str, expected: list[x509.GeneralName]) -> None:
    """Other identities are certified too, without GitHub's extensions."""
    raw = json.loads(mint.keyless_bundle(STATEMENT, identity, "https://issuer.example"))
    der = base64.b64decode(raw["verificationMaterial"]["certificate"]["rawBytes"])
    extensions = x509.load_der_x509_certificate(der).extensions
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == expected
    arc = [
        e.oid.dotted_string.rpartition(".")[2]
        for e in extensions
        if e.oid.dotted_string.startswith("1.3.6.1.4.1.57264")
    ]
    assert arc == ["1", "8"]


# --- the tree and the box


def _naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, read literally."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + _naive_root(leaves[:split]) + _naive_root(leaves[split:])).digest()


def _root_of_proof(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2, the verifier's algorithm."""
    fn, sn, value = index, size - 1, leaf_hash(leaf)
    for node in path:
        assert sn != 0
        if fn & 1 or fn == sn:
            value = hashlib.sha256(b"\x01" + node + value).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = hashlib.sha256(b"\x01" + value + node).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return value


@given(st.integers(1, 200), st.data())
def test_every_leaf_of_every_tree_is_proven(size: int, data: st.DataObject) -> None:
    """Whatever the size, the root is RFC 6962's and each leaf's proof leads to it."""
    leaves = [number.to_bytes(2, "big") for number in range(size)]
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    index = data.draw(st.integers(0, size - 1))
    assert tree.root() == _naive_root(leaves)
    assert _root_of_proof(index, size, leaves[index], tree.proof(index)) == tree.root()


def test_the_secretbox_is_nacls() -> None:
    """The vector of NaCl's own test of crypto_secretbox (tests/secretbox.c)."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    plain = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
        "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
        "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
    )
    sealed = bytes.fromhex(
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a"
        "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
        "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74"
        "e355a5"
    )
    assert seal(key, nonce, plain) == sealed


# --- over HTTP


def _certify(sigstore: LocalSigstore, token: str, key: Key, signed: bytes | None = None) -> httpx.Response:
    subject = b"repo:o/r:ref:refs/heads/main" if signed is None else signed
    request = {
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": key.public_pem},
            "proofOfPossession": base64.b64encode(key.sign(subject)).decode(),
        }
    }
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(f"{sigstore.url}/api/v2/signingCert", json=request, headers=bearer)


def _proposal(key: Key, verifier_pem: str, payload: bytes = STATEMENT) -> dict[str, Any]:
    signature = base64.b64encode(key.sign(pre_authentication_encoding(STATEMENT_TYPE, payload))).decode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": STATEMENT_TYPE,
        "signatures": [{"sig": signature}],
    }
    verifiers = [base64.b64encode(verifier_pem.encode()).decode()]
    content = {"envelope": json.dumps(envelope), "verifiers": verifiers}
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}}


def _post(sigstore: LocalSigstore, path: str, content: object) -> httpx.Response:
    return httpx.post(f"{sigstore.url}{path}", json=content)


def test_what_is_signed_over_http_verifies_with_the_written_trusted_root(
    sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """Token, certificate, signature, log entry, bundle: the whole way, as a client of the real services walks it."""
    token = sigstore.identity_token()
    assert token.stat().st_mode & 0o777 == 0o600
    assert not token.read_bytes().endswith(b"\n")
    key = Key.generate()
    answer = _certify(sigstore, token.read_text(), key)
    assert answer.status_code == 200
    chain = answer.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    proposal = _proposal(key, chain[0])
    logged = _post(sigstore, "/api/v1/log/entries", proposal)
    assert logged.status_code == 201
    uuid = logged.headers["ETag"]
    assert list(logged.json()) == [uuid]
    material = {
        "certificate": {"rawBytes": "".join(chain[0].splitlines()[1:-1])},
        "tlogEntries": [sigstore.core.log.entry(uuid).bundled],
    }
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": json.loads(proposal["spec"]["proposedContent"]["envelope"]),
    }
    judge = Judge(json.loads(sigstore.trusted_root.read_text()), tmp_path)
    assert judge.dsse(json.dumps(bundle).encode(), source="https://github.com/o/r") == STATEMENT
    assert judge.dsse(sigstore.mint.keyless_bundle(STATEMENT)) == STATEMENT


def test_the_log_finds_an_entry_by_each_of_its_names(sigstore: LocalSigstore) -> None:
    """UUID with and without the tree's id, index, content, hash: all give the same body."""
    key = Key.generate()
    payload = b'{"found": true}'
    proposal = _proposal(key, key.public_pem, payload)
    first = _post(sigstore, "/api/v1/log/entries", proposal)
    uuid, entry = next(iter(first.json().items()))
    again = _post(sigstore, "/api/v1/log/entries", proposal)
    assert (again.status_code, again.headers["Location"]) == (409, f"/api/v1/log/entries/{uuid}")
    base = f"{sigstore.url}/api/v1/log/entries"
    answers = [httpx.get(f"{base}/{uuid}"), httpx.get(f"{base}/{uuid[16:]}")]
    answers.append(httpx.get(base, params={"logIndex": entry["logIndex"]}))
    found = [answer.json() for answer in answers]
    for asked in ({"entryUUIDs": [uuid]}, {"logIndexes": [entry["logIndex"]]}, {"entries": [proposal]}):
        found += _post(sigstore, "/api/v1/log/entries/retrieve", asked).json()
    assert [list(one) for one in found] == [[uuid]] * 6
    assert {one[uuid]["body"] for one in found} == {entry["body"]}
    hashed = {"hash": f"sha256:{hashlib.sha256(payload).hexdigest()}"}
    assert _post(sigstore, "/api/v1/index/retrieve", hashed).json() == [uuid]
    asked_key = {"publicKey": {"content": base64.b64encode(key.public_pem.encode()).decode()}}
    assert _post(sigstore, "/api/v1/index/retrieve", asked_key).json() == [uuid]


def test_the_log_says_its_head_and_its_key(sigstore: LocalSigstore) -> None:
    """The head's checkpoint is signed with the key that the log names and cosign 2 is given."""
    head = httpx.get(f"{sigstore.url}/api/v1/log").json()
    pem = httpx.get(f"{sigstore.url}/api/v1/log/publicKey").text
    assert pem == Path(sigstore.environment["SIGSTORE_REKOR_PUBLIC_KEY"]).read_text()
    note, _, signatures = head["signedTreeHead"].partition("\n\n")
    origin, size, root = note.splitlines()
    assert (origin.rpartition(" ")[2], int(size)) == (head["treeID"], head["treeSize"])
    assert base64.b64decode(root).hex() == head["rootHash"]
    signature = base64.b64decode(signatures.split()[2])[4:]
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, f"{note}\n".encode(), ec.ECDSA(hashes.SHA256()))


def test_fulcio_gives_its_chain_out(sigstore: LocalSigstore) -> None:
    """The trust bundle, the v1 root and the file for cosign 2 are the same certificates."""
    pem = Path(sigstore.environment["SIGSTORE_ROOT_FILE"]).read_text()
    assert httpx.get(f"{sigstore.url}/api/v1/rootCert").text == pem
    bundle = httpx.get(f"{sigstore.url}/api/v2/trustBundle").json()
    assert "".join(bundle["chains"][0]["certificates"]) == pem


def test_fulcio_certifies_nobody_without_proof(sigstore: LocalSigstore) -> None:
    """No token, another's token, a garbled one, and a key that the client doesn't hold: 400 with the reason."""
    key = Key.generate()
    own = sigstore.identity_token().read_text()
    foreign = Core().token(WORKFLOW, GITHUB_ISSUER, {})
    for token, signed, words in (
        ("", None, "no identity token"),
        (foreign, None, "isn't one of ours"),
        ("a.b.c", None, "isn't one of ours"),
        (own, b"somebody else", "proof of possession"),
    ):
        answer = _certify(sigstore, token, key, signed)
        assert answer.status_code == 400
        assert words in answer.json()["message"]


def test_a_token_is_good_for_five_minutes_of_the_clock() -> None:
    """The clock is the caller's, and it alone decides."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    core = Core(lambda: now)
    token = core.token(WORKFLOW, GITHUB_ISSUER, {})
    now += timedelta(minutes=4, seconds=59)
    assert core.claims(token)["job_workflow_ref"] == WORKFLOW.removeprefix("https://github.com/")
    now += timedelta(seconds=1)
    with pytest.raises(EvidenceError, match="isn't valid at this time"):
        core.claims(token)


def test_the_log_keeps_nothing_that_doesnt_verify(sigstore: LocalSigstore) -> None:
    """A signature by another key, an unknown kind, half an entry, no JSON: 400, and nothing is kept."""
    key, other = Key.generate(), Key.generate()
    length = len(sigstore.core.log)
    without_signature = _proposal(key, key.public_pem)
    content = without_signature["spec"]["proposedContent"]
    content["envelope"] = json.dumps(json.loads(content["envelope"]) | {"signatures": []})
    digest = {"algorithm": "sha256", "value": "0" * 64}
    verifier = {"content": base64.b64encode(key.public_pem.encode()).decode()}
    signature = {"content": base64.b64encode(key.sign(b"other data")).decode(), "publicKey": verifier}
    rekord = {"data": {"hash": digest}, "signature": signature}
    proposals: list[object] = [
        _proposal(key, other.public_pem),
        without_signature,
        {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": rekord},
        {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {"data": {"hash": {"algorithm": "md5", "value": ""}}}},
        {"apiVersion": "0.0.9", "kind": "dsse", "spec": {}},
        {"apiVersion": "0.0.1", "kind": "dsse", "spec": {}},
        [],
    ]
    for proposal in proposals:
        assert _post(sigstore, "/api/v1/log/entries", proposal).status_code == 400
    assert httpx.post(f"{sigstore.url}/api/v1/log/entries", content=b"{").status_code == 400
    assert len(sigstore.core.log) == length


@pytest.mark.parametrize("path", ["/api/v1/log/entries/" + "0" * 64, "/api/v1/log/entries?logIndex=1"])
def test_what_the_log_hasnt_got_is_404(sigstore: LocalSigstore, path: str) -> None:
    assert httpx.get(sigstore.url + path).status_code == 404


def test_it_stops_listening_and_clears_up() -> None:
    """After the `with`, nothing answers and its own folder is gone."""
    with LocalSigstore() as sigstore:
        url, folder = sigstore.url, sigstore.folder
        assert httpx.get(f"{url}/api/v1/log").status_code == 200
        assert sigstore.signing_config.parent == folder
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/v1/log")


def test_where_it_cant_write_it_stops_and_says_so(tmp_path: Path) -> None:
    """A folder in which trust can't be written: one error of our own tree, and nothing is left listening."""
    (tmp_path / "trusted_root.json" / "full").mkdir(parents=True)
    sigstore = LocalSigstore(tmp_path)
    with pytest.raises(EvidenceError, match=r"trusted_root\.json: can't be written"), sigstore:
        raise AssertionError("it serves a trust that nobody can read")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sigstore.url}/api/v1/log")


def test_where_it_cant_listen_it_says_so() -> None:
    """An address that isn't this machine's (RFC 5737) is an error of our own tree, not an OSError."""
    with pytest.raises(EvidenceError, match="can't start"), LocalSigstore(host="192.0.2.1"):
        raise AssertionError("it listens on an address that isn't this machine's")
