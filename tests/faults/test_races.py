"""Anyone can race: random interleavings of applies with people, stale writers, edits of the record, and crashes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reconciler.apply.results import Failed, Moved, NotTried, Outcome
from reconciler.local.registry import View
from reconciler.model.digest import Digest
from reconciler.model.evidence import ANNOTATION_VERSION
from reconciler.model.version import Version
from reconciler.registry.media import OCI_INDEX
from tests.faults.killing import Killed, Reaper
from tests.faults.worlds import PREDICATE, SIGN, World, faults_of, open_client, registry_under_watch, sleep_by
from tests.support.applying import Steps
from tests.support.images import built, image
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock

WINDOW = 3
SEEDS = st.integers(0, 2**32 - 1)
DISTURBANCES = (
    "overwrite",
    "single",
    "mixed up",
    "delete",
    "lose a platform",
    "lose the signature",
    "stale writer",
    "latest back",
    "latest away",
    "latest elsewhere",
)


class Mirror(RuleBasedStateMachine):
    """One mirror under everybody's hands. Every PUT of ours is judged; see `Court`, and `pointer_goes_back` here."""

    count: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.clock = Clock()
        self.registry, self.court = self.stack.enter_context(registry_under_watch(self.folder, self.clock))
        self.registry.on_tag_put(self.pointer_goes_back)
        self.back: list[str] = []
        self.minor = 0
        self.salt = 0
        # whether a record may say what isn't so
        self.hidden = False
        self.doing = ""
        self.world = self.runner.run(self._open())

    async def _open(self) -> World:
        self.clients = AsyncExitStack()
        client = await self.clients.enter_async_context(open_client(self.registry))
        waits = {"clock": self.clock, "sleep": sleep_by(self.clock)}
        return World(self.registry, client, self.folder, versions=(), **waits)  # type: ignore[arg-type]

    def teardown(self) -> None:
        try:
            if self.world.versions:
                self.settle()
        finally:
            self.runner.run(self.clients.aclose())
            self.runner.close()
            self.stack.close()

    # what is judged

    def pointer_goes_back(self, repository: str, tag: str, digest: Digest, view: View) -> None:
        """Rule 6, at every PUT of latest: never below what it is proven to name."""
        before = view.manifest(repository, "latest") if tag == "latest" else None
        after = view.manifest(repository, digest)
        if before is None or after is None or list(faults_of(view, repository, "latest", before.digest)):
            return
        names, will = (Version.parse(one.json()["annotations"][ANNOTATION_VERSION]) for one in (before, after))
        if will < names:
            self.back.append(f"latest from {names} to {will} in {self.doing}")

    @invariant()
    def nothing_wrong_was_ever_put(self) -> None:
        """Rules 2 and 6."""
        assert self.court.wrong == []
        assert self.back == []

    # what upstream and people do

    @initialize()
    def begin(self) -> None:
        """A release."""
        self.release()

    @rule()
    def release(self) -> None:
        """A version appears; what leaves the window stays."""
        self.minor += 1
        self.world.versions = (*self.world.versions, f"1.{self.minor}.0")[-WINDOW:]

    @rule(what=st.sampled_from(DISTURBANCES), seed=SEEDS)
    def disturb(self, what: str, seed: int) -> None:
        """Somebody with a docker client, or a registry that loses things."""
        self.count[what] += 1
        chance, store, name = random.Random(seed), self.registry.store, self.world.repository.name
        versions = [tag for tag in self.world.versions if store.resolve(name, tag)]
        tag = chance.choice(self.world.versions)
        digest = store.resolve(name, tag)
        if what == "overwrite":
            built(store, name, [AMD64, ARM64], text=f"foreign {seed}", tag=tag)
        elif what == "single":
            image(store, name, AMD64, text=f"foreign {seed}", tag=tag)
        elif what == "delete":
            store.untag(name, tag)
        elif what == "latest away":
            store.untag(name, "latest")
        elif what == "latest elsewhere":
            built(store, name, [AMD64, ARM64], text=f"foreign {seed}", tag="latest")
        elif not versions or digest is None:
            return
        elif what == "mixed up":
            store.tag(name, tag, _digest(store.resolve(name, chance.choice(versions))))
        elif what == "latest back":
            store.tag(name, "latest", _digest(store.resolve(name, versions[0])))
        elif what == "lose a platform":
            found = store.manifest(name, digest)
            assert found is not None
            children = [e["digest"] for e in found.json().get("manifests", []) if e["platform"]["os"] == "linux"]
            for child in children[:1]:
                store.delete_manifest(name, Digest.parse(child))
                # a tag costs a warm plan one HEAD: what is gone behind it is found once a week, or by --fresh
                self.hidden = True
        else:
            entries = store.fallback(name, digest)
            if what == "lose the signature":
                entries = [e for e in entries if e.get("annotations", {}).get(PREDICATE) != SIGN]
            else:
                entries = entries[: chance.randrange(len(entries) + 1)]
            data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
            store.put_manifest(name, data, OCI_INDEX, tag=digest.fallback_tag)

    @rule()
    def record_deleted(self) -> None:
        """The state folder is lost."""
        shutil.rmtree(self.world.records.folder, ignore_errors=True)
        self.hidden = False

    @precondition(lambda self: self.world.records.path("hello").exists())
    @rule(seed=SEEDS)
    def record_edited(self, seed: int) -> None:
        """A pull request swaps digests in the record, or makes it claim what isn't so."""
        chance, records = random.Random(seed), self.world.records
        known = self.world.known
        if not known.tags:
            return
        digests = [one.digest for one in known.tags.values()] + [Digest.of(b"nowhere")]
        tags = {
            tag: replace(
                one, digest=chance.choice(digests), evidence=chance.choice([one.evidence, None, Digest.of(b"x")])
            )
            for tag, one in known.tags.items()
        }
        pending = {self.world.wanted(v).recipe.hash: {AMD64: chance.choice(digests)} for v in self.world.versions}
        images = {str(self.world.repository): replace(known, tags=tags, pending=pending)}
        records.update("hello", lambda record: replace(record, images=images))
        self.hidden = True

    # what we do

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """On the machine's loop; days later than the last time, so that nothing backs off."""
        self.doing = getattr(work, "__qualname__", "")
        self.world.now += timedelta(days=4)
        self.clock.turn(4 * 86400)
        self.salt += 1
        self.world.builds.salt = f" {self.salt}"
        return self.runner.run(work)

    @rule(fresh=st.booleans())
    def plan(self, fresh: bool) -> None:
        """Twice: the same, and nothing changes."""
        before = self.registry.store.snapshot()
        first, second = self.run(self.world.plan(fresh=fresh)), self.run(self.world.plan(fresh=fresh))
        assert first.hash == second.hash
        assert first.complete
        assert self.registry.store.snapshot() == before
        self.count["plan"] += 2

    @rule()
    def apply(self) -> None:
        """Undisturbed: what the record says may be forged, but what is written is right."""
        self.quiet(self.run(self.world.reconcile()))

    def quiet(self, outcome: Outcome) -> None:
        """After an apply that nobody disturbed."""
        self.count["apply"] += 1
        if not self.hidden:
            assert outcome.exit_code == 0, outcome
            assert self.run(self.world.plan()).changes == ()
            assert self.world.blemishes() == []

    @rule(step=st.integers(0, 25), what=st.sampled_from(DISTURBANCES), seed=SEEDS)
    def apply_disturbed(self, step: int, what: str, seed: int) -> None:
        """Somebody does something between two steps of an apply."""
        self.count["apply disturbed"] += 1
        count = iter(range(1000))
        steps = Steps(lambda _: self.disturb(what, seed) if next(count) == step else None)
        self.run(self.world.reconcile(steps))

    @rule()
    def apply_twice_at_once(self) -> None:
        """Two processes that know nothing of each other: each builds images of its own."""
        self.count["two applies"] += 1

        async def both() -> tuple[Outcome, Outcome]:
            async with open_client(self.registry) as client:
                other = replace(self.world, client=client)
                other.builds.salt = f" other {self.salt}"
                return await asyncio.gather(self.world.reconcile(), other.reconcile())

        for outcome in self.run(both()):
            assert all(one.reason for one in (*outcome.of(Moved), *outcome.of(Failed), *outcome.of(NotTried)))

    @rule(at=st.integers(0, 90))
    def crash(self, at: int) -> None:
        """An apply is killed at one of its effects."""
        self.count["crash"] += 1
        reaper = Reaper(at)

        async def dies() -> None:
            usual = self.world.client
            async with open_client(self.registry, transport=reaper.transport(self.registry)) as mortal:
                self.world.client = mortal
                try:
                    with reaper.over_records():
                        await self.world.reconcile()
                except (Killed, BaseExceptionGroup):
                    assert reaper.dead
                finally:
                    self.world.client = usual
            # what the dead one had sent the registry may still be doing: its last effect, and none of what comes then
            await usual.head(self.world.repository, "latest")

        self.run(dies())
        while self.registry.requests.in_flight:
            os.sched_yield()

    @rule()
    def settle(self) -> None:
        """A run that believes no record: then what is wanted is there, what is recorded is so, nothing is left."""
        outcome = self.run(self.world.reconcile(fresh=True))
        self.hidden = False
        assert outcome.exit_code == 0, outcome
        plan = self.run(self.world.plan(fresh=True))
        assert (plan.changes, plan.held) == ((), ())
        assert self.run(self.world.plan()).changes == ()
        assert self.world.blemishes() == []
        assert {*self.world.versions, "latest"} <= self.world.visible().keys()
        self.count["settle"] += 1


def _digest(found: Digest | None) -> Digest:
    assert found is not None
    return found


def play(examples: int, steps: int, *, seeded: bool) -> str:
    """Runs the machine, the same way each time where it is `seeded`; its size."""
    Mirror.count.clear()
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Mirror,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=seeded,
            database=None,
            # a whole interleaving takes seconds: it is told as it is, not made smaller for minutes
            phases=(Phase.generate,),
            suppress_health_check=checks,
        ),
    )
    return f"{examples} interleavings of up to {steps} events: {dict(sorted(Mirror.count.items()))}"


def test_anyone_may_race(record_property: Callable[[str, object], None]) -> None:
    """Seeded: a few interleavings."""
    record_property("matrix", play(6, 12, seeded=True))
    assert Mirror.count["apply"] + Mirror.count["settle"] > 5


@pytest.mark.long
def test_anyone_may_race_for_long(record_property: Callable[[str, object], None]) -> None:
    """Many, and long ones, and others every night; a failure is told with all its steps."""
    record_property("matrix", play(300, 40, seeded=False))
    assert min(Mirror.count[what] for what in (*DISTURBANCES, "crash", "two applies", "apply disturbed")) > 20
