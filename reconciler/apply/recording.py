"""What is written to a record as work goes on; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.apply.annotations import commit_of, ref_of
from reconciler.model.digest import Digest
from reconciler.model.evidence import Evidence, Proven
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.record import Failure, ImageRecord, Record, RecordedPointer, RecordedTag, Replaced
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted

# a build that failed is tried again after these, then always after the last (issue: hours of compiling every night)
BACK_OFF = (timedelta(hours=6), timedelta(hours=24), timedelta(hours=72))
MAX_REASON = 300

Update = Callable[[Record], Record]


def rfc3339(moment: datetime) -> str:
    """A time in UTC as records hold it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _image(target: TagRef, change: Callable[[ImageRecord], ImageRecord]) -> Update:
    name = str(target.repository)

    def update(record: Record) -> Record:
        before = record.images.get(name) or ImageRecord()
        return replace(record, images={**record.images, name: change(before)})

    return update


def pending(wanted: Wanted, platform: Platform, pushed: Digest) -> Update:
    """A platform was pushed by digest: a locator for the next apply, no authority."""

    def change(image: ImageRecord) -> ImageRecord:
        known = {**image.pending.get(wanted.recipe.hash, {}), platform: pushed}
        return replace(image, pending={**image.pending, wanted.recipe.hash: known})

    return _image(wanted.target, change)


def not_pending(wanted: Wanted, platforms: Iterable[Platform]) -> Update:
    """What was pushed for these platforms is of no use: it is built again."""
    gone = frozenset(platforms)

    def change(image: ImageRecord) -> ImageRecord:
        known = {p: d for p, d in image.pending.get(wanted.recipe.hash, {}).items() if p not in gone}
        rest = {key: value for key, value in image.pending.items() if key != wanted.recipe.hash}
        return replace(image, pending={**rest, wanted.recipe.hash: known} if known else rest)

    return _image(wanted.target, change)


def first_seen(wanted: Wanted, url: str, sha256: str) -> Update:
    """What a download was when it was read for the first time; a later look changes nothing."""

    def change(image: ImageRecord) -> ImageRecord:
        return replace(image, checksums={url: sha256, **image.checksums})

    return _image(wanted.target, change)


def failed(wanted: Wanted, reason: str, now: datetime) -> Update:
    """The build of this recipe failed once more: it isn't tried again for a while."""

    def change(image: ImageRecord) -> ImageRecord:
        before = image.failures.get(wanted.recipe.attempt)
        count = before.count + 1 if before else 1
        until = now + BACK_OFF[min(count, len(BACK_OFF)) - 1]
        failure = Failure(count, reason[:MAX_REASON], rfc3339(until))
        return replace(image, failures={**image.failures, wanted.recipe.attempt: failure})

    return _image(wanted.target, change)


def published(
    wanted: Wanted,
    digest: Digest,
    media_type: str,
    size: int,
    platforms: Mapping[Platform, Child],
    evidence: Evidence,
    policy: str,
    now: datetime,
    *,
    instead_of: Digest | None = None,
    why: str = "",
) -> Update:
    """The tag names `digest`, whose `evidence` was verified from scratch; `instead_of` is what it named before."""
    time = rfc3339(now)

    def change(image: ImageRecord) -> ImageRecord:
        before = image.tags.get(wanted.target.tag)
        replaced = before.replaced if before else ()
        # what the tag named, and what it named by the record: people may have pinned either
        for old in (before.digest if before else None, instead_of):
            if old is not None and old != digest and all(known.digest != old for known in replaced):
                replaced = (*replaced, Replaced(old, time, why[:MAX_REASON]))
        same = before is not None and before.digest == digest
        binding = evidence.binding
        tag = RecordedTag(
            digest=digest,
            media_type=media_type,
            size=size,
            platforms={platform: platforms[platform].digest for platform in sorted(platforms)},
            ref=ref_of(wanted),
            commit=binding.commit if binding and binding.commit else commit_of(wanted),
            recipe=binding.recipe if binding and binding.recipe else wanted.recipe.hash,
            published=before.published if before and same else time,
            evidence=evidence.index,
            legacy=dict(evidence.legacy or {}),
            proofs={kind: found for kind, found in evidence.findings.items() if isinstance(found, Proven)},
            binding=binding,
            authority=evidence.authority,
            policy=policy,
            checked=time,
            replaced=replaced,
        )
        recipe = wanted.recipe.hash
        return replace(
            image,
            tags={**image.tags, wanted.target.tag: tag},
            pending={key: value for key, value in image.pending.items() if key != recipe},
            failures={key: value for key, value in image.failures.items() if key != wanted.recipe.attempt},
        )

    return _image(wanted.target, change)


def pointed(target: TagRef, version: Version, digest: Digest) -> Update:
    """The pointer names `version` at `digest`."""

    def change(image: ImageRecord) -> ImageRecord:
        return replace(image, pointers={**image.pointers, target.tag: RecordedPointer(str(version), digest)})

    return _image(target, change)
