"""What upstream is asked for an app, and how much of the answer is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from packaging.version import Version as PackagingVersion

from reconciler.desired.ranges import Range
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.desired.window import REACH, Hindrances, ruled_out_by
from reconciler.model.evidence import Unknown
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, GitHubReleases, GitLabTags, GitTags, ImageTags, Upstream
from reconciler.model.version import Version

_LOWER_BOUNDS = frozenset({">=", ">", "==", "~="})


def upstream_of(app: App) -> tuple[Upstream, Filter]:
    """The source that is asked for an app's releases, and how its tags are spelled.

    What `versions` and `exclude` rule out is left to the window, which says why it isn't in there.
    """
    asked = app.upstream
    spelled = Filter(str(asked.tag))
    if asked.github is not None:
        return GitHubReleases(asked.github), spelled
    if asked.gitlab is not None:
        parts = urlsplit(asked.gitlab)
        return GitLabTags(parts.netloc, parts.path.strip("/")), spelled
    if asked.git is not None:
        return GitTags(asked.git), spelled
    assert asked.image is not None  # noqa: S101 - the schema wants exactly one of the four
    return ImageTags(asked.image), spelled


def is_enough(desired: Desired, app: App, hindrances: Hindrances) -> Callable[[Sequence[Release]], bool]:
    """Whether these releases, the highest first, hold all that the window, its pointers and `adopt` may want.

    The highest versions can stand anywhere in what upstream lists, so the callee offers them by version, not by date.
    """
    window = desired.window(app)
    hindered = {version for (_, version), why in hindrances.items() if not isinstance(why, Unknown)}
    blocked = hindered if window.skip_blocked else set[Version]()
    ranges = {found.text: found for image in app.images.values() for _, found in desired.pointers(app, image).ranges}
    adopted = {version for image in app.images.values() for version in image.adopt}

    def enough(releases: Sequence[Release]) -> bool:
        eligible = [r.version for r in releases if r.version.stable and not ruled_out_by(app, r.version)]
        unblocked = sum(version not in blocked for version in eligible)
        if unblocked < window.count and not (blocked and len(eligible) >= window.count * REACH):
            return False
        lowest = releases[-1].version
        if any(not any(map(found.holds, eligible)) and not _is_below(lowest, found) for found in ranges.values()):
            return False
        return all(version in eligible or lowest < version for version in adopted)

    return enough


def _is_below(version: Version, found: Range) -> bool:
    """Whether nothing at or below `version` can be in a range."""
    numbers = PackagingVersion(".".join(map(str, version.numbers)))
    bounds = [PackagingVersion(s.version.removesuffix(".*")) for s in found.specifiers if s.operator in _LOWER_BOUNDS]
    return any(numbers < bound for bound in bounds)
