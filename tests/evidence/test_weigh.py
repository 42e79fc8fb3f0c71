"""From verdicts to evidence."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.evidence import statements
from reconciler.evidence.raw import Attached, Fault, Form, Raw
from reconciler.evidence.verdict import Rejected, Verified
from reconciler.evidence.weigh import MAX_NOTES, Judged, Subject, weigh
from reconciler.model.digest import Digest
from reconciler.model.evidence import (
    ANNOTATION_RECIPE,
    ANNOTATION_REPOSITORY,
    ANNOTATION_VERSION,
    MIRROR_PREDICATE,
    Binding,
    Invalid,
    Kind,
    Missing,
    Proven,
    Unknown,
)
from reconciler.model.reference import Repository
from tests.support.nouns import AMD64, ARM64, child

HERE = Repository.parse("r.test/o/i")
INDEX = Digest.of(b"index")
SIGN, SPDX = "https://sigstore.dev/cosign/sign/v1", "https://spdx.dev/Document"
PLATFORMS = {AMD64: child("amd64"), ARM64: child("arm64")}
ANNOTATIONS = {ANNOTATION_REPOSITORY: str(HERE), ANNOTATION_VERSION: "1.2", ANNOTATION_RECIPE: "sha256:r"}
NOTHING = Raw(())


def subject(annotations: Mapping[str, str] | None = None) -> Subject:
    return Subject(HERE, INDEX, PLATFORMS, annotations or {})


def attached(name: str, form: Form = Form.BUNDLE, claims: Kind | None = None) -> Attached:
    return Attached(form, Digest.of(name.encode()), 1, claims=claims)


def verified(
    name: str, predicate_type: str = SIGN, *also: Digest, at: str = "", by: str = "us", form: Form = Form.BUNDLE
) -> Judged:
    return Judged(attached(name, form), Verified(predicate_type, by, at, frozenset({INDEX, *also})))


def mirror(name: str, repository: str, version: str, at: str = "") -> Judged:
    content = statements.mirror_statement(INDEX, Binding(repository, version), source="", ref="", platforms={})
    verdict = Verified(MIRROR_PREDICATE, "us", at, frozenset({INDEX}), content["predicate"])
    return Judged(attached(name), verdict)


def test_nothing_attached_is_missing_for_certain() -> None:
    """With nothing attached and every layout read, each kind is missing, of all platforms where it has any."""
    evidence = weigh(subject(), NOTHING, [])
    assert evidence.findings == {
        Kind.SIGNATURE: Missing(),
        Kind.SBOM: Missing((AMD64, ARM64)),
        Kind.PROVENANCE: Missing((AMD64, ARM64)),
        Kind.MIRROR: Missing(),
    }
    assert (evidence.authority, evidence.binding, evidence.notes) == ("", None, ())


@pytest.mark.parametrize("form", Form)
def test_what_could_not_be_read_is_unknown_not_missing(form: Form) -> None:
    """A fault makes the kinds unknown that could have been in it, and only those that aren't proven otherwise."""
    raw = Raw((), (Fault("the registry answered 503", form.kinds),))
    evidence = weigh(subject(), raw, [verified("p", "https://slsa.dev/provenance/v1")])
    assert evidence.findings[Kind.SIGNATURE] == Unknown("the registry answered 503")
    assert isinstance(evidence.findings[Kind.PROVENANCE], Proven)
    sbom = evidence.findings[Kind.SBOM]
    assert isinstance(sbom, Missing if form is Form.SIG else Unknown)


def test_a_fault_outweighs_what_is_invalid() -> None:
    """With somebody's invalid signature and something that couldn't be read, it isn't known to be unsigned."""
    raw = Raw((), (Fault("503"),))
    evidence = weigh(subject(), raw, [Judged(attached("s"), Rejected("by evil", Kind.SIGNATURE))])
    assert evidence.findings[Kind.SIGNATURE] == Unknown("503")


def test_a_rejected_one_is_invalid_of_the_kind_it_claims_to_be() -> None:
    """By its statement, or where that can't be read, by its annotation; a claim of nothing is a note only."""
    judged = [
        Judged(attached("a"), Rejected("by evil", Kind.SIGNATURE)),
        Judged(attached("b", claims=Kind.MIRROR), Rejected("garbled")),
        Judged(attached("c"), Rejected("no bundle")),
    ]
    evidence = weigh(subject(), NOTHING, judged)
    assert evidence.findings[Kind.SIGNATURE] == Invalid("by evil")
    assert evidence.findings[Kind.MIRROR] == Invalid("garbled")
    assert evidence.findings[Kind.SBOM] == Missing((AMD64, ARM64))
    assert [note.split(": ", 1)[1] for note in evidence.notes] == ["by evil", "garbled", "no bundle"]


def test_an_sbom_is_proven_when_each_platform_has_one() -> None:
    """Two statements, each about the index and one platform; the finding names both bundles."""
    both = [verified("a", SPDX, PLATFORMS[AMD64].digest), verified("b", SPDX, PLATFORMS[ARM64].digest)]
    assert weigh(subject(), NOTHING, both).findings[Kind.SBOM] == Proven(
        "us", "", Digest.of(b"a"), also=(Digest.of(b"b"),)
    )
    assert weigh(subject(), NOTHING, both[:1]).findings[Kind.SBOM] == Missing((ARM64,))


def test_an_sbom_of_the_index_alone_speaks_of_all_of_it() -> None:
    """A statement whose only subject is the index is about the whole; with a stranger beside it, it is not."""
    whole = weigh(subject(), NOTHING, [verified("a", SPDX)])
    stranger = weigh(subject(), NOTHING, [verified("a", SPDX, Digest.of(b"stranger"))])
    assert isinstance(whole.findings[Kind.SBOM], Proven)
    assert stranger.findings[Kind.SBOM] == Missing((AMD64, ARM64))


def test_an_invalid_sbom_names_the_platforms_that_lack_one() -> None:
    """Of two platforms one has an SBOM; somebody else's for the other is invalid for that one."""
    judged = [verified("a", SPDX, PLATFORMS[AMD64].digest), Judged(attached("b"), Rejected("by evil", Kind.SBOM))]
    assert weigh(subject(), NOTHING, judged).findings[Kind.SBOM] == Invalid("by evil", (ARM64,))


def test_bundles_and_later_proofs_are_named_first() -> None:
    """Which proof is named doesn't depend on the order in which they came."""
    judged = [
        verified("old", at="2026-01-01T00:00:00Z"),
        verified("legacy", at="2026-03-01T00:00:00Z", form=Form.SIG),
        verified("new", at="2026-02-01T00:00:00Z"),
    ]
    found = {weigh(subject(), NOTHING, order).findings[Kind.SIGNATURE] for order in (judged, judged[::-1])}
    assert found == {Proven("us", "2026-02-01T00:00:00Z", Digest.of(b"new"))}


def test_any_proof_of_ours_gives_authority_and_other_statements_give_none() -> None:
    """One of the four kinds says that we made it (rule 4); a scan's result by the same signer doesn't."""
    assert weigh(subject(), NOTHING, [verified("a", SPDX)]).authority == "us"
    assert weigh(subject(), NOTHING, [verified("a", "https://cosign.sigstore.dev/attestation/vuln/v1")]).authority == ""


def test_annotations_bind_only_what_is_proven_ours() -> None:
    """The annotations of an index say what it is once a signature covers them, and nothing before (rule 5)."""
    assert weigh(subject(ANNOTATIONS), NOTHING, []).binding is None
    assert weigh(subject(ANNOTATIONS), NOTHING, [verified("s")]).binding == Binding(str(HERE), "1.2", "sha256:r")
    assert weigh(subject({ANNOTATION_VERSION: "1.2"}), NOTHING, [verified("s")]).binding is None


def test_a_mirror_statement_outweighs_annotations_and_one_of_here_any_other() -> None:
    """A copied digest keeps the statement of where it came from; the one that names this repository counts."""
    theirs, ours = mirror("a", "r.test/o/old", "9", "2026-05-01T00:00:00Z"), mirror("b", str(HERE), "2")
    assert weigh(subject(ANNOTATIONS), NOTHING, [theirs, ours]).binding == Binding(str(HERE), "2")
    assert weigh(subject(ANNOTATIONS), NOTHING, [theirs]).binding == Binding("r.test/o/old", "9")


def test_a_wrong_annotation_is_told_of() -> None:
    """An SBOM whose annotation calls it a signature is noted: somebody wants it to be taken for one."""
    judged = Judged(attached("x", claims=Kind.SIGNATURE), verified("x", SPDX).verdict)
    (note,) = weigh(subject(), NOTHING, [judged]).notes
    assert note.endswith("says it is a signature, but is sbom")


def test_notes_are_bounded() -> None:
    """A hostile heap of rubbish doesn't fill the plan."""
    judged = [Judged(attached(str(n)), Rejected("rubbish")) for n in range(100)]
    notes = weigh(subject(), NOTHING, judged).notes
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1] == "and 80 more"


def test_where_both_layouts_are_wanted_a_lost_one_is_missing() -> None:
    """A policy engine that reads only `.sig` must find it: a good bundle doesn't stand in for it."""
    bundle, sig = verified("bundle"), verified("sig", form=Form.SIG)
    both = ("bundle", "legacy")
    assert weigh(subject(), NOTHING, [bundle], layouts=both).findings[Kind.SIGNATURE] == Missing()
    assert isinstance(weigh(subject(), NOTHING, [bundle, sig], layouts=both).findings[Kind.SIGNATURE], Proven)
    assert isinstance(weigh(subject(), NOTHING, [bundle]).findings[Kind.SIGNATURE], Proven)
