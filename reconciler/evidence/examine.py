"""All about one digest's evidence: read it, judge it, weigh it.

Reading is I/O and runs on the event loop, many at once; judging is CPU work and runs in threads, as many as there are
cores. What is large (SBOMs) is spooled to disk and judged one at a time, so that memory stays bounded by one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from reconciler.errors import EvidenceError, RegistryError
from reconciler.evidence.judge import Judge
from reconciler.evidence.raw import Attached, Fault, Form
from reconciler.evidence.read import gather
from reconciler.evidence.recall import known
from reconciler.evidence.verdict import Rejected, Verdict
from reconciler.evidence.weigh import Judged, Subject, weigh
from reconciler.model.digest import Digest
from reconciler.model.evidence import Evidence, Kind, Proven, Unknown
from reconciler.model.observed import Absent, Child
from reconciler.model.platform import Platform
from reconciler.model.record import RecordedTag
from reconciler.model.reference import Repository

if TYPE_CHECKING:
    from reconciler.registry.client import Registry

# large blobs on disk at once; one of them at a time in memory
_SPOOLED = 4


class _Bench:
    """What bounds the work of a run: how much is judged, spooled and held in memory at once."""

    def __init__(self) -> None:
        self.cores = asyncio.Semaphore(os.cpu_count() or 1)
        self.spooled = asyncio.Semaphore(_SPOOLED)
        self.large = asyncio.Semaphore(1)


_benches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Bench] = WeakKeyDictionary()


def _bench() -> _Bench:
    loop = asyncio.get_running_loop()
    if loop not in _benches:
        _benches[loop] = _Bench()
    return _benches[loop]


async def examine(
    registry: Registry,
    judge: Judge,
    repository: Repository,
    digest: Digest,
    platforms: Mapping[Platform, Child],
    annotations: Mapping[str, str],
    recorded: RecordedTag | None = None,
) -> Evidence:
    """All that is proven of `digest`, an index with `platforms` and its own `annotations`.

    With `recorded`, bundles that were verified under the same policy are taken as that, but only where with them all
    four kinds are proven: where something would be made, authority to make it never comes from a record (rule 4).
    Raises nothing: what couldn't be read or verified is `Unknown` in the findings.
    """
    proofs = known(recorded, digest, judge.policy.hash)
    bundles = {one: kind for kind, proof in proofs.items() for one in (proof.proof, *proof.also)}
    raw = await gather(registry, repository, digest, frozenset(bundles))
    there = {one.digest for one in raw.attached if one.form is Form.BUNDLE}
    recalled: dict[Kind, Proven] = {
        kind: proof for kind, proof in proofs.items() if {proof.proof, *proof.also} <= there
    }
    todo = [one for one in raw.attached if one.form is not Form.BUNDLE or bundles.get(one.digest) not in recalled]
    judged, faults = await _judge_all(registry, judge, repository, digest, todo)
    subject = Subject(repository, digest, platforms, annotations)
    binding = recorded.binding if recorded else None
    evidence = weigh(subject, raw, judged, faults, recalled, binding, judge.policy.layouts)
    if evidence.recalled and evidence.lacking(frozenset(Kind)):
        return await examine(registry, judge, repository, digest, platforms, annotations)
    return evidence


async def platform_proofs(
    registry: Registry, judge: Judge, repository: Repository, platforms: Mapping[Platform, Child]
) -> frozenset[Platform] | Unknown:
    """The platforms whose image manifest carries a verified proof of ours of its own (rule 4).

    Unknown only where that decides: the rest is proven, and one or more couldn't be told.
    """
    async with asyncio.TaskGroup() as group:
        tasks = {
            platform: group.create_task(examine(registry, judge, repository, child.digest, {platform: child}, {}))
            for platform, child in platforms.items()
        }
    evidence = {platform: task.result() for platform, task in tasks.items()}
    proven = frozenset(platform for platform, one in evidence.items() if one.authority)
    unsure = {p: reason for p, one in evidence.items() if p not in proven and (reason := one.unknown(frozenset(Kind)))}
    if unsure and len(proven) + len(unsure) == len(platforms):
        platform = min(unsure)
        return Unknown(f"the image for {platform}: {unsure[platform].reason}")
    return proven


async def _judge_all(
    registry: Registry, judge: Judge, repository: Repository, digest: Digest, attached: list[Attached]
) -> tuple[list[Judged], list[Fault]]:
    bench = _bench()
    async with asyncio.TaskGroup() as group:
        tasks = [
            (one, group.create_task(_judge_one(bench, registry, judge, repository, digest, one))) for one in attached
        ]
    judged, faults = [], []
    for one, task in tasks:
        result = task.result()
        if isinstance(result, Fault):
            faults.append(result)
        else:
            judged.append(Judged(one, result))
    return judged, faults


async def _judge_one(
    bench: _Bench, registry: Registry, judge: Judge, repository: Repository, digest: Digest, one: Attached
) -> Verdict | Fault:
    where = f"{one.form.layout} {one.digest.short}"
    try:
        if one.data is not None:
            async with bench.cores:
                return await asyncio.to_thread(_verdict, judge, digest, one, one.data)
        return await _judge_large(bench, registry, judge, repository, digest, one)
    except EvidenceError as error:
        return Fault(f"{where}: {error.reason}", one.form.kinds)
    except RegistryError as error:
        return Fault(f"{where}: {error.reason}", one.form.kinds)
    except OSError as error:
        return Fault(f"{where}: it can't be kept on disk: {error.strerror}", one.form.kinds)


async def _judge_large(
    bench: _Bench, registry: Registry, judge: Judge, repository: Repository, digest: Digest, one: Attached
) -> Verdict:
    async with bench.spooled:
        with tempfile.TemporaryDirectory(prefix="reconcile-") as folder:
            path = Path(folder, "blob")
            got = await registry.blob_to(repository, one.digest, path, cap=one.form.cap)
            if isinstance(got, Absent):
                return Rejected("listed, but its blob is gone")
            async with bench.large, bench.cores:
                return await asyncio.to_thread(lambda: _verdict(judge, digest, one, path.read_bytes()))


def _verdict(judge: Judge, digest: Digest, one: Attached, data: bytes) -> Verdict:
    match one.form:
        case Form.BUNDLE:
            return judge.judge_bundle(data, digest)
        case Form.SIG:
            return judge.judge_signature(data, one.annotations, digest)
        case Form.ATT:
            return judge.judge_attestation(data, one.annotations, digest)
