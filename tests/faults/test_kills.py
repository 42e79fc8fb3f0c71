"""An apply may die at any effect: the next one finishes; nothing published is lost, nothing finished is built again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.digest import Digest
from tests.faults.killing import Killed, Reaper
from tests.faults.test_apply_faults import Prepare, Trials, everything, nothing, trials
from tests.faults.worlds import World, faults_of, open_client

Say = Callable[[str, object], None]


async def killed(it: World, at: int | None) -> Reaper:
    """Plans, and dies in the apply of it before the effect with that number (None: lives)."""
    plan = await it.plan()
    reaper = Reaper(at)

    async def build(name: str) -> None:
        reaper.pass_by(f"before the build of {name}")

    it.builds.before = build
    usual = it.client
    async with open_client(it.registry, clock=None, transport=reaper.transport(it.registry)) as mortal:
        it.client = mortal
        with reaper.over_records():
            try:
                await it.apply(plan)
            except (Killed, BaseExceptionGroup):
                assert reaper.dead
    it.client, it.builds.before = usual, None
    return reaper


async def survives(trials: Trials, prepare: Prepare, at: int) -> str:
    """One apply that is killed, and one after it; says at what the first died, nothing if it didn't."""
    async with trials.world(prepare) as it:
        foreign = set(it.visible().items())
        reaper = await killed(it, at)
        if not reaper.dead:
            return ""
        moment = reaper.moments[-1]
        there, name = it.visible(), it.repository.name
        new = {tag: at for tag, at in there.items() if (tag, at) not in foreign}
        for tag, digest in new.items():
            assert list(faults_of(it.registry.store, name, tag, Digest.parse(digest))) == [], moment
        ready, built = it.ready(), len(it.builds.made)
        async with it.anew():
            outcome = await it.reconcile()
            assert outcome.exit_code == 0, (moment, outcome)
            assert (await it.plan()).changes == (), moment
            assert (await it.plan(fresh=True)).changes == (), moment
        assert it.blemishes() == [], moment
        again = it.builds.made[built:]
        assert not set(again) & set(ready), (moment, again)
        # a tag that was written is neither built again nor written over
        assert not {one.split()[0] for one in again} & new.keys(), (moment, again)
        assert {tag: at for tag, at in new.items() if tag != "latest"}.items() <= it.visible().items(), moment
        return moment


@pytest.mark.parametrize(("prepare", "step"), [(nothing, 9), (everything, 31)])
async def test_killed_at_some_effects(tmp_path: Path, prepare: Prepare, step: int, record_property: Say) -> None:
    """Seeded: every n-th effect of an apply, and the last ones."""
    async with trials(tmp_path) as it:
        async with it.world(prepare) as alive:
            effects = (await killed(alive, None)).moments
        points = [*range(4, len(effects) - 8, step), *range(len(effects) - 8, len(effects), 2)]
        died = [await survives(it, prepare, at) for at in points]
        assert all(died), "what is done is done in the same number of effects"
        record_property("matrix", f"{len(points)} kills ({prepare.__name__}, short) at {len(effects)} moments")


@pytest.mark.long
@pytest.mark.parametrize("prepare", [nothing, everything])
async def test_killed_at_every_effect(tmp_path: Path, prepare: Prepare, record_property: Say) -> None:
    """Before and after every write to the registry, every build, and before, in and after every record."""
    async with trials(tmp_path) as it:
        died: list[str] = []
        while moment := await survives(it, prepare, len(died)):
            died.append(moment)
        record_property("matrix", f"{len(died)} kills ({prepare.__name__}, whole): at every moment of an apply")
        assert len(died) > 60
        assert any("before the build" in moment for moment in died)
        assert any("in the middle of hello.json" in moment for moment in died)
        assert any("manifests/latest" in moment for moment in died)
