"""One job of a run that builds on several machines: all images of a version for one platform, without signing rights.

Each image is built, pushed by digest and smoke-tested here, on a machine that can run it; then a small file says so.
What upstream's code may do here is bounded by what is here: the right to push, and nothing to sign with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NoReturn

from reconciler.apply.attach import Attacher
from reconciler.apply.bases import proven_base
from reconciler.apply.builds import Buildx, Built
from reconciler.apply.checksums import Checksums, Downloads, expected
from reconciler.apply.elsewhere import MAX_REASON, MAX_SEEN, Result
from reconciler.apply.failures import mine
from reconciler.apply.lines import harmless
from reconciler.apply.look import look
from reconciler.apply.newness import settle_new
from reconciler.apply.proofs import Origin, Prover
from reconciler.apply.recording import Update, rfc3339
from reconciler.apply.run import Options, diagnose, own_folder, run_config, smoke_test, toolbox
from reconciler.apply.slots import NotNow
from reconciler.apply.source import Fetch, Sources
from reconciler.apply.stamp import Run
from reconciler.apply.tagging import Tagger
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import Moved, ReconcileError, Refused, ToolError
from reconciler.evidence.judge import Judge
from reconciler.model.record import ImageRecord, Record
from reconciler.model.reference import DigestRef, TagRef
from reconciler.model.signing import Signing
from reconciler.model.wanted import Wanted
from reconciler.plan.changes import Assembly, MovePointer, Prove, Publish, Restore
from reconciler.plan.matrix import Job
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """An image that isn't there now, and why; `result` is written where that is the build's own fault."""

    target: TagRef
    error: ReconcileError
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of each image of the job, in its order."""

    built: tuple[Result, ...]
    failed: tuple[NotBuilt, ...]

    @property
    def exit_code(self) -> int:
        """1 before 3 before 0 (behaviours.md, exit status)."""
        codes = {3 if isinstance(one.error, Moved | Refused) else 1 for one in self.failed}
        return min(codes, default=0)


class Unwritten(Records):
    """Records that are read, and changed in memory alone: a job's machine is gone after it."""

    def update(self, app: str, change: Update) -> Record:
        """The record of `app`, changed."""
        self._kept[app] = change(self.load(app))
        return self._kept[app]


class NoSigner:
    """Nothing is signed in a job that builds."""

    def __init__(self, signing: Signing) -> None:
        self.signing = signing

    def _refuse(self) -> NoReturn:
        raise Refused("a job that builds signs nothing")

    async def sign(self, target: DigestRef) -> bytes:
        """Refused."""
        self._refuse()

    async def attest(self, statement: bytes, what: str) -> bytes:
        """Refused."""
        self._refuse()

    async def sign_legacy(self, target: DigestRef) -> None:
        """Refused."""
        self._refuse()


async def build_job(
    job: Job,
    plan: Plan,
    run: Run,
    *,
    registry: Registry,
    judge: Judge,
    records: Unwritten,
    signing: Signing,
    fetch: Fetch,
    downloads: Downloads,
    options: Options,
    place: str,
    keep: Callable[[Result], object],
    say: Callable[[str], None] = lambda _: None,
) -> JobOutcome:
    """Builds what `job` of `plan` has to build, and hands each result to `keep` as soon as there is one.

    `place` is who builds, as people look for it (`stamp.place`). Raises NotReady where it can't be done here at all.
    """
    own_folder(options.logs)
    with run_config(plan, options) as config:
        tools = toolbox(config, options)
        here = [_narrowed(change, job) for change in job.changes]
        await look(here, registry=registry, tools=tools, cosign=None, options=options.build, local=True)
        sources = Sources(fetch, options.desired, tools.scratch)
        attacher = Attacher(registry, now=lambda: rfc3339(datetime.now(UTC)))
        prover = Prover(registry, judge, NoSigner(signing), attacher, Origin())
        try:
            return await _Work(
                job, plan, run, registry, records, prover, Tagger(registry), tools, sources, downloads, options, place
            ).walk(keep, say)
        finally:
            await sources.close()


def _narrowed(change: Assembly, job: Job) -> Assembly:
    """The change as if this job's platform were the only one: others are built where they are at home."""
    one = (job.platform,)
    return replace(change, build=one, wanted=replace(change.wanted, platforms=one))


@dataclass(frozen=True, slots=True)
class _Work:
    job: Job
    plan: Plan
    run: Run
    registry: Registry
    records: Unwritten
    prover: Prover
    tagger: Tagger
    tools: Toolbox
    sources: Sources
    downloads: Downloads
    options: Options
    place: str
    made: dict[TagRef, DigestRef] = field(default_factory=dict)

    async def walk(self, keep: Callable[[Result], object], say: Callable[[str], None]) -> JobOutcome:
        built: list[Result] = []
        failed: list[NotBuilt] = []
        for change in self.job.changes:
            say(f"{change.target} {self.job.platform}: build")
            try:
                one = await self._make(change)
            except ReconcileError as error:
                failed.append(await self._failed(change, error))
                result = failed[-1].result
            else:
                self.made[change.target] = change.target.repository.at(one.pushed)
                result = replace(self._result(change), digest=one.pushed, seen=self._seen(change.wanted))
                built.append(result)
                say(f"{change.target} {self.job.platform}: pushed {one.pushed}")
            if result is not None:
                keep(result)
        return JobOutcome(tuple(built), tuple(failed))

    async def _make(self, change: Assembly) -> Built:
        wanted = change.wanted
        bases = await self._bases(wanted)
        if isinstance(change, Publish) and change.presumed_new:
            await settle_new(self.registry, wanted)
        await self.tagger.check(wanted.target, change.exists)
        mark = f"{self.place}#{self.run.mark(wanted.recipe.hash)}"
        build = replace(self.options.build, builder_id=mark)
        checksums = Checksums(self.downloads, self.records)
        one = await Buildx(self.tools, self.sources, self.registry, build, checksums)(wanted, self.job.platform, bases)
        smoke = wanted.recipe.smoke
        if smoke is not None:
            image = wanted.target.repository.at(one.pushed)
            where = f"{wanted.app}:{wanted.release.version}"
            await smoke_test(self.tools, self.options)(smoke, image, self.job.platform, where)
        return one

    async def _bases(self, wanted: Wanted) -> Mapping[str, DigestRef]:
        return {name: await self._base(name, tag, wanted) for name, tag in wanted.recipe.bases}

    async def _base(self, name: str, tag: TagRef, wanted: Wanted) -> DigestRef:
        """What this job made of it, or what stays of it in its new index, or what is complete already."""
        if tag in self.made:
            return self.made[tag]
        planned = next((change for change in self.plan.changes if change.target == tag), None)
        if isinstance(planned, Prove | Restore):
            return await proven_base(self.registry, self.prover, name, tag, wanted, planned.digest)
        if planned is None or isinstance(planned, MovePointer):
            return await proven_base(self.registry, self.prover, name, tag, wanted)
        kept = planned.keep.get(self.job.platform)
        if kept is None:
            raise NotNow(f"it is built on {tag}, which isn't built")
        if await self.prover.unproven(tag.repository, {self.job.platform: kept}):
            raise Refused(f"it is built on {tag}, whose image isn't proven to be ours", where=str(wanted.target))
        return tag.repository.at(kept.digest)

    async def _failed(self, change: Assembly, error: ReconcileError) -> NotBuilt:
        """A failure is a result only where it is the recipe's: a registry that is down says nothing about it."""
        if not mine(error) or (
            isinstance(error, ToolError) and await diagnose(self.plan, self.registry, self.tools, self.options)
        ):
            return NotBuilt(change.target, error)
        reason = harmless(error.reason)[:MAX_REASON] or "it failed"
        return NotBuilt(change.target, error, replace(self._result(change), failed=reason))

    def _result(self, change: Assembly) -> Result:
        wanted = change.wanted
        return Result(change.app, change.image, change.target, self.job.platform, wanted.recipe.hash, self.run)

    def _seen(self, wanted: Wanted) -> Mapping[str, str]:
        """The downloads of which nothing was known but what they were when they were seen first: by now, or before."""
        image = self.records.load(wanted.app).images.get(str(wanted.target.repository)) or ImageRecord()
        urls = [one.url for one in expected(wanted.recipe, self.job.platform) if not one.sha256 and not one.at]
        return {url: image.checksums[url] for url in urls[:MAX_SEEN] if url in image.checksums}
