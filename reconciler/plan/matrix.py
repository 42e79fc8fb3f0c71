"""The builds of a plan, spread over machines: one job per version of an app and platform; pure.

A job builds all images of its version that need that platform, in the order of their needs, so that a base is there
when the next is built on it. A base of another app isn't: what is built on one that this very plan changes waits for
the next run. The platforms of a version stay together: half a version is of no use to anyone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.platform import Platform
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.plan.changes import Assembly
from reconciler.plan.plan import Plan

# GitHub's limit for one workflow run (protocols 5.1)
MOST = 256

Built = tuple[TagRef, Platform]


@dataclass(frozen=True, slots=True)
class Job:
    """What one machine builds: these changes, in this order, for one platform."""

    app: str
    version: Version
    platform: Platform
    changes: tuple[Assembly, ...]

    @property
    def id(self) -> str:
        """Its name: `outline@1.2.0@linux-arm64`, which can stand in the name of an artefact."""
        return f"{self.app}@{self.version}@{str(self.platform).replace('/', '-')}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The jobs of one run, and the builds that are left for the next one, each with the reason."""

    jobs: tuple[Job, ...]
    left: Mapping[Built, str]

    @property
    def builds(self) -> int:
        """How many images are built, each platform counted."""
        return sum(len(job.changes) for job in self.jobs)

    @property
    def built(self) -> frozenset[Built]:
        """All that some job builds."""
        return frozenset((change.target, job.platform) for job in self.jobs for change in job.changes)

    def job(self, id: str) -> Job | None:  # noqa: A002
        """The job with that name."""
        return next((job for job in self.jobs if job.id == id), None)


def matrix(plan: Plan, most: int = MOST) -> Matrix:
    """The jobs of `plan`, at most `most`: the newest version of every app first, then the one before, and so on.

    The same plan gives the same jobs: whoever takes the results knows from it what had to be built.
    """
    changes = [change for change in plan.changes if isinstance(change, Assembly) and change.build]
    waiting = _waiting(plan, changes)
    left: dict[Built, str] = {
        (change.target, platform): waiting[change.target]
        for change in changes
        if change.target in waiting
        for platform in change.build
    }
    jobs: list[Job] = []
    for together in _by_version([change for change in changes if change.target not in waiting]):
        if len(jobs) + len(together) > most:
            left |= {
                (change.target, job.platform): f"a run has at most {most} jobs"
                for job in together
                for change in job.changes
            }
        else:
            jobs += together
    return Matrix(tuple(jobs), left)


def _waiting(plan: Plan, changes: Sequence[Assembly]) -> Mapping[TagRef, str]:
    """What can't be built in this run, and why; what is built on that in turn can't either."""
    planned = {change.target: change for change in plan.changes}
    waiting: dict[TagRef, str] = {}
    # in the order of needs: a base comes before what is built on it
    for change in changes:
        for need in change.wanted.needs:
            base = planned.get(need)
            if base is None:
                continue
            if need in waiting:
                waiting[change.target] = f"it is built on {need}, which waits itself"
            elif base.app != change.app:
                waiting[change.target] = f"it is built on {need} of the app {base.app}, which must be complete before"
    return waiting


def _by_version(changes: Sequence[Assembly]) -> Iterator[list[Job]]:
    """The jobs of each version of each app; the newest versions first, else in the plan's order."""
    found: dict[tuple[str, Version], dict[Platform, list[Assembly]]] = {}
    for change in changes:
        platforms = found.setdefault((change.app, change.wanted.release.version), {})
        for platform in change.build:
            platforms.setdefault(platform, []).append(change)
    ranks: Counter[str] = Counter()
    ranked = []
    for app, version in sorted(found, key=lambda key: key[1], reverse=True):
        ranked.append((ranks[app], (app, version)))
        ranks[app] += 1
    order = {key: place for place, key in enumerate(found)}
    for _, key in sorted(ranked, key=lambda one: (one[0], order[one[1]])):
        jobs = [Job(*key, platform, tuple(of)) for platform, of in sorted(found[key].items())]
        yield jobs
