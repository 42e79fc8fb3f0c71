"""The walk over a plan, without processes: order, dependencies, limits, failures, refusals, and what is recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.apply.executor import INTERRUPTED
from reconciler.apply.results import Done, Failed, Moved, NotTried, Unconfirmed
from reconciler.errors import BuildError, ToolError
from reconciler.local.registry import Auth, Fault, Lag, Manners, User, View, on
from reconciler.local.registry.actions import Reply
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.observed import Child
from reconciler.model.wanted import WantedApp
from reconciler.plan.changes import AddPlatforms, Adopt, Change, MovePointer, Prove, Publish, Rebuild, Restore
from reconciler.registry.media import OCI_INDEX
from tests.support.applying import Applying, Steps, applying, client
from tests.support.images import built, image, index
from tests.support.nouns import AMD64, ARM64

NAME = "mirror/hello"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Applying]:
    """A mirror of one version on an empty registry, where every PUT of a tag is looked at before it can be seen."""
    with applying(tmp_path) as (registry, make):
        async with client(registry) as asked:
            world = make(asked)

            @registry.on_tag_put
            def complete(repository: str, tag: str, digest: Digest, view: View) -> None:
                """Rule 2: whatever a tag of ours is put on has all its platforms and all its proofs."""
                if tag.startswith("sha256-") or repository == "mirror/foreign":
                    return
                found = view.manifest(repository, digest)
                assert found is not None
                kinds = {
                    e["annotations"]["dev.sigstore.bundle.predicateType"] for e in view.fallback(repository, digest)
                }
                assert len(kinds) == 4, kinds

            yield world
            assert registry.violations == []


async def test_publishes_in_the_order_of_rule_2(world: Applying) -> None:
    """Build, sign each, index, attest, verify, tag, record; the pointer last; then nothing."""
    steps = Steps()
    outcome = await world.reconcile(steps)
    assert outcome.exit_code == 0, outcome
    verbs = [line.split()[1] for line in steps.lines]
    assert sorted(verbs[:4]) == ["build", "build", "sign", "sign"]
    assert verbs[4:] == ["push", "attest", "verify", "tag", "record", "verify", "point", "record"]
    assert world.digest("latest") == world.digest("1.0.0")
    assert (await world.plan()).changes == ()
    assert (await world.plan(fresh=True)).changes == ()
    record = world.records.load("hello").images[str(world.repository)]
    assert str(record.tags["1.0.0"].digest) == world.digest("1.0.0")
    assert record.tags["1.0.0"].proofs.keys() == set(Kind)
    assert not record.pending


async def test_the_fallback_index_of_a_version_is_written_once(world: Applying) -> None:
    """All proofs of a digest are attached by one write (no lost updates)."""
    await world.reconcile()
    tag = Digest.parse(world.digest("1.0.0")).fallback_tag
    assert world.registry.requests.count(method="PUT", reference=tag) == 1
    listed = world.registry.store.fallback(NAME, Digest.parse(world.digest("1.0.0")))
    # a signature, a mirror statement, and per platform an SBOM and a provenance
    assert len(listed) == 6
    assert all(entry["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json" for entry in listed)


async def test_builds_side_by_side_under_their_limit(world: Applying) -> None:
    """As many builds run at once as there are jobs, and no more."""
    world.versions = ("1.0.0", "1.1.0", "1.2.0")
    full = asyncio.Event()

    async def wait_for_others(_name: str) -> None:
        if world.builds.running == 3:
            full.set()
        await asyncio.wait_for(full.wait(), 30)

    world.builds.before = wait_for_others
    assert (await world.reconcile(jobs=3)).exit_code == 0
    assert world.builds.most == 3
    assert len(world.builds.made) == 6


async def test_a_failure_costs_only_its_own(world: Applying) -> None:
    """The others finish, latest goes to the highest complete one, the failure backs off; a later run does the rest."""
    world.versions = ("1.0.0", "1.1.0")
    world.builds.fails = {"1.1.0": BuildError("an edit doesn't match", where="hello:1.1.0")}
    outcome = await world.reconcile()
    results = {result.change.target.tag: result for result in outcome.results}
    assert isinstance(results["1.1.0"], Failed)
    assert isinstance(results["1.0.0"], Done)
    assert isinstance(results["latest"], Done)
    assert "1.1.0" in results["latest"].detail
    assert world.digest("latest") == world.digest("1.0.0")
    assert outcome.exit_code == 1
    failure = next(iter(world.records.load("hello").images[str(world.repository)].failures.values()))
    assert (failure.count, failure.until) == (1, "2026-01-02T09:04:05Z")
    assert (await world.plan()).changes == ()
    world.now = world.now.replace(day=4)
    world.builds.fails = {}
    assert (await world.reconcile()).exit_code == 0
    assert world.digest("latest") == world.digest("1.1.0")
    assert not world.records.load("hello").images[str(world.repository)].failures


async def test_back_off_grows(world: Applying) -> None:
    """6, 24, then 72 hours."""
    world.builds.fails = {"1.0.0": BuildError("no")}
    hours = []
    for _ in range(4):
        before = world.now
        await world.reconcile()
        failure = next(iter(world.records.load("hello").images[str(world.repository)].failures.values()))
        until = before.fromisoformat(failure.until)
        hours.append((until - before).total_seconds() / 3600)
        world.now = until
    assert hours == [6, 24, 72, 72]


async def test_a_platform_that_fails_leaves_the_others_for_later(world: Applying) -> None:
    """What was pushed and signed is taken up by the next run and not built again."""
    world.builds.fails = {"linux/arm64": ToolError("out of memory")}
    assert (await world.reconcile()).exit_code == 1
    assert world.digest("1.0.0") == ""
    world.builds.fails = {}
    world.now = world.now.replace(day=9)
    assert (await world.reconcile()).exit_code == 0
    assert world.builds.made == ["1.0.0 linux/amd64", "1.0.0 linux/arm64"]


async def test_a_dead_signer_stops_new_builds(world: Applying) -> None:
    """What would wait unsigned isn't built; nothing is held against the recipes; the next run finishes."""
    world.versions = tuple(f"1.{n}.0" for n in range(5))
    world.signer.fails = ToolError("no Fulcio")
    outcome = await world.reconcile(jobs=1)
    assert outcome.exit_code == 1
    assert len(world.builds.made) < 5
    assert "no Fulcio" in str([result.reason for result in outcome.of(Failed)])
    assert any("nothing can be signed" in result.reason for result in outcome.of(NotTried))
    assert not world.records.load("hello").images[str(world.repository)].failures
    world.signer.fails = None
    assert (await world.reconcile()).exit_code == 0


async def test_a_dead_registry_or_builder_is_nobodys_fault(world: Applying) -> None:
    """A build that fails because the registry is down doesn't back off, and ends new builds."""
    world.versions = ("1.0.0", "1.1.0")
    world.builds.fails = {"linux": ToolError("push failed")}
    world.health = "the registry doesn't answer"
    outcome = await world.reconcile(jobs=1)
    assert outcome.exit_code == 1
    image_record = world.records.load("hello").images.get(str(world.repository))
    assert image_record is None or not image_record.failures
    assert any("doesn't answer" in result.reason for result in outcome.of(NotTried))


async def test_an_answer_of_500_stops_new_builds(world: Applying) -> None:
    """The registry fails while an index is pushed: that change fails, the rest is left for the next run."""
    world.versions = tuple(f"1.{n}.0" for n in range(4))
    plan = await world.plan()
    world.registry.faults.add(Fault(Reply(500), match=on(method="PUT"), times=None))
    outcome = await world.apply(plan, jobs=1)
    assert outcome.of(Failed)
    assert outcome.of(NotTried)
    world.registry.faults.clear()
    assert (await world.reconcile()).exit_code == 0


async def test_a_limit_bounds_one_run(world: Applying) -> None:
    """--max-builds: the rest is left for the next, what was built isn't built again."""
    world.versions = ("1.0.0", "1.1.0")
    first = await world.reconcile(max_builds=3)
    assert first.exit_code == 0
    assert [type(result) for result in first.results].count(NotTried) == 1
    assert len(world.builds.made) == 3
    assert (await world.reconcile(max_builds=3)).exit_code == 0
    assert len(world.builds.made) == 4
    assert (await world.plan()).changes == ()


async def test_told_to_stop(world: Applying) -> None:
    """No change starts, a running build is interrupted, status 130, and the next run finishes."""
    world.versions = ("1.0.0", "1.1.0")
    stop = asyncio.Event()

    async def hang(_name: str) -> None:
        stop.set()
        await asyncio.Event().wait()

    world.builds.before = hang
    outcome = await world.reconcile(stop=stop, jobs=1)
    assert outcome.exit_code == 130
    assert any(result.interrupted for result in outcome.of(Failed))
    assert {result.reason for result in outcome.of(NotTried)} <= {INTERRUPTED}
    assert len(outcome.results) == 3
    world.builds.before = None
    assert (await world.reconcile()).exit_code == 0


def _stopping(stop: asyncio.Event, at: int) -> Steps:
    """Progress that stops the run at its n-th step."""
    count = iter(range(1, 100))
    return Steps(lambda _line: stop.set() if next(count) == at else None)


async def test_stopped_at_any_step(world: Applying) -> None:
    """Wherever it is stopped, no tag and record are half written, and the next run finishes without building twice."""
    for n in range(1, 14):
        world.versions = (f"2.{n}.0",)
        stop = asyncio.Event()
        outcome = await world.reconcile(_stopping(stop, n), stop=stop)
        assert outcome.exit_code in (0, 130)
        recorded = world.records.load("hello").images.get(str(world.repository))
        if world.digest(f"2.{n}.0"):
            assert recorded is not None
            assert str(recorded.tags[f"2.{n}.0"].digest) == world.digest(f"2.{n}.0")
        assert (await world.reconcile()).exit_code == 0
        assert (await world.plan(fresh=True)).changes == ()
        # two builds and two signatures come first: from then on nothing is built twice
        if n > 4:
            assert len([made for made in world.builds.made if made.startswith(f"2.{n}.0 ")]) == 2


async def test_only_the_missing_platform_is_built(world: Applying) -> None:
    """Add platforms: what is there keeps its digest; the replaced digest stays in the record."""
    world.platforms = (AMD64,)
    await world.reconcile()
    before = world.digest("1.0.0")
    world.platforms = (AMD64, ARM64)
    plan = await world.plan()
    assert isinstance(plan.changes[0], AddPlatforms)
    assert (await world.apply(plan)).exit_code == 0
    assert world.builds.made == ["1.0.0 linux/amd64", "1.0.0 linux/arm64"]
    recorded = world.records.load("hello").images[str(world.repository)].tags["1.0.0"]
    assert [str(old.digest) for old in recorded.replaced] == [before]


async def test_just_what_lacks_is_made(world: Applying) -> None:
    """Each kind, taken away, is made again alone; for one platform's SBOM just that one."""
    await world.reconcile()
    digest = Digest.parse(world.digest("1.0.0"))
    for lost in list(world.registry.store.fallback(NAME, digest)):
        listed = world.registry.store.fallback(NAME, digest)
        kept = [entry for entry in listed if entry["digest"] != lost["digest"]]
        _put_fallback(world, digest, kept)
        plan = await world.plan()
        assert [type(change) for change in plan.changes] == [Prove]
        outcome = await world.apply(plan)
        assert outcome.exit_code == 0, outcome
        now = world.registry.store.fallback(NAME, digest)
        made = [entry for entry in now if entry not in kept]
        assert [e["annotations"]["dev.sigstore.bundle.predicateType"] for e in made] == [
            lost["annotations"]["dev.sigstore.bundle.predicateType"]
        ]
        # what is made again for the next round has another digest
        lost["digest"] = made[0]["digest"]
    assert world.digest("1.0.0") == str(digest)


def _put_fallback(world: Applying, digest: Digest, entries: list[dict[str, object]]) -> None:
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    world.registry.store.put_manifest(NAME, data, OCI_INDEX, tag=digest.fallback_tag)


async def test_restores_without_building(world: Applying) -> None:
    """A tag that was pushed over, or is gone, gets its recorded digest back."""
    await world.reconcile()
    digest = world.digest("1.0.0")
    builds = list(world.builds.made)
    other = index(world.registry.store, NAME, image(world.registry.store, NAME, AMD64, text="foreign"), tag="1.0.0")
    plan = await world.plan()
    assert isinstance(plan.changes[0], Restore)
    assert (await world.apply(plan)).exit_code == 0
    assert world.digest("1.0.0") == digest
    world.registry.store.untag(NAME, "1.0.0")
    assert (await world.reconcile()).exit_code == 0
    assert world.digest("1.0.0") == digest
    assert world.builds.made == builds
    recorded = world.records.load("hello").images[str(world.repository)].tags["1.0.0"]
    assert [old.digest for old in recorded.replaced] == [other.digest]


async def test_rebuilds_what_nobody_can_vouch_for(world: Applying) -> None:
    """A foreign digest under our tag is replaced, and the record keeps it."""
    other = index(world.registry.store, NAME, image(world.registry.store, NAME, AMD64, text="foreign"), tag="1.0.0")
    plan = await world.plan()
    assert isinstance(plan.changes[0], Rebuild)
    assert (await world.apply(plan)).exit_code == 0
    recorded = world.records.load("hello").images[str(world.repository)].tags["1.0.0"]
    assert [old.digest for old in recorded.replaced] == [other.digest]


async def test_a_tag_that_moved_is_left_alone(world: Applying) -> None:
    """Someone writes the tag while we build, or between our last look and our write: refused, status 3."""
    plan = await world.plan()
    store = world.registry.store

    def interfere(line: str) -> None:
        if line.startswith("1.0.0 verify"):
            index(store, NAME, image(store, NAME, AMD64, text="foreign"), tag="1.0.0")

    outcome = await world.apply(plan, Steps(interfere))
    foreign = world.digest("1.0.0")
    assert isinstance(outcome.results[0], Moved)
    assert outcome.exit_code == 3
    assert world.digest("1.0.0") == foreign
    assert isinstance(outcome.results[1], NotTried)
    # and before anything is built
    builds = len(world.builds.made)
    assert isinstance((await world.apply(plan)).results[0], Moved)
    assert len(world.builds.made) == builds


async def test_what_doesnt_show_is_unconfirmed(tmp_path: Path) -> None:
    """The registry takes a tag and goes on showing the old: not failed, recorded, and no build the next time."""
    with applying(tmp_path, registry={"manners": Manners(lag=Lag(reads=3))}) as (registry, make):
        async with client(registry) as asked:
            world = make(asked)
            outcome = await world.reconcile()
            assert isinstance(outcome.results[0], Unconfirmed)
            assert outcome.exit_code in (0, 3)
            for _ in range(6):
                await world.plan()
            assert (await world.reconcile()).exit_code == 0
            assert len(world.builds.made) == 2


async def test_an_image_comes_after_what_it_is_built_on(world: Applying) -> None:
    """Its base is published first and passed by digest; where that fails, so does what needs it, unbuilt."""
    base = world.wanted("1.0.0", "base")
    recipe = replace(base.recipe, bases=(("base", base.target),))
    top = world.wanted("1.0.0", recipe=recipe, needs=(base.target,))
    app = WantedApp("hello", (top, base))
    assert (await world.apply(await world.plan(app))).exit_code == 0
    assert world.builds.made[:2] == ["1.0.0 linux/amd64", "1.0.0 linux/arm64"]
    found = world.registry.store.manifest(NAME, world.digest("1.0.0") and Digest.parse(world.digest("1.0.0")))
    assert found is not None
    assert world.digest("1.0.0", "base") in found.data.decode()
    world.builds.fails = {"2.0.0": BuildError("no")}
    base2 = world.wanted("2.0.0", "base")
    top2 = world.wanted("2.0.0", recipe=replace(recipe, bases=(("base", base2.target),)), needs=(base2.target,))
    outcome = await world.apply(await world.plan(WantedApp("hello", (top2, base2))))
    assert [type(result) for result in outcome.results] == [Failed, NotTried]
    assert "which isn't complete" in outcome.of(NotTried)[0].reason


async def test_a_base_that_isnt_ours_is_refused(world: Applying) -> None:
    """Someone else's image in the place of a base is not built on: we would sign it along."""
    store = world.registry.store
    built(store, "mirror/base", [AMD64, ARM64], tag="1.0.0")
    tag = world.tag("1.0.0", "base")
    wanted = world.wanted("1.0.0")
    wanted = replace(wanted, recipe=replace(wanted.recipe, bases=(("base", tag),)), needs=(tag,))
    outcome = await world.apply(await world.plan(WantedApp("hello", (wanted,))))
    assert [type(result) for result in outcome.results] == [Failed]
    assert "isn't proven to be ours" in outcome.of(Failed)[0].reason
    assert world.builds.made == []


async def test_a_forged_plan_signs_nothing(world: Applying) -> None:
    """A plan from a file may claim anything; what nobody vouches for is neither signed nor kept in an index."""
    store = world.registry.store
    foreign = index(store, NAME, image(store, NAME, AMD64, text="foreign"), tag="1.0.0")
    child = image(store, NAME, AMD64, text="foreign")
    kept = {AMD64: Child(child.digest, child.media_type, child.size)}
    wanted = world.wanted("1.0.0", platforms=(AMD64,))
    it, why, kinds = foreign.digest, "forged", tuple(Kind)
    plan = await world.plan()
    changes: tuple[Change, ...] = (
        Prove(wanted=wanted, reason=why, exists=it, digest=it, kinds=kinds, platforms=kept),
        Restore(wanted=wanted, reason=why, exists=it, digest=it, kinds=kinds, platforms=kept),
        AddPlatforms(wanted=wanted, reason=why, exists=it, build=(), keep=kept),
        Publish(wanted=wanted, reason=why, exists=it, build=(), keep=kept),
        Adopt(wanted=wanted, reason=why, exists=it, build=(), digest=it, kinds=kinds),
        MovePointer(
            app="hello",
            image="hello",
            target=world.tag("latest"),
            reason=why,
            to=wanted.release.version,
            source=wanted.target,
            digest=it,
        ),
    )
    for change in changes:
        outcome = await world.apply(replace(plan, changes=(change,)))
        assert isinstance(outcome.results[0], Failed | NotTried), change
        assert outcome.results[0].reason
    assert not store.fallback(NAME, foreign.digest)
    assert not store.fallback(NAME, child.digest)
    assert world.digest("latest") == ""


async def test_an_image_of_another_version_isnt_kept(world: Applying) -> None:
    """Ours, proven, but of 1.0.0: no plan gets it into the index of 1.1.0 (rule 5)."""
    world.platforms = (AMD64,)
    await world.reconcile()
    found = world.registry.store.manifest(NAME, Digest.parse(world.digest("1.0.0")))
    assert found is not None
    entry = json.loads(found.data)["manifests"][0]
    keep = {AMD64: Child(Digest.parse(entry["digest"]), entry["mediaType"], entry["size"])}
    change = Publish(wanted=world.wanted("1.1.0"), reason="forged", build=(), keep=keep)
    outcome = await world.apply(replace(await world.plan(), changes=(change,)))
    assert isinstance(outcome.results[0], Failed)
    assert "is one of" in outcome.results[0].reason
    assert world.digest("1.1.0") == ""


async def test_adopts_what_is_named(world: Applying) -> None:
    """A digest that the desired state names is proven as it is; its images carry proofs of their own from then on."""
    store = world.registry.store
    foreign = built(store, NAME, [AMD64, ARM64], text="old mirror", tag="1.0.0")
    app = WantedApp("hello", (world.wanted("1.0.0", adopt=foreign.digest),))
    plan = await world.plan(app)
    assert isinstance(plan.changes[0], Adopt)
    assert (await world.apply(plan)).exit_code == 0
    assert world.digest("1.0.0") == str(foreign.digest)
    assert (await world.plan(app, fresh=True)).changes == ()
    images = [entry for entry in foreign.json()["manifests"] if entry["platform"]["os"] == "linux"]
    assert all(store.fallback(NAME, Digest.parse(entry["digest"])) for entry in images)


async def test_what_wasnt_attested_when_it_was_built_cant_be(world: Applying) -> None:
    """An image without BuildKit's SBOM can't be given one: said clearly, and nothing is signed for it."""
    store = world.registry.store
    foreign = index(store, NAME, *(image(store, NAME, platform) for platform in (AMD64, ARM64)), tag="1.0.0")
    app = WantedApp("hello", (world.wanted("1.0.0", adopt=foreign.digest),))
    outcome = await world.apply(await world.plan(app))
    assert isinstance(outcome.results[0], Failed)
    assert "has no sbom that could be attested" in outcome.results[0].reason


async def test_a_new_repository_is_settled_before_it_is_built(tmp_path: Path) -> None:
    """Denied to those who may not know: with the right to push, a definite 404 makes it new; without, refused."""
    me, reader = User("me", "secret-of-me"), User("reader", "secret-of-reader", push=())
    options = {"manners": Manners(hides_unknown=True), "auth": Auth(users=(me, reader))}
    with applying(tmp_path, registry=options) as (registry, make):
        async with client(registry) as nobody, client(registry, reader) as reads, client(registry, me) as writes:
            plan = await make(nobody).plan()
            assert isinstance(plan.changes[0], Publish)
            assert plan.changes[0].presumed_new
            refused = make(reads)
            outcome = await refused.apply(plan)
            assert isinstance(outcome.results[0], Failed)
            assert "create: [hello]" in outcome.results[0].reason
            assert refused.builds.made == []
            world = make(writes)
            assert (await world.apply(plan)).exit_code == 0
            assert (await world.plan(fresh=True)).changes == ()


async def test_a_pointer_waits_for_whoever_writes_a_higher_version(world: Applying) -> None:
    """Somebody publishes 1.1.0 while we build it: latest isn't moved to 1.0.0 under their hands (rules 6 and 7)."""
    world.versions = ("1.0.0", "1.1.0")
    store = world.registry.store

    def interfere(line: str) -> None:
        if line.startswith("1.1.0 verify"):
            index(store, NAME, image(store, NAME, AMD64, text="theirs"), tag="1.1.0")

    outcome = await world.reconcile(Steps(interfere))
    assert [type(result) for result in outcome.results] == [Moved, Done, NotTried]
    assert world.digest("latest") == ""
    assert (await world.reconcile()).exit_code == 0
    assert world.digest("latest") == world.digest("1.1.0")


async def test_a_pointer_goes_to_nothing_that_lost_a_proof_meanwhile(world: Applying) -> None:
    """Someone writes an outdated list of proofs over ours right after the tag: latest waits until it is whole again."""
    store = world.registry.store

    def interfere(line: str) -> None:
        if line.startswith("latest verify"):
            digest = Digest.parse(world.digest("1.0.0"))
            outdated = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": store.fallback(NAME, digest)[:1]}
            store.put_manifest(NAME, json.dumps(outdated).encode(), OCI_INDEX, tag=digest.fallback_tag)

    outcome = await world.reconcile(Steps(interfere))
    assert [type(result) for result in outcome.results] == [Done, NotTried]
    assert "it lacks" in str(outcome.results[1])
    assert world.digest("latest") == ""
    assert (await world.reconcile()).exit_code == 0
    assert world.digest("latest") == world.digest("1.0.0")
