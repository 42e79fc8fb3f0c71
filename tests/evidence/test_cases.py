"""Every case of `cases`, through us, on a registry in this process, with and without a referrers API."""

from __future__ import annotations

import json

import pytest

from reconciler.evidence.examine import examine
from reconciler.evidence.judge import Judge
from reconciler.local.registry import LocalRegistry, Manners, Referrers
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Mint
from reconciler.model.evidence import Invalid, Kind, Missing, Proven
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry.client import Registry
from tests.evidence.attach import Pusher
from tests.evidence.cases import CASES, Case, World

MINT, KEY = Mint(), Key.generate()
ROOT = json.dumps(MINT.trusted_root())


@pytest.mark.parametrize("api", [Referrers.UNKNOWN, Referrers.API, Referrers.EMPTY])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_case(case: Case, api: Referrers, local: LocalRegistry, registry: Registry) -> None:
    """What is proven, missing or invalid is what the case says, whatever the registry's referrers API is like."""
    local.manners = Manners(referrers=api)
    repository = Repository.parse(f"{local.host}/{api}/case{CASES.index(case)}")
    with Pusher(repository) as pusher:
        world = World(MINT, KEY, repository, pusher.image(case.name))
        pusher.attach(world.digest, case.given(world))
    judge = Judge(case.policy(world, ROOT))
    evidence = await examine(registry, judge, repository, world.digest, world.image.platforms, {})
    for kind in Kind:
        finding = evidence.findings[kind]
        assert isinstance(finding, case.ours.get(kind, Missing)), (kind, finding)
        if isinstance(finding, Invalid):
            assert case.reason in finding.reason
        if isinstance(finding, Missing | Invalid):
            assert finding.platforms == expected_platforms(case, kind, world)
    # an SBOM of ours about one platform of two proves no SBOM, but whose the image is
    assert bool(evidence.authority) is (Proven in case.ours.values() or bool(case.lacking))


def expected_platforms(case: Case, kind: Kind, world: World) -> tuple[Platform, ...]:
    whole = () if kind in (Kind.SIGNATURE, Kind.MIRROR) else tuple(sorted(world.image.platforms))
    return case.lacking.get(kind, whole)


def test_there_are_enough_cases_and_each_difference_has_its_reason() -> None:
    """Where we and cosign differ, the case says why; where we don't, there is nothing to say."""
    assert len(CASES) >= 30
    for case in CASES:
        assert bool(case.why) is case.differs, case.name
