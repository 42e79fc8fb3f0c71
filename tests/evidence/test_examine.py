"""Reading, judging and weighing together, on a registry in this process that fails on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from reconciler.evidence import raw, read, statements
from reconciler.evidence.examine import examine, platform_proofs
from reconciler.evidence.judge import Judge
from reconciler.evidence.recall import unchanged
from reconciler.local.registry import Fault, LocalRegistry, Manners, Referrers, on
from reconciler.local.registry.actions import Action, Huge, Reset, reply_error, reply_html
from reconciler.local.registry.call import Call
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Layer, Mint, Workflow
from reconciler.model.digest import Digest
from reconciler.model.evidence import (
    ANNOTATION_REPOSITORY,
    ANNOTATION_VERSION,
    MIRROR_PREDICATE,
    Binding,
    Evidence,
    Kind,
    Missing,
    Proven,
    Unknown,
)
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.record import RecordedTag
from reconciler.model.reference import Repository
from reconciler.model.signing import Policy
from reconciler.registry.client import Registry
from tests.evidence.attach import EMPTY, INDEX, MANIFEST, Attachments, Bundle, Pusher, described, index_of
from tests.evidence.cases import AMD64, ARM64, EVIL, SIGN, SLSA, SPDX, US, World

MINT, KEY = Mint(), Key.generate()
POLICY = Policy((US,), json.dumps(MINT.trusted_root()))
JUDGE = Judge(POLICY)
EVERY = frozenset(Kind)


@pytest.fixture
def pusher(local: LocalRegistry, request: pytest.FixtureRequest) -> Iterator[Pusher]:
    """Pushes to a repository of the test's own."""
    name = Digest.of(request.node.name.encode()).hex[:16]
    with Pusher(Repository.parse(f"{local.host}/o/{name}")) as pusher:
        yield pusher


def world(pusher: Pusher, **annotations: str) -> World:
    return World(MINT, KEY, pusher.repository, pusher.image("image", annotations))


def mirror(world: World, version: str = "10.3.1") -> Bundle:
    bound = Binding(str(world.repository), version, "sha256:r", "c0ffee")
    content = statements.mirror_statement(world.digest, bound, source="https://u.test", ref="v1", platforms={})
    return world.statement(statements.dump(content), MIRROR_PREDICATE)


def everything(world: World) -> list[Bundle]:
    """All four kinds, as apply attaches them."""
    return [
        world.statement(world.sign(), SIGN),
        mirror(world),
        *(
            world.statement(world.about(world.digest, world.child(platform), type=kind), kind)
            for platform in (AMD64, ARM64)
            for kind in (SPDX, SLSA)
        ),
    ]


async def look(registry: Registry, world: World, judge: Judge = JUDGE, recorded: RecordedTag | None = None) -> Evidence:
    return await examine(registry, judge, world.repository, world.digest, world.image.platforms, {}, recorded)


def recorded(world: World, evidence: Evidence) -> RecordedTag:
    """What apply would keep of this."""
    return RecordedTag(
        digest=world.digest,
        media_type="m",
        size=1,
        platforms={},
        ref="",
        commit="",
        recipe="",
        published="",
        evidence=evidence.index,
        legacy=evidence.legacy or {},
        proofs={k: f for k, f in evidence.findings.items() if isinstance(f, Proven)},
        binding=evidence.binding,
        authority=evidence.authority,
        policy=POLICY.hash,
    )


async def test_all_four_kinds_are_found(registry: Registry, pusher: Pusher) -> None:
    """What apply attaches is proven, by whom and where, and binds the digest to its version."""
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    evidence = await look(registry, w)
    assert evidence.lacking(EVERY) == ()
    assert evidence.authority == US.identity
    assert evidence.binding == Binding(str(w.repository), "10.3.1", "sha256:r", "c0ffee")
    assert evidence.index is not None
    assert evidence.notes == ()
    assert not evidence.recalled


async def test_annotations_bind_a_signed_index(registry: Registry, pusher: Pusher) -> None:
    """Where the mirror statement isn't there, the signed index's own annotations say what it is."""
    w = world(pusher)
    annotations = {ANNOTATION_REPOSITORY: str(w.repository), ANNOTATION_VERSION: "10.3.1"}
    unsigned = await examine(registry, JUDGE, w.repository, w.digest, w.image.platforms, annotations)
    pusher.attach(w.digest, w.signed())
    signed = await examine(registry, JUDGE, w.repository, w.digest, w.image.platforms, annotations)
    assert unsigned.binding is None
    assert signed.binding == Binding(str(w.repository), "10.3.1")


FAILURES: list[Callable[[], Action]] = [
    lambda: reply_error(503, "UNAVAILABLE"),
    lambda: reply_error(401, "UNAUTHORIZED"),
    lambda: reply_error(403, "DENIED"),
    lambda: reply_error(429, "TOOMANYREQUESTS"),
    lambda: reply_html(404),
    lambda: reply_html(200),
    Reset,
]


@pytest.mark.parametrize("action", FAILURES)
@pytest.mark.parametrize("ending", ["", ".sig", ".att"])
async def test_a_place_that_gives_no_definite_answer_is_unknown(
    registry: Registry, local: LocalRegistry, pusher: Pusher, ending: str, action: Callable[[], Action]
) -> None:
    """Whichever layout doesn't answer: what could be in it is unknown, never missing (rule 1)."""
    w = world(pusher)
    # a client's first request to a host finds out how to ask at all; if that fails, all that wait for it do
    assert (await look(registry, w)).findings[Kind.SIGNATURE] == Missing()
    local.faults.add(Fault(action(), match=on(reference=f"{w.digest.fallback_tag}{ending}"), times=None))
    evidence = await look(registry, w)
    assert isinstance(evidence.findings[Kind.SIGNATURE], Unknown)
    other = Missing if ending == ".sig" else Unknown
    for kind in EVERY - {Kind.SIGNATURE}:
        assert isinstance(evidence.findings[kind], other), evidence.findings[kind]
    assert evidence.authority == ""


@pytest.mark.parametrize("kind", ["manifest", "blob"])
async def test_a_proof_that_does_not_come_is_unknown(
    registry: Registry, local: LocalRegistry, pusher: Pusher, kind: str
) -> None:
    """Anything could be in a bundle that wasn't read; what is proven by others stays so."""
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    whole = await look(registry, w)
    signature = whole.findings[Kind.SIGNATURE]
    assert isinstance(signature, Proven)
    blob, manifest = str(signature.proof), str(referrer_of(pusher, w, signature.proof))
    reference = blob if kind == "blob" else manifest
    local.faults.add(Fault(reply_error(502, "X"), match=on(kind=kind, reference=reference), times=None))
    evidence = await look(registry, w)
    assert isinstance(evidence.findings[Kind.SIGNATURE], Unknown)
    assert evidence.lacking(EVERY) == (Kind.SIGNATURE,)
    assert evidence.authority


def referrer_of(pusher: Pusher, world: World, blob: Digest) -> Digest:
    """The manifest in the fallback index that holds this bundle."""
    accept = {"Accept": f"{MANIFEST}, application/vnd.oci.image.index.v1+json"}
    index = pusher.client.get(pusher.url(f"manifests/{world.digest.fallback_tag}"), headers=accept).json()
    for entry in index["manifests"]:
        manifest = pusher.client.get(pusher.url(f"manifests/{entry['digest']}"), headers=accept).json()
        if manifest["layers"][0]["digest"] == str(blob):
            return Digest.parse(entry["digest"])
    raise AssertionError("it isn't listed")


@pytest.mark.parametrize("what", ["manifest", "blob"])
async def test_a_proof_that_was_deleted_is_missing(
    registry: Registry, local: LocalRegistry, pusher: Pusher, what: str
) -> None:
    """Deleted by its digest, a proof still stands in the fallback index: that it is gone is a definite answer."""
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    signature = (await look(registry, w)).findings[Kind.SIGNATURE]
    assert isinstance(signature, Proven)
    if what == "manifest":
        local.store.delete_manifest(w.repository.name, referrer_of(pusher, w, signature.proof))
    else:
        local.store.delete_blob(w.repository.name, signature.proof)
    evidence = await look(registry, w)
    assert evidence.findings[Kind.SIGNATURE] == Missing()
    assert evidence.lacking(EVERY) == (Kind.SIGNATURE,)
    assert f"its {what} is gone" in evidence.notes[0]


async def test_without_trust_material_what_is_there_is_unknown(registry: Registry, pusher: Pusher) -> None:
    """A bundle that can't be judged may prove anything; where nothing is attached, that is certain."""
    broken = Judge(replace(POLICY, trusted_root="{}"))
    w = world(pusher)
    bare = await look(registry, w, broken)
    pusher.attach(w.digest, w.signed())
    signed = await look(registry, w, broken)
    assert bare.findings[Kind.SIGNATURE] == Missing()
    for kind in Kind:
        finding = signed.findings[kind]
        assert isinstance(finding, Unknown)
        assert "trusted root is unusable" in finding.reason


def hostile(local: LocalRegistry, world: World, entries: list[dict[str, Any]]) -> None:
    """A fallback index that names what isn't there."""
    data = json.dumps(index_of(entries)).encode()
    local.store.put_manifest(world.repository.name, data, INDEX, tag=world.digest.fallback_tag, check=False)


async def test_a_heap_of_referrers_is_read_in_part_and_unknown(
    registry: Registry, local: LocalRegistry, pusher: Pusher
) -> None:
    """Ten thousand entries cost no more than the cap; what isn't proven by those that were read isn't known."""
    w = world(pusher)
    real = pusher.bundle(pusher.child(w.digest), w.signed().bundles[0])
    heap = [
        {"mediaType": MANIFEST, "digest": f"sha256:{number:064x}", "size": 500, "artifactType": EMPTY}
        for number in range(10_000)
    ]
    hostile(local, w, [*heap, real])
    local.requests.reset()
    evidence = await look(registry, w)
    assert local.requests.count() <= read.MAX_REFERRERS + 10
    assert isinstance(evidence.findings[Kind.SIGNATURE], Proven)
    sbom = evidence.findings[Kind.SBOM]
    assert isinstance(sbom, Unknown)
    assert "10001 manifests refer" in sbom.reason
    assert len(evidence.notes) < 30


async def test_other_artifacts_are_passed_over(registry: Registry, local: LocalRegistry, pusher: Pusher) -> None:
    """What refers to the image without being a bundle, or isn't even a manifest, is neither evidence nor trouble."""
    w = world(pusher)
    subject = described(pusher.child(w.digest))
    other = pusher.manifest(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.cncf.notary.signature",
            "config": pusher.descriptor(EMPTY, b"{}"),
            "layers": [pusher.descriptor("application/jose+json", b"{}")],
            "subject": subject,
        }
    )
    alien = {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "digest": f"sha256:{1:064x}", "size": 3}
    index = Child(w.digest, str(subject["mediaType"]), int(subject["size"]))
    hostile(local, w, [described(other), alien, described(index)])
    evidence = await look(registry, w)
    assert all(isinstance(finding, Missing) for finding in evidence.findings.values())


async def test_a_bundle_of_several_layers_is_none(registry: Registry, pusher: Pusher) -> None:
    """A bundle's manifest has one layer; with more, which of them counts would be the reader's choice."""
    w = world(pusher)
    layer = pusher.descriptor("application/vnd.dev.sigstore.bundle.v0.3+json", w.signed().bundles[0].data)
    child = pusher.manifest(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": pusher.descriptor(EMPTY, b"{}"),
            "layers": [layer, layer],
            "subject": described(pusher.child(w.digest)),
        }
    )
    pusher.fallback(w.digest, [described(child)])
    evidence = await look(registry, w)
    assert evidence.findings[Kind.SIGNATURE] == Missing()
    assert "2 layers" in evidence.notes[0]


async def test_a_large_sbom_is_spooled_and_verified(registry: Registry, local: LocalRegistry, pusher: Pusher) -> None:
    """Larger than what is held in memory side by side, it is verified all the same, once."""
    w = world(pusher)
    content = statements.statement(SPDX, {"text": "x" * (raw.MAX_PAYLOAD * 3)}, "n", [w.digest])
    pusher.attach(w.digest, Attachments([w.statement(statements.dump(content), SPDX)]))
    local.requests.reset()
    evidence = await look(registry, w)
    assert isinstance(evidence.findings[Kind.SBOM], Proven)
    assert local.requests.count(kind="blob") == 1


@pytest.mark.parametrize("stated", [raw.MAX_BUNDLE + 1, 10])
async def test_a_blob_over_the_cap_or_its_stated_size_is_not_read(
    registry: Registry, pusher: Pusher, stated: int
) -> None:
    """One that says it is too large is no evidence; one that is larger than it says is cut off, and not known."""
    w = world(pusher)
    data = w.statement(w.about(w.digest), SPDX).data + b" " * read.LARGE
    layer = {**pusher.descriptor("application/vnd.dev.sigstore.bundle.v0.3+json", data), "size": stated}
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": pusher.descriptor(EMPTY, b"{}"),
        "layers": [layer],
        "subject": described(pusher.child(w.digest)),
    }
    pusher.fallback(w.digest, [described(pusher.manifest(content))])
    evidence = await look(registry, w)
    assert isinstance(evidence.findings[Kind.SBOM], Unknown if stated == 10 else Missing)
    assert len(evidence.notes) == (0 if stated == 10 else 1)


@pytest.mark.parametrize("kind", ["manifest", "blob"])
@pytest.mark.parametrize("declared", [False, True])
async def test_an_answer_without_end_makes_no_evidence_disappear(
    registry: Registry, local: LocalRegistry, pusher: Pusher, kind: str, declared: bool
) -> None:
    """Some proxy answers with a gigabyte: what it hides is unknown, not missing (rule 1)."""
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    referrers = {entry["digest"] for entry in local.store.fallback(w.repository.name, w.digest)}
    assert len(referrers) == 6

    def hides(call: Call) -> bool:
        return call.route.kind == "blob" if kind == "blob" else call.route.reference in referrers

    local.faults.add(Fault(Huge(declared=declared), match=hides, times=None))
    evidence = await look(registry, w)
    assert {type(finding) for finding in evidence.findings.values()} == {Unknown}
    local.faults.clear()
    assert {type(finding) for finding in (await look(registry, w)).findings.values()} == {Proven}


async def test_a_fallback_tag_that_is_no_index_is_unknown(registry: Registry, pusher: Pusher) -> None:
    """Somebody's image under the tag where the referrers belong says nothing of what is attached."""
    w = world(pusher)
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": pusher.descriptor(EMPTY, b"{}"), "layers": []}
    pusher.manifest(image, w.digest.fallback_tag)
    assert isinstance((await look(registry, w)).findings[Kind.SIGNATURE], Unknown)


@pytest.mark.parametrize("api", [Referrers.UNKNOWN, Referrers.API])
async def test_a_warm_look_is_one_request(
    registry: Registry, local: LocalRegistry, pusher: Pusher, api: Referrers
) -> None:
    """With the record's index digest unchanged nothing is read; after any change something is."""
    local.manners = Manners(referrers=api)
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    cold = await look(registry, w)
    record = recorded(w, cold)
    local.requests.reset()
    head = await registry.head_referrers(w.repository, w.digest, expected=record.evidence)
    assert local.requests.count() == 1
    assert isinstance(head, Digest)
    warm = unchanged(record, POLICY.hash, head, required=EVERY)
    assert warm == replace(cold, recalled=True, notes=())
    pusher.attach(w.digest, w.signed())
    assert await registry.head_referrers(w.repository, w.digest, expected=record.evidence) != record.evidence


async def test_what_was_verified_is_not_fetched_again(registry: Registry, local: LocalRegistry, pusher: Pusher) -> None:
    """Where something was added, only that is fetched and judged; the rest is taken from the record."""
    w = world(pusher)
    bundles = everything(w)
    pusher.attach(w.digest, Attachments(bundles))
    record = recorded(w, await look(registry, w))
    pusher.attach(w.digest, Attachments([*bundles, w.statement(w.sign(), SIGN, Workflow(EVIL))]))
    local.requests.reset()
    evidence = await look(registry, w, recorded=record)
    assert local.requests.count(kind="blob") == 1
    assert evidence.recalled
    assert evidence.findings == dict(record.proofs)
    assert evidence.binding == record.binding
    assert f"signed by {EVIL}" in evidence.notes[0]


async def test_where_something_is_lost_all_is_verified_again(registry: Registry, pusher: Pusher) -> None:
    """What will be signed anew needs authority, and that never comes from a record (rule 4)."""
    w = world(pusher)
    bundles = everything(w)
    pusher.attach(w.digest, Attachments(bundles))
    record = recorded(w, await look(registry, w))
    pusher.attach(w.digest, Attachments(bundles[1:]))
    evidence = await look(registry, w, recorded=record)
    assert evidence.lacking(EVERY) == (Kind.SIGNATURE,)
    assert not evidence.recalled


async def test_a_forged_record_proves_nothing_that_is_not_attached(registry: Registry, pusher: Pusher) -> None:
    """A record with proofs that aren't attached is worth nothing, whatever it says."""
    w = world(pusher)
    pusher.attach(w.digest, Attachments(everything(w)))
    record = recorded(w, await look(registry, w))
    pusher.fallback(w.digest, [])
    evidence = await look(registry, w, recorded=record)
    assert evidence.lacking(EVERY) == tuple(Kind)
    assert evidence.authority == ""


async def test_platform_manifests_prove_themselves(registry: Registry, local: LocalRegistry, pusher: Pusher) -> None:
    """Signed right after their push, images are ours before any index holds them; each by its own proof (rule 4)."""
    w = world(pusher)
    amd64, arm64 = w.child(AMD64), w.child(ARM64)

    async def proven() -> frozenset[Platform] | Unknown:
        return await platform_proofs(registry, JUDGE, w.repository, w.image.platforms)

    assert await proven() == frozenset()
    pusher.attach(amd64, Attachments([w.statement(w.sign(amd64))]))
    assert await proven() == frozenset({AMD64})
    pusher.attach(arm64, Attachments([w.statement(w.sign(amd64))]))
    assert await proven() == frozenset({AMD64})
    pusher.attach(arm64, Attachments([w.statement(w.sign(arm64))]))
    assert await proven() == frozenset({AMD64, ARM64})


async def test_platform_proofs_are_unknown_only_where_that_decides(
    registry: Registry, local: LocalRegistry, pusher: Pusher
) -> None:
    """One image that is certainly not ours decides, whatever the other is; else what can't be read does."""
    w = world(pusher)
    amd64, arm64 = w.child(AMD64), w.child(ARM64)
    failing = Fault(reply_error(503, "X"), match=on(reference=arm64.fallback_tag), times=None)
    local.faults.add(failing)
    assert await platform_proofs(registry, JUDGE, w.repository, w.image.platforms) == frozenset()
    pusher.attach(amd64, Attachments([w.statement(w.sign(amd64))]))
    unsure = await platform_proofs(registry, JUDGE, w.repository, w.image.platforms)
    assert isinstance(unsure, Unknown)
    assert "linux/arm64" in unsure.reason


async def test_two_signers_of_one_payload_are_told_apart(registry: Registry, pusher: Pusher) -> None:
    """cosign 2's payload is the same for all who sign an image: the same blob, with another's annotations."""
    w = world(pusher)
    layers = [w.legacy(signer=Workflow(EVIL)), w.legacy()]
    assert layers[0].data == layers[1].data
    pusher.attach(w.digest, Attachments(sig=layers))
    evidence = await look(registry, w)
    signature = evidence.findings[Kind.SIGNATURE]
    assert isinstance(signature, Proven)
    assert (signature.by, signature.layout) == (US.identity, "legacy")
    assert set(evidence.legacy or {}) == {".sig"}
    assert f"signed by {EVIL}" in evidence.notes[0]


async def test_a_garbled_legacy_tag_is_no_evidence(registry: Registry, pusher: Pusher) -> None:
    """Layers without a signature, of another type, or under an index: nothing, and no crash."""
    w = world(pusher)
    good = w.legacy()
    pusher.attach(
        w.digest,
        Attachments(
            sig=[
                Layer(good.media_type, good.data, {}),
                Layer("application/octet-stream", good.data, good.annotations),
                Layer(good.media_type, b"\x00", good.annotations),
            ]
        ),
    )
    evidence = await look(registry, w)
    assert not isinstance(evidence.findings[Kind.SIGNATURE], Proven | Unknown)
    assert evidence.authority == ""
