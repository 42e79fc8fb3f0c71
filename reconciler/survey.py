"""All that the plan needs to know, asked at once: what upstream released, and what the registry holds.

    desired, upstream -> wanted -> observed -> views

An upstream that fails, or a registry that does, costs its own app or tag alone: it becomes unknown, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler import upstream
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.desired.upstreams import is_enough, upstream_of
from reconciler.desired.wanted import Probe, probes, sources, wanted
from reconciler.desired.window import Hindrance, Hindrances
from reconciler.errors import RecordError, UpstreamError
from reconciler.model.evidence import Unknown
from reconciler.model.observed import Denied
from reconciler.model.record import Record
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, Upstream
from reconciler.model.version import Version
from reconciler.model.wanted import Waiting, WantedApp
from reconciler.observe import Observer
from reconciler.plan.make import View
from reconciler.record import Records
from reconciler.together import together
from reconciler.upstream import Enough, NoRef, NotThere, PassedOver, There, Upstreams

# how many apps are in the air at once: what bounds memory where there are thousands
APPS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Survey:
    """Asks upstreams and registry for apps."""

    desired: Desired
    upstreams: Upstreams
    observer: Observer
    records: Records

    async def views(self, apps: Sequence[App]) -> list[View]:
        """A view of each app, in the order given."""
        slots = asyncio.Semaphore(APPS_AT_ONCE)

        async def view(app: App) -> View:
            async with slots:
                return await self._view(app)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(view(app)) for app in apps]
        return [task.result() for task in tasks]

    async def _view(self, app: App) -> View:
        try:
            record = self.records.load(app.app)
        except RecordError as error:
            # it may know what keeps a build from being made twice: nothing is done until it is restored or gone
            return View(WantedApp(app.app, unknown=Unknown(f"{error.reason}; {error.todo}")))
        asked = await self.wanted(app, record)
        if asked.unknown is not None:
            return View(asked, record=record)
        view = await self.observer.view(asked, record)
        denied = {str(t.repository) for t, seen in view.tags.items() if isinstance(seen.tag, Denied)}
        if not denied:
            return view
        seen = await asyncio.to_thread(self.records.seen_in_history, app.app, denied)
        return View(view.wanted, view.tags, view.pointers, record, seen)

    async def wanted(self, app: App, record: Record) -> WantedApp:
        """What is wanted of one app; `unknown` where its upstream can't tell."""

        def published(probe: Probe) -> bool:
            """Whether it was published before for that platform: then upstream was ready, and isn't asked again."""
            image = record.images.get(str(self.desired.repository(probe.image)))
            tag = image.tags.get(str(probe.version)) if image is not None else None
            return tag is not None and any(platform.satisfies(probe.platform) for platform in tag.platforms)

        try:
            seen = await consider(self.desired, app, self.upstreams, published)
        except UpstreamError as error:
            return WantedApp(app.app, unknown=Unknown(error.reason))
        return wanted(self.desired, app, seen.releases, seen.commits, seen.hindrances)


class Told(Protocol):
    """Whoever tells what upstream has; `upstream.Upstreams` does."""

    async def survey(self, source: Upstream, filter: Filter, *, enough: int | Enough) -> upstream.Survey:  # noqa: A002
        """The releases that count, and the versions passed over; UpstreamError."""
        ...

    async def commits(self, url: str, refs: Iterable[str]) -> Mapping[str, str | NoRef]:
        """The commit that each ref of a repository names; UpstreamError."""
        ...

    async def answers(self, url: str) -> There | NotThere | Unknown:
        """Whether a URL answers."""
        ...


@dataclass(frozen=True, slots=True)
class Considered:
    """What upstream has for an app: releases, versions passed over, refs' commits, and what holds builds back."""

    releases: tuple[Release, ...]
    passed_over: tuple[PassedOver, ...]
    commits: Mapping[tuple[str, str], str]
    hindrances: Hindrances


async def consider(
    desired: Desired, app: App, told: Told, published: Callable[[Probe], bool] = lambda probe: False
) -> Considered:
    """Asks as much of an app's upstream as its window needs; nothing for what is `published`. UpstreamError."""
    source, spelled = upstream_of(app)
    hindrances: dict[tuple[str, Version], Hindrance] = {}
    probed: set[Probe] = set()
    while True:
        enough = is_enough(desired, app, hindrances)
        found = await told.survey(source, spelled, enough=enough)
        asked = [p for p in probes(desired, app, found.releases, hindrances) if p not in probed]
        probed.update(asked)
        new = await _probe(told, [probe for probe in asked if not published(probe)])
        if not new:
            break
        hindrances |= new
    commits = await _commits(told, sources(desired, app, found.releases, hindrances))
    return Considered(found.releases, found.passed_over, commits, hindrances)


async def _probe(told: Told, asked: Sequence[Probe]) -> Hindrances:
    answers = await together(told.answers(probe.url) for probe in asked)
    found: dict[tuple[str, Version], Hindrance] = {}
    for probe, answer in zip(asked, answers, strict=True):
        if isinstance(answer, NotThere):
            reason = f"upstream isn't ready for {probe.platform}: {answer.reason}"
            found.setdefault((probe.image, probe.version), Waiting(reason))
    for probe, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Unknown):
            found.setdefault((probe.image, probe.version), answer)
    return found


async def _commits(told: Told, asked: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    by_url: dict[str, set[str]] = {}
    for url, ref in asked:
        by_url.setdefault(url, set()).add(ref)
    answers = await together(told.commits(url, sorted(refs)) for url, refs in by_url.items())
    return {
        (url, ref): commit
        for url, answer in zip(by_url, answers, strict=True)
        for ref, commit in answer.items()
        if isinstance(commit, str)
    }
