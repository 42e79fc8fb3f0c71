"""Where pointers go, and that they never go back by themselves (rule 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.evidence import Kind, Missing, Unknown
from reconciler.model.observed import Absent, Denied, Observation, Observed, PointedAt, PointerObserved
from reconciler.model.record import Failure
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Waiting, WantedPointer
from reconciler.plan.changes import MovePointer
from reconciler.plan.decide import Decision, Past, decide
from reconciler.plan.pointers import PointerDecision, point
from tests.support.nouns import AMD64, HELLO, NOW, bound, digest, evidence, pointer, present, recorded, wanted

VERSIONS = ("1.2.0", "1.1.0", "1.0.0")
LATEST = pointer(*VERSIONS)


def decisions(**states: Observed) -> dict[TagRef, Decision]:
    """What is decided for 1.2.0 to 1.0.0, whole unless told otherwise as `v1_2_0=…`."""
    found = {}
    for version in VERSIONS:
        of = wanted(version)
        state = states.get("v" + version.replace(".", "_"), present(of))
        found[of.target] = decide(of, Observation(state), Past(), NOW)
    return found


def pointed(observed: PointerObserved, of: WantedPointer = LATEST, **states: Observed) -> PointerDecision:
    return point(of, observed, decisions(**states), presumed_new=False)


def at(version: str) -> PointedAt:
    return PointedAt(present(wanted(version)).digest, version)


def test_it_names_the_highest() -> None:
    """A pointer at the digest of the highest complete version is as wanted."""
    assert pointed(at("1.2.0")).outcome == at("1.2.0").digest


def test_it_moves_forward() -> None:
    """From a lower version to the highest complete one; the digest is known, so the plan shows it."""
    move = pointed(at("1.1.0")).outcome
    assert isinstance(move, MovePointer)
    assert (str(move.to), move.digest, move.exists, move.names) == (
        "1.2.0",
        present(wanted("1.2.0")).digest,
        at("1.1.0").digest,
        "1.1.0",
    )
    assert move.reason == "1.2.0 is the highest complete version; it names 1.1.0"


def test_it_is_made_where_it_isnt_there() -> None:
    """Absent: it points to the highest."""
    move = pointed(Absent()).outcome
    assert isinstance(move, MovePointer)
    assert move.exists is None


def test_it_goes_to_what_will_be_complete() -> None:
    """A version that this plan publishes counts; should it fail, the ones below are named in order."""
    move = pointed(at("1.1.0"), v1_2_0=Absent()).outcome
    assert isinstance(move, MovePointer)
    assert (str(move.to), move.digest) == ("1.2.0", None)
    assert [str(version) for version, _, _ in move.candidates] == ["1.1.0", "1.0.0"]


def test_it_follows_a_new_digest_of_the_same_version() -> None:
    """When platforms are added the version gets a new digest, and the pointer with it."""
    half = present(wanted("1.2.0"), platforms=[AMD64])
    move = pointed(PointedAt(half.digest, "1.2.0"), v1_2_0=half).outcome
    assert isinstance(move, MovePointer)
    assert "an earlier digest of 1.2.0" in move.reason


def test_proofs_change_no_digest() -> None:
    """A version that only lacks a proof keeps its digest: the pointer stays."""
    of = wanted("1.2.0")
    unsigned = replace(present(of), evidence=evidence(lacks={Kind.SBOM: Missing()}, binding=bound(of)))
    assert pointed(PointedAt(unsigned.digest, "1.2.0"), v1_2_0=unsigned).outcome == unsigned.digest


def test_a_failing_newest_release_never_freezes_it() -> None:
    """What is held back is passed over."""
    held = decisions()
    newest = wanted("1.2.0")
    held[newest.target] = decide(
        newest, Observation(Absent()), Past(failure=Failure(1, "make", "2027-01-01T00:00:00Z")), NOW
    )
    move = point(LATEST, at("1.0.0"), held, presumed_new=False).outcome
    assert isinstance(move, MovePointer)
    assert str(move.to) == "1.1.0"


class TestNeverBack:
    """Rule 6."""

    def test_a_downgrade_is_blocked(self) -> None:
        """It names a version above all that is wanted: nobody ruled that out."""
        result = pointed(PointedAt(digest("2.0.0"), "2.0.0")).outcome
        assert isinstance(result, Blocked)
        assert "it names 2.0.0, the highest complete version is 1.2.0" in result.reason
        assert not result.mistake

    def test_a_withdrawn_release_may_be_left(self) -> None:
        """`exclude` rules out what it names: it goes down to the highest complete one."""
        of = replace(LATEST, ruled_out=frozenset({Version.parse("2.0.0")}))
        move = pointed(PointedAt(digest("2.0.0"), "2.0.0"), of).outcome
        assert isinstance(move, MovePointer)
        assert "names 2.0.0, which is ruled out" in move.reason

    def test_an_unknown_newest_keeps_it(self) -> None:
        """It names a version whose tag can't be read now: unknown, not a reason to go down."""
        result = pointed(at("1.2.0"), v1_2_0=Unknown("503")).outcome
        assert isinstance(result, Unknown)
        assert "503" in result.reason

    def test_10_is_above_9(self) -> None:
        """Versions compare by number, not as text."""
        of = replace(LATEST, candidates=(Version.parse("1.2.0"),))
        assert isinstance(pointed(PointedAt(digest("x"), "1.10.0"), of).outcome, Blocked)


def test_what_cant_be_told_is_reported_and_moved_forward() -> None:
    """Nothing signed says what it names: it goes to the highest, and the plan says so."""
    result = pointed(PointedAt(digest("theirs"), None))
    assert isinstance(result.outcome, MovePointer)
    assert "nothing signed says which version that is" in result.drift[0]


@pytest.mark.parametrize("observed", [Unknown("429"), Denied("403")])
def test_unknown_is_held(observed: PointerObserved) -> None:
    """A pointer that can't be read is not moved."""
    assert isinstance(pointed(observed).outcome, Unknown)


def test_a_new_repository_gets_its_pointer() -> None:
    """Denied because it doesn't exist yet: the pointer comes with the first publication."""
    new = decisions(v1_0_0=Denied("403"), v1_1_0=Denied("403"), v1_2_0=Denied("403"))
    assert isinstance(point(LATEST, Denied("403"), new, presumed_new=True).outcome, MovePointer)


def test_nothing_complete_waits() -> None:
    """No candidate at all, or none that will be complete."""
    none = point(pointer(name="esr"), Absent(), {}, presumed_new=False).outcome
    assert none == Waiting("no release matches it")
    unknown = pointed(Absent(), v1_0_0=Unknown("a"), v1_1_0=Unknown("b"), v1_2_0=Unknown("c")).outcome
    assert unknown == Unknown("1.2.0, which it would point to, is unknown: c")


def test_a_restored_tag_is_pointed_to_by_its_digest() -> None:
    """What is put back has a digest that is known beforehand."""
    of = wanted("1.2.0")
    whole = present(of)
    back = decisions()
    back[of.target] = decide(of, Observation(Absent(), recorded=whole), Past(recorded(whole, of)), NOW)
    assert point(LATEST, PointedAt(whole.digest, "1.2.0"), back, presumed_new=False).outcome == whole.digest
    assert HELLO.tag("latest") == LATEST.target
