"""What every kind of source has in common: what it is asked, with what, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from reconciler.model.observed import Absent
from reconciler.model.reference import Repository
from reconciler.model.release import Release
from reconciler.model.version import Version

Enough = Callable[[Sequence[Release]], bool]
"""Whether these confirmed releases, highest first, are all that is needed: confirming another may cost a request."""


def at_least(count: int) -> Enough:
    """Enough are the `count` highest."""
    return lambda releases: len(releases) >= count


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A tag that names a version and yet is no release that counts, and why."""

    version: Version
    tag: str
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source has: the releases that count, and the versions passed over, both with the highest first.

    Passed over are only versions above the lowest release given back: those that one might expect among them.
    """

    releases: tuple[Release, ...]
    passed_over: tuple[PassedOver, ...] = ()


class Lister(Protocol):
    """A registry's client, as far as an image upstream needs it."""

    async def tags(self, repository: Repository) -> Sequence[str] | Absent:
        """All tags of a repository, over all pages; RegistryError where they can't be told."""
        ...


@dataclass(frozen=True, slots=True)
class There:
    """It answers."""


@dataclass(frozen=True, slots=True)
class NotThere:
    """Definitely not there (404 or 410), and what was said."""

    reason: str


def utc(text: object) -> str:
    """An API's date as RFC 3339 in UTC, to the second; empty where it is none."""
    if not isinstance(text, str) or len(text) > 40:
        return ""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.tzinfo is not None else ""
    except (ValueError, OverflowError):
        return ""
