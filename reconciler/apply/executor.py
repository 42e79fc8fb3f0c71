"""The walk over a plan: what depends on nothing runs side by side, a failure costs only what needs it.

Builds wait for a slot; signing, reading and writing hold none, so that a registry that lags keeps nobody waiting. A
change waits for the bases it is built on, a pointer for the versions it may go to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from reconciler.apply import recording
from reconciler.apply.bases import proven_base
from reconciler.apply.failures import BuildFailed, SignerFailed
from reconciler.apply.pointer import Incomplete, Pointing
from reconciler.apply.proofs import Prover
from reconciler.apply.publish import Publisher
from reconciler.apply.results import Done, Failed, Moved, NotTried, Outcome, Progress, Result, Unconfirmed
from reconciler.apply.slots import NotNow, Slots
from reconciler.apply.tagging import Tagger
from reconciler.errors import Moved as MovedError
from reconciler.errors import (
    RateLimited,
    ReconcileError,
    RecordError,
    RegistryError,
    ToolError,
    Unreachable,
)
from reconciler.model.digest import Digest
from reconciler.model.reference import DigestRef, TagRef
from reconciler.model.wanted import Wanted
from reconciler.plan.changes import Assembly, Change, MovePointer
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry

INTERRUPTED = "interrupted"
# how long a change that is writing its tag may take to finish once everything is to stop
GRACE = 60.0


class _Running:
    """One change in work: how it speaks, and whether it may be interrupted now (see `publish.Steps`)."""

    def __init__(self, change: Change, progress: Progress) -> None:
        self.change = change
        self._progress = progress
        self.doing = ""
        self._held = 0

    @property
    def held(self) -> bool:
        """Whether it is between a tag and its record."""
        return self._held > 0

    def say(self, text: str) -> None:
        if not self.doing:
            self._progress.started(self.change)
        self.doing = text
        self._progress.step(self.change, text)

    @contextmanager
    def hold(self) -> Iterator[None]:
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


class Executor:
    """Walks one plan."""

    def __init__(
        self,
        plan: Plan,
        publisher: Publisher,
        *,
        registry: Registry,
        records: Records,
        prover: Prover,
        tagger: Tagger,
        slots: Slots,
        progress: Progress,
        now: Callable[[], datetime],
    ) -> None:
        self._plan = plan
        self._publisher = publisher
        self._pointing = Pointing(registry, records, prover, tagger, self._settled)
        self._registry = registry
        self._records = records
        self._prover = prover
        self._slots = slots
        self._progress = progress
        self._now = now
        self._tasks: dict[TagRef, asyncio.Task[Result]] = {}
        self._running: dict[TagRef, _Running] = {}

    async def walk(self, stop: asyncio.Event) -> Outcome:
        """Every change of the plan, tried or not, with what became of it. Raises nothing of what a change raises.

        Once `stop` is set no change starts; those that run are interrupted, but for those that are writing their tag.
        """
        changes = self._plan.changes
        for change in changes:
            running = self._running[change.target] = _Running(change, self._progress)
            self._tasks[change.target] = asyncio.create_task(self._run(change, running))
        watch = asyncio.create_task(self._watch(stop))
        try:
            results = tuple(await asyncio.gather(*(self._tasks[change.target] for change in changes)))
        finally:
            watch.cancel()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(watch, *self._tasks.values(), return_exceptions=True)
        return Outcome(results, interrupted=stop.is_set(), complete=self._plan.complete)

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._slots.close(INTERRUPTED)
        for target, task in self._tasks.items():
            if not self._running[target].held:
                task.cancel()
        await asyncio.sleep(GRACE)
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, change: Change, running: _Running) -> Result:
        result = await self._result(change, running)
        self._progress.finished(result)
        return result

    async def _result(self, change: Change, running: _Running) -> Result:
        try:
            return await self._make(change, running)
        except asyncio.CancelledError:
            if self._slots.closed != INTERRUPTED:
                raise
            if running.doing:
                return Failed(change, f"interrupted while it was to {running.doing}", interrupted=True)
            return NotTried(change, INTERRUPTED)
        except NotNow as error:
            return NotTried(change, error.reason)
        except MovedError as error:
            return Moved(change, error.reason)
        except BuildFailed as error:
            return self._build_failed(change, error)
        except SignerFailed as error:
            self._slots.close(f"nothing can be signed: {error.reason}")
            return Failed(change, str(error), error.log)
        except RegistryError as error:
            if isinstance(error, Unreachable | RateLimited) or (error.status or 0) >= 500:
                self._slots.close(f"the registry doesn't answer: {error.reason}")
            return Failed(change, str(error))
        except ReconcileError as error:
            return Failed(change, str(error), error.log if isinstance(error, ToolError) else "")

    async def _make(self, change: Change, running: _Running) -> Result:
        # so that every task stands in the table before the first looks into it
        await asyncio.sleep(0)
        if isinstance(change, MovePointer):
            return await self._pointing.make(change, running)
        wanted = change.wanted
        bases: Mapping[str, DigestRef] = {}
        if isinstance(change, Assembly) and change.build:
            bases = await self._bases(wanted)
        if self._slots.closed and isinstance(change, Assembly) and change.build:
            raise NotNow(self._slots.closed)
        return await self._publisher.make(change, bases, running)

    async def _bases(self, wanted: Wanted) -> Mapping[str, DigestRef]:
        """The digest of each base by its name in FROM; NotNow where one isn't complete."""
        found: dict[str, DigestRef] = {}
        for tag in wanted.needs:
            # also those that no FROM names by itself: they come first all the same
            settled = await self._settled(tag, None) if tag in self._tasks else None
            if isinstance(settled, Incomplete):
                raise NotNow(f"it is built on {tag}, which isn't complete: {settled.reason}")
        for name, tag in wanted.recipe.bases:
            done = self._tasks.get(tag)
            if done is not None and isinstance(result := await asyncio.shield(done), Done | Unconfirmed):
                found[name] = tag.repository.at(result.digest)
            else:
                found[name] = await proven_base(self._registry, self._prover, name, tag, wanted)
        return found

    async def _settled(self, tag: TagRef, planned: Digest | None) -> Digest | Incomplete:
        """The digest of a version's tag once its change has ended; or why it isn't complete."""
        task = self._tasks.get(tag)
        if task is None:
            return planned or Incomplete("nothing is planned for it")
        # a pointer that is interrupted must not take the version with it
        result = await asyncio.shield(task)
        match result:
            case Done(digest=digest) | Unconfirmed(digest=digest):
                return digest
            case Failed(reason=reason) | Moved(reason=reason) | NotTried(reason=reason):
                first = reason.splitlines()[0] if reason else "it isn't complete"
                return Incomplete(first, moved=isinstance(result, Moved))

    def _build_failed(self, change: Change, error: BuildFailed) -> Result:
        """Backs off, unless the registry or the builder is to blame: then nothing is held against the recipe."""
        if not error.blame and not isinstance(change, MovePointer):
            with contextlib.suppress(RecordError):
                update = recording.failed(change.wanted, error.reason, self._now())
                self._records.update(change.app, update)
        return Failed(change, str(error), error.log)
