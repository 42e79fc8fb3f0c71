"""All that the plan needs to know, asked at once: what upstream released, and what the registry holds.

    desired, upstream -> wanted -> observed -> views

An upstream that fails, or a registry that does, costs its own app or tag alone: it becomes unknown, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.desired.upstreams import is_enough, upstream_of
from reconciler.desired.wanted import Probe, probes, sources, wanted
from reconciler.desired.window import Hindrance
from reconciler.errors import RecordError, UpstreamError
from reconciler.model.evidence import Unknown
from reconciler.model.observed import Denied
from reconciler.model.record import Record
from reconciler.model.release import Release
from reconciler.model.version import Version
from reconciler.model.wanted import Waiting, WantedApp
from reconciler.observe import Observer
from reconciler.plan.make import View
from reconciler.record import Records
from reconciler.upstream import NotThere, Upstreams

# how many apps are in the air at once: what bounds memory where there are thousands
APPS_AT_ONCE = 64

_Hindrances = dict[tuple[str, Version], Hindrance]


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
        try:
            return await self._wanted(app, record)
        except UpstreamError as error:
            return WantedApp(app.app, unknown=Unknown(error.reason))

    async def _wanted(self, app: App, record: Record) -> WantedApp:
        source, spelled = upstream_of(app)
        hindrances: _Hindrances = {}
        probed: set[Probe] = set()
        while True:
            enough = is_enough(self.desired, app, hindrances)
            releases = await self.upstreams.releases(source, spelled, enough=enough)
            asked = [p for p in probes(self.desired, app, releases, hindrances) if p not in probed]
            todo = [probe for probe in asked if not self._published(record, probe)]
            probed.update(asked)
            found = await self._probe(todo)
            if not found:
                break
            hindrances |= found
        commits = await self._commits(app, releases, hindrances)
        return wanted(self.desired, app, releases, commits, hindrances)

    def _published(self, record: Record, probe: Probe) -> bool:
        """Whether that version was published before: then upstream was ready, and need not be asked again."""
        image = record.images.get(str(self.desired.repository(probe.image)))
        return image is not None and str(probe.version) in image.tags

    async def _probe(self, asked: Sequence[Probe]) -> _Hindrances:
        answers = await asyncio.gather(*(self.upstreams.answers(probe.url) for probe in asked))
        found: _Hindrances = {}
        for probe, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NotThere):
                reason = f"upstream isn't ready for {probe.platform}: {answer.reason}"
                found.setdefault((probe.image, probe.version), Waiting(reason))
        for probe, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Unknown):
                found.setdefault((probe.image, probe.version), answer)
        return found

    async def _commits(
        self, app: App, releases: Sequence[Release], hindrances: _Hindrances
    ) -> Mapping[tuple[str, str], str]:
        by_url: dict[str, set[str]] = {}
        for url, ref in sources(self.desired, app, releases, hindrances):
            by_url.setdefault(url, set()).add(ref)
        answers = await asyncio.gather(*(self.upstreams.commits(url, sorted(refs)) for url, refs in by_url.items()))
        return {
            (url, ref): commit
            for url, answer in zip(by_url, answers, strict=True)
            for ref, commit in answer.items()
            if isinstance(commit, str)
        }
