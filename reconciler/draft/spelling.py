"""How an upstream's tags spell versions; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.desired.ranges import TagPattern
from reconciler.model.version import Version

_DOTTED = re.compile(r"(.*?)(\d{1,10}(?:\.\d{1,10}){1,7})([^0-9.].*|)", re.ASCII)
_SINGLE = re.compile(r"([^0-9]*)(\d{1,10})([^0-9.].*|)", re.ASCII)
# what follows the numbers of a pre-release; a plain number is one too (1.9.2-0)
_EARLY = re.compile(
    r"[-_.+]?(?:rc|alpha|beta|dev|pre|preview|test|snapshot|nightly|canary|next|[abm])?[-_.]?\d.*"
    r"|[-_.+]?(?:rc|alpha|beta|dev|pre|preview|test|snapshot|nightly|canary|next)\b.*",
    re.ASCII | re.IGNORECASE,
)
_MAX_TAGS = 100_000


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to spell versions, and those that are spelled so, highest first."""

    pattern: TagPattern
    versions: tuple[Version, ...]


def spellings(tags: Iterable[str]) -> tuple[Spelling, ...]:
    """Every way that stable versions are spelled in, the one with most of them first; the higher ones break a tie.

    What was spelled so only once was somebody's try-out, unless nothing was spelled otherwise.
    """
    listed = list(tags)[:_MAX_TAGS]
    every = _grouped(listed, _DOTTED) or _grouped(listed, _SINGLE)
    found = [one for one in every if len(one.versions) > 1] or every
    return tuple(sorted(found, key=lambda one: (len(one.versions), one.versions[0]), reverse=True))


def _grouped(tags: Iterable[str], shape: re.Pattern[str]) -> list[Spelling]:
    groups: dict[tuple[str, str], set[Version]] = defaultdict(set)
    for tag in tags:
        match = shape.fullmatch(tag)
        if match is not None and not _EARLY.fullmatch(match[3]):
            groups[match[1], match[3]].add(Version.parse(match[2]))
    found = []
    for (before, after), versions in groups.items():
        try:
            pattern = TagPattern.parse(f"{before}{{version}}{after}")
        except ValueError:
            continue
        found.append(Spelling(pattern, tuple(sorted(versions, reverse=True))))
    return found
