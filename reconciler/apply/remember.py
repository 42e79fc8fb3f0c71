"""What a plan saw as wanted goes into the records, so that the next one is warm; pure but for `Records`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from reconciler.apply import recording
from reconciler.model.observed import PointedAt, Present
from reconciler.model.record import ImageRecord, Record, RecordedPointer
from reconciler.model.wanted import Wanted
from reconciler.plan.decide import is_bound
from reconciler.plan.make import View
from reconciler.record import Records


def remember(views: Iterable[View], records: Records, policy: str, now: datetime) -> None:
    """Writes down each tag that was read from scratch and is whole, and where pointers are; RecordError.

    What was taken from a record stays as it is: its date of checking is that of the last look from scratch.
    """
    for view in views:
        if view.wanted.unknown is None:
            records.update(view.wanted.app, lambda record, view=view: _update(record, view, policy, now))  # type: ignore[misc]


def _update(record: Record, view: View, policy: str, now: datetime) -> Record:
    for wanted in view.wanted.tags:
        tag = view.tags[wanted.target].tag
        if isinstance(tag, Present) and _is_whole(wanted, tag):
            seen = recording.published(
                wanted,
                tag.digest,
                tag.media_type,
                tag.size,
                tag.platforms,
                tag.evidence,
                policy,
                now,
                why="found under the tag by a later run",
            )
            record = seen(record)
    for pointer in view.wanted.pointers:
        at = view.pointers[pointer.target]
        name = str(pointer.target.repository)
        image = record.images.get(name)
        if image is not None and isinstance(at, PointedAt) and at.version is not None:
            record = _pointing(record, name, image, pointer.target.tag, RecordedPointer(at.version, at.digest))
    return record


def _is_whole(wanted: Wanted, tag: Present) -> bool:
    evidence = tag.evidence
    return (
        not evidence.recalled
        and bool(evidence.authority)
        and is_bound(wanted, evidence.binding)
        and not tag.lacking(wanted.platforms)
        and not evidence.lacking(wanted.evidence)
    )


def _pointing(record: Record, name: str, image: ImageRecord, tag: str, at: RecordedPointer) -> Record:
    pointers = {**image.pointers, tag: at}
    return replace(record, images={**record.images, name: replace(image, pointers=pointers)})
