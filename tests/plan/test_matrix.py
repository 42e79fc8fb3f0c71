"""How the builds of a plan are spread over machines."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.platform import Platform
from reconciler.model.reference import Repository, TagRef
from reconciler.plan.changes import AddPlatforms, Assembly, Change, MovePointer, Prove, Publish
from reconciler.plan.matrix import MOST, matrix
from reconciler.plan.plan import Plan
from tests.support.nouns import AMD64, ARM64, ARMV7, child, digest, wanted

BOTH = (AMD64, ARM64)


def tag(version: str, image: str) -> TagRef:
    """Where that version of an image is."""
    return Repository.parse(f"registry.example/mirror/{image}").tag(version)


def publish(
    version: str,
    image: str = "hello",
    *,
    app: str = "hello",
    build: tuple[Platform, ...] = BOTH,
    needs: tuple[TagRef, ...] = (),
) -> Publish:
    """A change that builds."""
    target = tag(version, image)
    of = wanted(version, repository=target.repository, app=app, image=image, needs=needs)
    return Publish(wanted=of, reason="no such tag", build=build)


def jobs(*changes: Change) -> dict[str, list[str]]:
    """The images of each job, by its name."""
    return {job.id: [change.image for change in job.changes] for job in matrix(Plan(changes)).jobs}


def test_a_job_per_version_and_platform() -> None:
    """Each builds all images of its version for its platform, a base before what is built on it."""
    base = publish("1.2.0", "base", app="outline")
    top = publish("1.2.0", "outline", app="outline", needs=(base.target,))
    older = publish("1.1.0", "outline", app="outline", build=(ARM64,))
    assert jobs(base, top, older) == {
        "outline@1.2.0@linux-amd64": ["base", "outline"],
        "outline@1.2.0@linux-arm64": ["base", "outline"],
        "outline@1.1.0@linux-arm64": ["outline"],
    }


def test_only_what_lacks_is_built() -> None:
    """A base that has a platform already doesn't turn up in that platform's job."""
    base = publish("1.0.0", "base")
    grown = AddPlatforms(wanted=base.wanted, reason="lacks", build=(ARMV7,), keep={AMD64: child("a")})
    top = publish("1.0.0", "top", build=(AMD64, ARMV7), needs=(grown.target,))
    assert jobs(grown, top) == {"hello@1.0.0@linux-amd64": ["top"], "hello@1.0.0@linux-arm-v7": ["base", "top"]}


def test_a_base_of_another_app_comes_first() -> None:
    """What is built on one that this plan changes waits for the next run, and so does what is built on that."""
    base = publish("1.0.0", "base", app="base")
    top = publish("1.0.0", "top", needs=(base.target,))
    above = publish("1.0.0", "above", needs=(top.target,))
    beside = publish("1.0.0", "beside")
    found = matrix(Plan((base, top, above, beside)))
    assert [(job.id, [one.image for one in job.changes]) for job in found.jobs] == [
        ("base@1.0.0@linux-amd64", ["base"]),
        ("base@1.0.0@linux-arm64", ["base"]),
        ("hello@1.0.0@linux-amd64", ["beside"]),
        ("hello@1.0.0@linux-arm64", ["beside"]),
    ]
    assert set(found.left) == {(change.target, platform) for change in (top, above) for platform in BOTH}
    assert "must be complete before" in found.left[top.target, AMD64]
    assert "waits itself" in found.left[above.target, AMD64]


def test_a_base_that_is_only_proven_counts_as_changed_too() -> None:
    """Complete means complete: an attestation of another app's base that is still to be made is waited for."""
    base = publish("1.0.0", "base", app="base")
    prove = Prove(wanted=base.wanted, reason="lacks", digest=digest("b"), kinds=(), platforms={})
    top = publish("1.0.0", "top", needs=(base.target,))
    assert matrix(Plan((prove, top))).jobs == ()
    assert matrix(Plan((top,))).builds == 2


def test_nothing_to_build_is_an_empty_matrix() -> None:
    """Pointers and proofs take no machine."""
    one = publish("1.0.0")
    pointer = MovePointer(
        app="hello",
        image="hello",
        target=tag("latest", "hello"),
        reason="",
        to=one.wanted.release.version,
        source=one.target,
        digest=None,
    )
    whole = replace(one, build=(), keep={AMD64: child("a")})
    found = matrix(Plan((whole, pointer)))
    assert (found.jobs, dict(found.left), found.builds) == ((), {}, 0)


def test_at_most_as_many_jobs_as_github_takes() -> None:
    """The newest version of every app comes first, versions stay whole, and the rest is named."""
    many: list[Change] = [
        publish(f"{version}.0.0", f"app{number}", app=f"app{number}")
        for number in range(30)
        for version in range(10, 0, -1)
    ]
    found = matrix(Plan(tuple(many)))
    assert len(found.jobs) == MOST
    assert len({job.id for job in found.jobs}) == MOST
    assert found.builds + len(found.left) == 600
    assert {job.app for job in found.jobs if str(job.version) == "10.0.0"} == {f"app{number}" for number in range(30)}
    versions = {(job.app, job.version) for job in found.jobs}
    assert len(versions) * 2 == MOST
    assert all("256" in why for why in found.left.values())


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.sampled_from("xyz")), unique=True), st.randoms()
)
def test_every_build_is_somewhere_once(parts: list[tuple[str, int, str]], chance: random.Random) -> None:
    """Whatever the plan: each build is in one job or left, never both; names can be those of artefacts."""
    changes: list[Assembly] = []
    for app, version, image in parts:
        known = [change.target for change in changes]
        needs = tuple(chance.sample(known, k=min(len(known), chance.randint(0, 1))))
        build = tuple(chance.sample(BOTH, k=chance.randint(1, 2)))
        changes.append(publish(f"{version}.0", f"{app}{image}", app=app, build=build, needs=needs))
    most = chance.randint(0, 8)
    found = matrix(Plan(tuple(changes)), most)
    inside = [(change.target, job.platform) for job in found.jobs for change in job.changes]
    assert len(inside) == len(set(inside)) == found.builds
    assert set(inside).isdisjoint(found.left)
    assert {*inside, *found.left} == {(change.target, platform) for change in changes for platform in change.build}
    assert len(found.jobs) <= most
    assert all(re.fullmatch(r"[a-z0-9._@-]+", job.id) and found.job(job.id) == job for job in found.jobs)
