"""The plan as a whole: order, holding back, hash, tally."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import PlanMismatch, Tripwire
from reconciler.model.evidence import Kind, Missing, Unknown
from reconciler.model.observed import Absent, Observation, Observed
from reconciler.model.recipe import Recipe
from reconciler.model.record import ImageRecord, Record, RecordedTag
from reconciler.model.reference import Repository
from reconciler.model.wanted import Blocked, Wanted, WantedApp
from reconciler.plan.changes import AddPlatforms, Publish, Rebuild
from reconciler.plan.guards import expect, trip
from reconciler.plan.make import View, make
from reconciler.plan.plan import Plan, Tally
from reconciler.plan.saved import dump, load
from tests.support.nouns import (
    AMD64,
    ARM64,
    HELLO,
    NOW,
    bound,
    digest,
    evidence,
    nothing,
    pointer,
    present,
    recorded,
    wanted,
)

VERSIONS = [f"1.{minor}.0" for minor in range(10)]


def view(states: dict[Wanted, Observed], app: str = "hello", records: dict[Wanted, RecordedTag] | None = None) -> View:
    """One app whose tags are in these states and whose `latest` isn't there."""
    latest = pointer(*(str(of.release.version) for of in states))
    images: dict[str, ImageRecord] = {}
    if records:
        images = {str(HELLO): ImageRecord(tags={of.target.tag: tag for of, tag in records.items()})}
    return View(
        WantedApp(app, tuple(states), (latest,)),
        {of.target: Observation(state) for of, state in states.items()},
        {latest.target: Absent()},
        Record(app, images),
    )


def planned(*views: View) -> Plan:
    return make(views, policy="sha256:policy", now=NOW)


def test_the_order_of_inputs_changes_nothing() -> None:
    """The same inputs in any order of apps and tags give byte-identical JSON and the same hash."""
    other = Repository.parse("registry.example/mirror/other")
    tags = [wanted(version) for version in VERSIONS]
    others = [wanted(version, repository=other, app="other", image="other") for version in VERSIONS]
    hello = {of: Absent() if i % 2 else present(of) for i, of in enumerate(tags)}
    first = planned(view(dict(hello)), view(dict.fromkeys(others, Absent()), "other"))
    for seed in range(5):
        items = list(hello.items())
        random.Random(seed).shuffle(items)
        again = planned(view(dict.fromkeys(reversed(others), Absent()), "other"), view(dict(items)))
        assert dump(again) == dump(first)
        assert again.hash == first.hash


def test_newest_first_and_pointers_last() -> None:
    """People read the plan from the top: the newest version comes first."""
    plan = planned(view(dict.fromkeys(map(wanted, ["1.9.0", "1.10.0", "1.2.0"]), Absent())))
    assert [change.target.tag for change in plan.changes] == ["1.10.0", "1.9.0", "1.2.0", "latest"]


def test_bases_come_before_what_is_built_on_them() -> None:
    """Images are published in the order of their needs, whatever their names."""
    base = Repository.parse("registry.example/mirror/zz-base")
    below = wanted("1.0.0", repository=base, image="zz-base")
    above = wanted("1.0.0", needs=(below.target,))
    plan = planned(view({above: Absent(), below: Absent()}))
    assert [change.target.repository.name for change in plan.changes][:2] == ["mirror/zz-base", "mirror/hello"]


def test_what_is_built_on_something_held_back_is_held_back() -> None:
    """With that reason, however far down, and only where it has to be built."""
    base, middle = (Repository.parse(f"registry.example/mirror/{name}") for name in ("base", "middle"))
    bottom = wanted("1.0.0", repository=base, image="base", hindrance=Blocked("an edit doesn't match", mistake=True))
    between = wanted("1.0.0", repository=middle, image="middle", needs=(bottom.target,))
    top = wanted("1.0.0", needs=(between.target,))
    plan = planned(view({top: Absent(), between: Absent(), bottom: Absent()}))
    assert not plan.changes
    reasons = {held.target: held.why.reason for held in plan.held}
    assert reasons[between.target] == f"it is built on {bottom.target}, which is held back: an edit doesn't match"
    assert "an edit doesn't match" in reasons[top.target]
    assert not plan.complete

    there = planned(view({top: present(top), between: Absent(), bottom: Absent()}))
    assert there.satisfied == 1


def test_an_app_that_is_unknown_costs_only_itself() -> None:
    """One line for it, and the rest of the plan stands."""
    plan = planned(view({wanted(): Absent()}), View(WantedApp("zeta", unknown=Unknown("no route"))))
    assert [held.why.reason for held in plan.held] == ["no route"]
    assert [change.kind for change in plan.changes] == ["publish", "move pointer"]
    assert not plan.complete


class TestHash:
    """What the hash covers, and what not."""

    OF = wanted()

    def hash(self, state: Observed, of: Wanted = OF, **fields: Any) -> str:
        return replace(planned(view({of: state})), **fields).hash

    def test_covers(self) -> None:
        """Changes, existing digests, recipes, source commits, the signing policy and the scope."""
        half = present(self.OF, platforms=[AMD64])
        base = self.hash(Absent())
        others = [
            self.hash(half),
            self.hash(replace(half, digest=digest("else"))),
            self.hash(Absent(), replace(self.OF, recipe=replace(self.OF.recipe, target="prod"))),
            self.hash(Absent(), replace(self.OF, release=replace(self.OF.release, commit="d" * 40))),
            self.hash(Absent(), replace(self.OF, platforms=(AMD64,))),
            self.hash(Absent(), replace(self.OF, evidence=frozenset({Kind.SIGNATURE}))),
            self.hash(Absent(), policy="sha256:other"),
            self.hash(Absent(), scope=("hello",)),
        ]
        assert len({base, *others}) == len(others) + 1

    def test_leaves_out(self) -> None:
        """Reasons, what is held, records, dates, what only speeds up a build, and what an earlier apply left behind."""
        base = planned(view({self.OF: Absent()}))
        dated = replace(self.OF, release=replace(self.OF.release, date="2020-01-01T00:00:00Z"))
        cached = replace(self.OF, recipe=replace(self.OF.recipe, cache="gha"))
        assert isinstance(cached.recipe, Recipe)
        pending = view({self.OF: Absent()})
        pending = replace(
            pending, tags={self.OF.target: Observation(Absent(), pending={ARM64: present(self.OF).platforms[ARM64]})}
        )
        for plan in (
            planned(view({dated: Absent()})),
            planned(view({cached: Absent()})),
            planned(pending),
            planned(view({self.OF: Absent()}), View(WantedApp("z", unknown=Unknown("x")))),
            replace(base, changes=tuple(replace(change, reason="else") for change in base.changes)),
        ):
            assert plan.hash == base.hash


class TestExpected:
    """`--expect-plan` fails closed."""

    PLAN = planned(view({wanted(): Absent()}))

    def test_the_right_hash_passes(self) -> None:
        """Nothing is raised."""
        expect(self.PLAN, self.PLAN.hash)

    @pytest.mark.parametrize(
        "wrong", ["", "sha256:", PLAN.hash[:-1], PLAN.hash + "0", PLAN.hash.upper(), "0" * 64, PLAN.hash + "\n"]
    )
    def test_anything_else_is_refused(self, wrong: str) -> None:
        """Empty, cut, malformed: refused, and this plan's hash is said."""
        with pytest.raises(PlanMismatch, match=self.PLAN.hash):
            expect(self.PLAN, wrong)

    def test_an_empty_plan_is_refused_too(self) -> None:
        """An empty plan isn't what was expected where changes were."""
        with pytest.raises(PlanMismatch) as error:
            expect(Plan(), self.PLAN.hash)
        assert Plan().hash in str(error.value)
        assert self.PLAN.hash in str(error.value)
        assert error.value.exit_code == 3


class TestTripwire:
    """An outage must not become a mass rebuild by itself."""

    def state(self, lost: int, of: int) -> Plan:
        tags = [wanted(version) for version in VERSIONS[:of]]
        return planned(
            view(
                {tag: Absent() if i < lost else present(tag) for i, tag in enumerate(tags)},
                records={tag: recorded(present(tag), tag) for tag in tags},
            )
        )

    @pytest.mark.parametrize(("lost", "of"), [(3, 3), (3, 10), (0, 10)])
    def test_a_few_may_be_lost(self, lost: int, of: int) -> None:
        """Not more than three, or not more than a fifth."""
        trip(self.state(lost, of).tally)

    def test_many_are_refused_with_their_number(self) -> None:
        """The number, and the flag that allows exactly that."""
        tally = self.state(4, 10).tally
        assert tally == Tally(recorded=10, lost=4)
        with pytest.raises(Tripwire, match="4 of the 10 tags") as error:
            trip(tally)
        assert "--allow-lost 4" in str(error.value)
        assert error.value.exit_code == 3
        trip(tally, allow_lost=4)
        for other in (0, 3, 5):
            with pytest.raises(Tripwire):
                trip(tally, allow_lost=other)

    def test_a_fifth_of_many_is_fine(self) -> None:
        """More than three, but not more than 20 %."""
        trip(Tally(recorded=100, lost=20))
        with pytest.raises(Tripwire):
            trip(Tally(recorded=100, lost=21))

    def test_lost_proofs_and_platforms_count(self) -> None:
        """A wiped evidence index is an outage too."""
        of = wanted()
        whole = present(of)
        unsigned = replace(whole, evidence=evidence(lacks={Kind.SBOM: Missing()}, binding=bound(of)))
        half = present(of, platforms=[AMD64])
        for state in (unsigned, half, replace(whole, gone=(ARM64,))):
            assert planned(view({of: state}, records={of: recorded(whole, of)})).tally.lost == 1
        assert planned(view({of: Unknown("503")}, records={of: recorded(whole, of)})).tally.lost == 0

    def test_replacing_more_than_three_is_refused(self) -> None:
        """Records or not: a first run over someone else's images replaces nothing by itself."""
        foreign = {
            of: replace(present(of), digest=digest(version), evidence=nothing())
            for version, of in zip(VERSIONS, map(wanted, VERSIONS), strict=True)
        }
        plan = planned(view(dict(list(foreign.items())[:4])))
        assert all(isinstance(change, Rebuild) for change in plan.changes[:4])
        with pytest.raises(Tripwire, match="4 digests that exist") as error:
            trip(plan.tally)
        assert "--allow-replaced 4" in str(error.value)
        trip(plan.tally, allow_replaced=4)
        trip(planned(view(dict(list(foreign.items())[:3]))).tally)

    def test_edits_never_trip_it(self) -> None:
        """A wider window publishes, a new platform is added, an edited recipe is rebuilt: all asked for."""
        tags = [wanted(version) for version in VERSIONS]
        wider = planned(view(dict.fromkeys(tags, Absent())))
        platform = planned(
            view(
                {of: present(of, platforms=[AMD64]) for of in tags},
                records={of: recorded(present(of, platforms=[AMD64]), of) for of in tags},
            )
        )
        stale = {
            of: replace(present(of), evidence=evidence(binding=bound(of, recipe="sha256:old")))
            for of in (wanted(version, on_recipe_change="rebuild") for version in VERSIONS)
        }
        edited = planned(view(dict(stale)))
        assert isinstance(wider.changes[0], Publish)
        assert isinstance(platform.changes[0], AddPlatforms)
        assert isinstance(edited.changes[0], Rebuild)
        for plan in (wider, platform, edited):
            trip(plan.tally)


class TestSaved:
    """The plan as a file."""

    def test_comes_back_as_it_was(self) -> None:
        """Every kind of change and of hold survives."""
        tags = [wanted(version) for version in VERSIONS]
        states: list[Observed] = [
            Absent(),
            present(tags[1], platforms=[AMD64]),
            Unknown("503"),
            present(tags[3]),
            replace(present(tags[4]), evidence=nothing()),
            replace(present(tags[5]), evidence=evidence(lacks={Kind.SBOM: Missing((ARM64,))}, binding=bound(tags[5]))),
        ]
        plan = planned(view(dict(zip(tags, states, strict=False))), View(WantedApp("z", unknown=Unknown("x"))))
        assert load(dump(plan).encode(), "plan.json") == plan

    def test_any_text_can_be_written_and_printed(self) -> None:
        """Half a character becomes U+FFFD; nothing is a command to GitHub's runner; the rest comes back as it was."""
        reason = "\ud800 a\n::error::b ##[error]c \\##[d \x00\x1b"
        plan = planned(View(WantedApp("z", unknown=Unknown(reason))))
        text = dump(plan)
        assert "##[" not in text
        assert not any(line.strip().startswith("::") for line in text.splitlines())
        assert load(text.encode(), "plan.json").held[0].why.reason == reason.replace("\ud800", "\ufffd")

    def test_altered_is_refused(self) -> None:
        """The hash must be that of the content."""
        text = dump(planned(view({wanted(): Absent()})))
        with pytest.raises(PlanMismatch, match="altered"):
            load(text.replace("linux/arm64", "linux/s390x").encode(), "plan.json")

    @pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format_version": 2}'])
    def test_garbage_is_refused(self, garbage: bytes) -> None:
        """Whatever isn't a saved plan is refused with its name, never a traceback."""
        with pytest.raises(PlanMismatch, match=r"plan\.json"):
            load(garbage, "plan.json")
