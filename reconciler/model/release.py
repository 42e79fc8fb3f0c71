"""What upstream released."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.version import Version


@dataclass(frozen=True, slots=True)
class Release:
    """One upstream version: its tag as upstream spells it, the commit that tag names, and when it was released.

    `commit` is 40 or 64 lower-case hex digits (of the peeled tag), `sha256:…` for a release that is an image, or empty
    where upstream can't say. `date` is RFC 3339 in UTC, or empty.
    """

    version: Version
    tag: str
    commit: str = ""
    date: str = ""
