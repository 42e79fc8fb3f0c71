"""The decision table, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.evidence import Invalid, Kind, Missing, Unknown
from reconciler.model.observed import Absent, Denied, Observation, Present
from reconciler.model.recipe import GitSource
from reconciler.model.record import Failure
from reconciler.model.wanted import Blocked, Waiting
from reconciler.plan.changes import AddPlatforms, Adopt, Prove, Publish, Rebuild, Restore
from reconciler.plan.decide import Decision, Past, Satisfied, decide
from tests.support.nouns import (
    AMD64,
    ARM64,
    ARMV7,
    NOW,
    bound,
    child,
    digest,
    evidence,
    nothing,
    present,
    recorded,
    wanted,
)

W = wanted()
WHOLE = present(W)
HALF = present(W, platforms=[AMD64])
FOREIGN = present(W, digest=digest("foreign"), evidence=nothing(notes=("signed by someone@example.org",)))
SEEN = Past(recorded(WHOLE, W), repository_seen=True)
LATER = "2026-01-02T09:00:00Z"


def decided(observed: object, past: Past = Past(), of: object = W, **observation: object) -> Decision:  # noqa: B008
    return decide(of, Observation(observed, **observation), past, NOW)  # type: ignore[arg-type]


def test_unknown_is_never_acted_on() -> None:
    """An unknown tag is held back with its reason, whatever the record says."""
    for past in (Past(), SEEN):
        result = decided(Unknown("503"), past)
        assert (result.row, result.outcome) == ("unknown", Unknown("503"))


def test_a_tag_that_is_as_wanted_needs_nothing() -> None:
    """All platforms, all proofs, bound to this version: nothing to do."""
    assert decided(WHOLE).outcome == Satisfied(WHOLE)


def test_more_platforms_than_wanted_are_fine() -> None:
    """A tag satisfies the wanted platforms, it need not equal them."""
    more = present(W, platforms=[AMD64, ARM64, ARMV7])
    assert decided(more).outcome == Satisfied(more)


def test_absent_is_published() -> None:
    """No such tag: all platforms are built."""
    result = decided(Absent())
    assert result.row == "publish"
    assert isinstance(result.outcome, Publish)
    assert (result.outcome.build, dict(result.outcome.keep)) == ((AMD64, ARM64), {})
    assert not result.outcome.presumed_new


def test_what_an_earlier_apply_pushed_is_reused() -> None:
    """A pending platform that was verified as ours isn't built again."""
    pending = {ARM64: child("pending")}
    result = decided(Absent(), pending=pending)
    assert isinstance(result.outcome, Publish)
    assert (result.outcome.build, dict(result.outcome.keep)) == ((AMD64,), pending)


class TestDenied:
    """403 where the package may not exist."""

    def test_never_seen_is_presumed_new(self) -> None:
        """Neither record nor history knows the repository: published, and marked so."""
        result = decided(Denied("403"))
        assert result.row == "new"
        assert isinstance(result.outcome, Publish)
        assert result.outcome.presumed_new

    def test_seen_before_is_unknown(self) -> None:
        """What was there once and is denied now is no reason to build."""
        result = decided(Denied("403 denied"), SEEN)
        assert (result.row, result.outcome) == ("denied", Unknown("403 denied"))

    def test_create_says_that_it_may_be_new(self) -> None:
        """`create` in the desired state settles it, records or not."""
        result = decided(Denied("403"), SEEN, replace(W, create=True))
        assert isinstance(result.outcome, Publish)
        assert "`create` says so" in result.outcome.reason


class TestRecordedDigest:
    """The tag is gone, or names something else, and the record knows what it was."""

    def test_a_lost_tag_is_put_back(self) -> None:
        """The recorded digest is whole and ours: no build."""
        result = decided(Absent(), SEEN, recorded=WHOLE)
        assert result.row == "restore"
        assert isinstance(result.outcome, Restore)
        assert (result.outcome.digest, result.outcome.exists, result.outcome.kinds) == (WHOLE.digest, None, ())
        assert result.drift == ("the tag is gone",)

    def test_a_tag_pushed_over_is_put_back(self) -> None:
        """People who pinned the recorded digest keep what they had; the plan says what is replaced."""
        result = decided(FOREIGN, SEEN, recorded=WHOLE)
        assert isinstance(result.outcome, Restore)
        assert result.outcome.exists == FOREIGN.digest
        assert f"replaces {FOREIGN.digest.short}" in result.outcome.reason
        assert result.drift == (f"the tag was pushed over: {WHOLE.digest.short} is now {FOREIGN.digest.short}",)

    def test_with_a_proof_lost_it_is_proven_first(self) -> None:
        """A restored digest that lacks a proof gets that one."""
        unsigned = replace(WHOLE, evidence=evidence(lacks={Kind.SBOM: Missing()}, binding=bound(W)))
        result = decided(Absent(), SEEN, recorded=unsigned)
        assert isinstance(result.outcome, Restore)
        assert result.outcome.kinds == (Kind.SBOM,)

    def test_lacking_a_platform_it_grows(self) -> None:
        """The recorded digest's images are kept, the rest is built."""
        result = decided(Absent(), SEEN, recorded=HALF)
        assert result.row == "regrow"
        assert isinstance(result.outcome, AddPlatforms)
        assert (result.outcome.build, result.outcome.exists) == ((ARM64,), None)
        assert dict(result.outcome.keep) == dict(HALF.platforms)

    @pytest.mark.parametrize(
        "unsure",
        [
            Unknown("502"),
            Denied("403"),
            replace(WHOLE, evidence=evidence(lacks={Kind.SIGNATURE: Unknown("no trusted root")}, binding=bound(W))),
        ],
    )
    def test_unsure_means_held(self, unsure: Unknown | Denied | Present) -> None:
        """Building what may be there already would replace a digest people pinned."""
        assert isinstance(decided(Absent(), SEEN, recorded=unsure).outcome, Unknown)
        assert isinstance(decided(FOREIGN, SEEN, recorded=unsure).outcome, Unknown)

    @pytest.mark.parametrize(
        "useless",
        [
            Absent(),
            FOREIGN,
            replace(WHOLE, evidence=evidence(binding=bound(W, version="1.1.0"))),
            replace(WHOLE, evidence=evidence(binding=None)),
        ],
    )
    def test_a_record_is_no_authority(self, useless: Absent | Present) -> None:
        """A recorded digest that is gone, foreign, another version's or unbound is not put back."""
        assert isinstance(decided(Absent(), SEEN, recorded=useless).outcome, Publish)
        assert isinstance(decided(FOREIGN, SEEN, recorded=useless).outcome, Rebuild)


class TestOurs:
    """Provably ours and this version's, but not as wanted."""

    def test_a_missing_platform_is_added(self) -> None:
        """Only the missing one is built, the others keep their digests."""
        result = decided(HALF)
        assert result.row == "grow"
        assert isinstance(result.outcome, AddPlatforms)
        assert (result.outcome.build, dict(result.outcome.keep)) == ((ARM64,), dict(HALF.platforms))
        assert result.outcome.exists == HALF.digest
        assert result.outcome.reason == "lacks linux/arm64"

    def test_a_child_that_is_gone_lacks(self) -> None:
        """An index whose image manifest is gone isn't complete."""
        result = decided(replace(WHOLE, gone=(ARM64,)))
        assert isinstance(result.outcome, AddPlatforms)
        assert (result.outcome.build, list(result.outcome.keep)) == ((ARM64,), [AMD64])
        assert "its manifest is gone" in result.outcome.reason

    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_missing_proof_is_made(self, kind: Kind) -> None:
        """Exactly the kind that lacks, named in the reason."""
        lacking = replace(WHOLE, evidence=evidence(lacks={kind: Missing()}, binding=bound(W)))
        result = decided(lacking)
        assert isinstance(result.outcome, Prove)
        assert (result.outcome.kinds, result.outcome.digest) == ((kind,), WHOLE.digest)
        assert result.outcome.reason == f"lacks {kind}"

    def test_a_proof_that_lacks_for_one_platform_says_so(self) -> None:
        """SBOM and provenance exist per platform."""
        lacking = replace(WHOLE, evidence=evidence(lacks={Kind.SBOM: Missing((ARM64,))}, binding=bound(W)))
        result = decided(lacking)
        assert isinstance(result.outcome, Prove)
        assert result.outcome.reason == "lacks sbom for linux/arm64"

    def test_an_invalid_proof_is_made_anew(self) -> None:
        """The reason why it doesn't hold is given."""
        bad = replace(WHOLE, evidence=evidence(lacks={Kind.SIGNATURE: Invalid("expired")}, binding=bound(W)))
        result = decided(bad)
        assert isinstance(result.outcome, Prove)
        assert result.outcome.reason == "signature is invalid: expired"

    @pytest.mark.parametrize("kind", list(Kind))
    def test_an_unknown_proof_is_held(self, kind: Kind) -> None:
        """Unknown is not missing: nothing is signed for it."""
        unsure = replace(WHOLE, evidence=evidence(lacks={kind: Unknown("timeout")}, binding=bound(W)))
        assert decided(unsure).outcome == Unknown("timeout")

    def test_a_proof_that_nobody_asks_for_is_not_made(self) -> None:
        """`evidence` in the desired state chooses what is required."""
        of = replace(W, evidence=frozenset({Kind.SIGNATURE}))
        lacking = replace(WHOLE, evidence=evidence(lacks={Kind.SBOM: Missing()}, binding=bound(W)))
        assert isinstance(decided(lacking, of=of).outcome, Satisfied)

    def test_signed_platforms_are_authority_too(self) -> None:
        """An index that isn't signed, of images that all are (a kill between push and signing), is ours."""
        unsigned = replace(WHOLE, evidence=nothing(binding=bound(W)), proven_platforms=frozenset({AMD64, ARM64}))
        result = decided(unsigned)
        assert isinstance(result.outcome, Prove)
        assert result.outcome.kinds == tuple(Kind)

    def test_one_unsigned_platform_is_no_authority(self) -> None:
        """Every image in it must be ours: one that isn't would be signed by us otherwise."""
        mixed = replace(WHOLE, evidence=nothing(binding=bound(W)), proven_platforms=frozenset({AMD64}))
        assert isinstance(decided(mixed).outcome, Rebuild)


class TestRecipe:
    """Built by another recipe than today's."""

    OLD = replace(WHOLE, evidence=evidence(binding=bound(W, recipe="sha256:old")))
    MOVED = replace(WHOLE, evidence=evidence(binding=bound(W, recipe="sha256:old", commit="a" * 40)))

    def test_is_reported(self) -> None:
        """By default the plan only says so."""
        result = decided(self.OLD)
        assert isinstance(result.outcome, Satisfied)
        assert result.drift == ("built by another recipe than today's",)

    def test_is_rebuilt_where_the_desired_state_says_so(self) -> None:
        """An edit of the desired state: it doesn't count for the tripwire."""
        result = decided(self.OLD, of=replace(W, on_recipe_change="rebuild"))
        assert isinstance(result.outcome, Rebuild)
        assert result.outcome.edited

    @pytest.mark.parametrize("choice", ["report", "rebuild"])
    def test_an_upstream_tag_that_moved_is_only_reported(self, choice: str) -> None:
        """Upstream pointing its tag elsewhere is no edit of ours: never rebuilt silently."""
        result = decided(self.MOVED, of=replace(W, on_recipe_change=choice))
        assert isinstance(result.outcome, Satisfied)
        assert result.drift == (
            "upstream's v1.2.0 named commit aaaaaaaaaaaa when this was built, now it names c0ffee000000",
        )


class TestNotOurs:
    """There, but nobody we accept signed it."""

    def test_is_rebuilt(self) -> None:
        """The plan says which digest is replaced and whose signature was found."""
        result = decided(FOREIGN)
        assert result.row == "foreign"
        assert isinstance(result.outcome, Rebuild)
        assert not result.outcome.edited
        assert (result.outcome.build, result.outcome.exists) == ((AMD64, ARM64), FOREIGN.digest)
        assert result.outcome.reason == (
            f"not provably ours (signed by someone@example.org); replaces {FOREIGN.digest.short}"
        )

    @pytest.mark.parametrize("kind", list(Kind))
    def test_is_held_where_a_proof_is_unknown(self, kind: Kind) -> None:
        """It may be ours: a blob that didn't come is no licence to replace."""
        findings = {**nothing().findings, kind: Unknown("timeout")}
        unsure = replace(FOREIGN, evidence=replace(nothing(), findings=findings))
        assert decided(unsure).outcome == Unknown("timeout")

    def test_is_adopted_where_the_desired_state_names_it(self) -> None:
        """That exact digest is proven as it is."""
        result = decided(FOREIGN, of=replace(W, adopt=FOREIGN.digest))
        assert isinstance(result.outcome, Adopt)
        assert (result.outcome.digest, result.outcome.build) == (FOREIGN.digest, ())
        assert result.outcome.kinds == tuple(Kind)

    def test_is_completed_when_adopted(self) -> None:
        """What lacks is built beside what is there."""
        half = replace(FOREIGN, platforms={AMD64: child("theirs")})
        result = decided(half, of=replace(W, adopt=half.digest))
        assert isinstance(result.outcome, Adopt)
        assert (result.outcome.build, list(result.outcome.keep)) == ((ARM64,), [AMD64])

    def test_another_digest_than_the_adopted_one_is_blocked(self) -> None:
        """Someone pushed over it since: a person decides."""
        result = decided(FOREIGN, of=replace(W, adopt=digest("other")))
        assert isinstance(result.outcome, Blocked)
        assert result.outcome.mistake

    def test_ours_without_a_version_is_blocked_with_what_to_write(self) -> None:
        """An accepted signer's image that nothing signed binds to a version is neither rebuilt nor vouched for."""
        unbound = replace(WHOLE, evidence=evidence(binding=None))
        result = decided(unbound)
        assert result.row == "unbound"
        assert isinstance(result.outcome, Blocked)
        assert f'`adopt: {{"1.2.0": {unbound.digest}}}`' in result.outcome.reason
        assert isinstance(decided(unbound, of=replace(W, adopt=unbound.digest)).outcome, Adopt)

    def test_our_digest_of_another_version_is_drift(self) -> None:
        """Our own signed 1.1.0 under the tag 1.2.0 is rebuilt, not satisfied (rule 5)."""
        retagged = replace(WHOLE, evidence=evidence(binding=bound(W, version="1.1.0")))
        result = decided(retagged)
        assert result.row == "mixed-up"
        assert isinstance(result.outcome, Rebuild)
        assert "our own digest of 1.1.0 under the tag of 1.2.0" in result.drift

    def test_a_copy_from_another_repository_is_drift(self) -> None:
        """A signature copied along with the image names the repository it was made for."""
        copied = replace(WHOLE, evidence=evidence(binding=bound(W, repository="registry.example/mirror/other")))
        result = decided(copied)
        assert isinstance(result.outcome, Rebuild)
        assert "copied from registry.example/mirror/other" in result.drift


class TestHeldBack:
    """What would have to be built can't be built now."""

    BUILDS = (Absent(), HALF, FOREIGN, Denied("403"))

    @pytest.mark.parametrize("observed", BUILDS)
    @pytest.mark.parametrize("why", [Blocked("no such edit", mistake=True), Waiting("no binary for arm64 yet")])
    def test_by_upstream(self, observed: object, why: Blocked | Waiting) -> None:
        """Probes and checksums hold builds back, with their reason."""
        assert decided(observed, of=replace(W, hindrance=why)).outcome == why

    @pytest.mark.parametrize("observed", BUILDS)
    def test_by_back_off(self, observed: object) -> None:
        """The same recipe failed a while ago: the plan shows until when it waits."""
        result = decided(observed, Past(failure=Failure(2, "make: error 1", LATER)))
        assert isinstance(result.outcome, Waiting)
        assert result.outcome.until == LATER
        assert "failed 2 times: make: error 1" in result.outcome.reason

    @pytest.mark.parametrize("observed", BUILDS)
    def test_no_longer_than_that(self, observed: object) -> None:
        """Once the time is over it is tried again."""
        result = decided(observed, Past(failure=Failure(2, "make: error 1", NOW)))
        assert not isinstance(result.outcome, Waiting)

    def test_but_not_what_needs_no_build(self) -> None:
        """A missing signature is made, a lost tag put back, whatever upstream does."""
        of = replace(W, hindrance=Waiting("not yet"))
        past = Past(recorded(WHOLE, W), failure=Failure(1, "x", LATER))
        unsigned = replace(WHOLE, evidence=evidence(lacks={Kind.SIGNATURE: Missing()}, binding=bound(W)))
        assert isinstance(decided(unsigned, past, of).outcome, Prove)
        assert isinstance(decided(Absent(), past, of, recorded=WHOLE).outcome, Restore)
        assert isinstance(decided(WHOLE, past, of).outcome, Satisfied)


def test_a_folder_has_no_commit_to_move() -> None:
    """A recipe whose source is a folder of ours can only have been edited."""
    from reconciler.model.recipe import FolderSource, Recipe

    of = replace(W, recipe=Recipe(FolderSource("hello", "sha256:new")), on_recipe_change="rebuild")
    assert not isinstance(of.recipe.source, GitSource)
    old = replace(WHOLE, evidence=evidence(binding=bound(of, recipe="sha256:old", commit="")))
    assert isinstance(decided(old, of=of).outcome, Rebuild)
