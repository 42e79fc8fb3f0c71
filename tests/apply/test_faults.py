"""Every request of an apply can fail: nothing wrong is done, and once the fault is gone the next apply converges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.apply.results import Done, Failed, Moved, NotTried, Outcome, Unconfirmed
from reconciler.local.registry import Fault, View
from reconciler.local.registry.actions import Action, CutBody, Reply, Reset, Truncate, WrongBytes, WrongDigest
from reconciler.model.digest import Digest
from tests.support.applying import Applying, applying, client
from tests.support.nouns import AMD64

NAME = "mirror/hello"


def denied(status: int, code: str) -> Reply:
    """An error as the distribution API words it."""
    return Reply(status, b'{"errors":[{"code":"%s","message":"no"}]}' % code.encode())


FAULTS: tuple[Action, ...] = (
    Reset(),
    Reset(effect=True),
    Reply(500),
    denied(401, "UNAUTHORIZED"),
    denied(403, "DENIED"),
    denied(429, "TOOMANYREQUESTS"),
    Reply(404, b"<html>no</html>", {"Content-Type": "text/html"}),
    denied(404, "BLOB_UPLOAD_UNKNOWN"),
    Reply(503, effect=True),
    CutBody(),
    Truncate(),
    WrongBytes(),
    WrongDigest(),
)


@dataclass
class Guard:
    """Looks at every tag as it is put, and keeps what was wrong."""

    wrong: list[str]

    def __call__(self, repository: str, tag: str, digest: Digest, view: View) -> None:
        """Rule 2: a tag of ours names nothing that isn't signed."""
        if not tag.startswith("sha256-") and len(view.fallback(repository, digest)) < 4:
            self.wrong.append(f"{tag} at {digest} isn't proven")


def allowed(outcome: Outcome) -> None:
    """What failed says why, and what is done is done."""
    for result in outcome.results:
        match result:
            case Failed(reason=reason) | Moved(reason=reason) | NotTried(reason=reason):
                assert reason
            case Done() | Unconfirmed():
                assert result.detail


@pytest.mark.parametrize(
    ("shift", "stride"),
    [(0, 9), pytest.param(0, 1, marks=pytest.mark.long), pytest.param(1, 1, marks=pytest.mark.long)],
)
async def test_any_request_may_fail(tmp_path: Path, shift: int, stride: int) -> None:
    """For each request of an apply, one fault (another for each, and in the end every kind for most of them)."""
    guard = Guard([])
    with applying(tmp_path) as (registry, make):
        registry.on_tag_put(guard)
        async with client(registry) as asked:
            world: Applying = make(asked)
            world.platforms = (AMD64,)
            world.versions = ("0.0.1",)
            plan = await world.plan()
            before = len(registry.requests)
            await world.apply(plan)
            count = len(registry.requests) - before
            assert count > 30
            built = len(world.builds.made)
            struck = 0
            for k in range(0, count, stride):
                version = f"1.{k}.0"
                world.versions = (version,)
                fault = FAULTS[(k * 5 + shift * 4) % len(FAULTS)]
                plan = await world.plan()
                added = registry.faults.add(Fault(fault, nth=k))
                outcome = await world.apply(plan)
                struck += added.struck
                registry.faults.clear()
                allowed(outcome)
                latest, tagged = world.digest("latest"), world.digest(version)
                assert latest in (tagged, world.digest(f"1.{k - stride}.0"), world.digest("0.0.1")), (k, fault)
                world.now = world.now.replace(year=world.now.year + 1)
                outcome = await world.reconcile()
                assert outcome.exit_code == 0, (k, fault, outcome)
                assert world.digest("latest") == world.digest(version)
                assert (await world.plan(fresh=True)).changes == (), (k, fault)
                assert not tagged or tagged == world.digest(version)
            # the order of what runs side by side varies, and with it how many requests there are
            struck_at_least = 0.9 if stride == 1 else 0.5
            assert struck > struck_at_least * count / stride
            # a version is built once, and once more at most where the fault came before it could be proven
            assert len(world.builds.made) - built < 1.5 * count
    assert guard.wrong == []
