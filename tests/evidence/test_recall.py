"""When a record's facts still hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.evidence.recall import known, legacy_tags, unchanged
from reconciler.model.digest import Digest
from reconciler.model.evidence import Binding, Kind, Proven, Unknown
from reconciler.model.record import RecordedTag

IMAGE, INDEX, OTHER = Digest.of(b"image"), Digest.of(b"index"), Digest.of(b"other")
POLICY = "sha256:policy"
SIGNED = Proven("us", "2026-01-01T00:00:00Z", Digest.of(b"bundle"))
RECORDED = RecordedTag(
    digest=IMAGE,
    media_type="m",
    size=1,
    platforms={},
    ref="",
    commit="",
    recipe="",
    published="",
    evidence=INDEX,
    proofs=dict.fromkeys(Kind, SIGNED),
    binding=Binding("r", "1"),
    authority="us",
    policy=POLICY,
)
LEGACY = replace(RECORDED, proofs={Kind.SIGNATURE: replace(SIGNED, layout="legacy")}, legacy={".sig": OTHER})


def test_the_same_index_under_the_same_policy_proves_the_same() -> None:
    """All that was recorded holds, and it is said that it comes from a record."""
    evidence = unchanged(RECORDED, POLICY, INDEX, required=frozenset(Kind))
    assert evidence is not None
    assert evidence.findings == RECORDED.proofs
    assert (evidence.authority, evidence.binding, evidence.index) == ("us", Binding("r", "1"), INDEX)
    assert evidence.recalled


@pytest.mark.parametrize(
    ("recorded", "policy", "index"),
    [
        (RECORDED, "sha256:another", INDEX),
        (RECORDED, POLICY, OTHER),
        (RECORDED, POLICY, None),
        (replace(RECORDED, evidence=None), POLICY, None),
        (replace(RECORDED, authority=""), POLICY, INDEX),
        (replace(RECORDED, binding=None), POLICY, INDEX),
        (replace(RECORDED, proofs={Kind.SBOM: SIGNED}), POLICY, INDEX),
    ],
)
def test_anything_else_is_read_again(recorded: RecordedTag, policy: str, index: Digest | None) -> None:
    """Another policy, another index or none, or a record that lacks what is required: nothing is taken from it."""
    assert unchanged(recorded, policy, index, required=frozenset({Kind.SIGNATURE})) is None


def test_what_nobody_requires_and_the_record_lacks_is_unknown() -> None:
    """cosign 2's tags aren't asked in a warm plan, so what isn't recorded isn't known to be missing."""
    evidence = unchanged(replace(RECORDED, proofs={Kind.SIGNATURE: SIGNED}), POLICY, INDEX)
    assert evidence is not None
    assert isinstance(evidence.findings[Kind.SBOM], Unknown)


def test_a_legacy_proof_holds_while_its_tag_does() -> None:
    """A proof in a `.sig` tag isn't in the evidence index, so the tag's own digest must be the recorded one."""
    assert legacy_tags(RECORDED) == ()
    assert legacy_tags(LEGACY) == (".sig",)
    assert unchanged(LEGACY, POLICY, INDEX) is None
    assert unchanged(LEGACY, POLICY, INDEX, legacy={".sig": IMAGE}) is None
    assert unchanged(LEGACY, POLICY, INDEX, legacy={".sig": OTHER}) is not None
    bare = replace(LEGACY, evidence=None)
    assert unchanged(bare, POLICY, None, legacy={".sig": OTHER}) is not None


def test_where_both_layouts_are_wanted_the_other_s_tag_must_still_be_there() -> None:
    """The proof that counts first is a bundle, yet `.sig` is asked for, and its loss noticed by a warm plan."""
    recorded = replace(RECORDED, legacy={".sig": OTHER})
    both = ("bundle", "legacy")
    assert legacy_tags(recorded, both) == (".sig",)
    assert unchanged(recorded, POLICY, INDEX, layouts=both) is None
    assert unchanged(recorded, POLICY, INDEX, legacy={".sig": OTHER}, layouts=both) is not None


def test_known_bundles_are_those_of_this_digest_and_policy() -> None:
    """A proof of another digest, under another policy or in cosign 2's layout is verified again."""
    assert known(RECORDED, IMAGE, POLICY) == RECORDED.proofs
    assert known(None, IMAGE, POLICY) == {}
    assert known(RECORDED, OTHER, POLICY) == {}
    assert known(RECORDED, IMAGE, "sha256:another") == {}
    assert known(LEGACY, IMAGE, POLICY) == {}
    assert Kind.MIRROR not in known(replace(RECORDED, binding=None), IMAGE, POLICY)
