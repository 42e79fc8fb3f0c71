"""The window: which releases of an app must exist, and why others aren't among them.

    releases --filters--> eligible, highest first --count--> window --ranges, adopt--> members

A release is eligible if it is stable (a hyphen suffix is a pre-release) and neither `versions` nor `exclude` rules it
out. The window is the highest `count` of them. With `skip-blocked`, blocked ones don't count: the window reaches
further down until `count` unblocked ones are in it, but looks at no more than three times `count`. Blocked ones
above its end stay in it and say why. The highest match of each named range and each adopted version join it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.ranges import Range
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.model.evidence import Unknown
from reconciler.model.release import Release
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Waiting

Hindrance = Unknown | Blocked | Waiting
# why an image of a release can't be built now, by (image, version)
Hindrances = Mapping[tuple[str, Version], Hindrance]

REACH = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """The members of the window, highest first; what the filters rule out; a line per release one may miss in it."""

    members: tuple[Release, ...]
    ruled_out: frozenset[Version]
    considered: tuple[str, ...]


def ruled_out_by(app: App, version: Version) -> str:
    """The filter that rules a version out, in words; empty where none does."""
    if app.upstream.versions is not None and not app.upstream.versions.holds(version):
        return f"outside of versions {app.upstream.versions}"
    for entry in app.upstream.exclude:
        if entry.holds(version):
            return f"excluded by {entry}"
    return ""


def select(desired: Desired, app: App, releases: Iterable[Release], hindrances: Hindrances) -> Selection:
    """The releases of an app that must exist, whatever the order of `releases`."""
    # one release per version: the pattern of tags lets no two tags name the same one, a confused upstream might
    by_version = {release.version: release for release in sorted(releases, key=lambda r: (r.tag, r.commit, r.date))}
    ranked = sorted(by_version.values(), key=lambda release: release.version, reverse=True)
    reasons = {r.version: "pre-release" if not r.version.stable else ruled_out_by(app, r.version) for r in ranked}
    eligible = [release for release in ranked if not reasons[release.version]]
    # what can't be told now is no reason to look at other releases
    blocked = frozenset(
        version for (image, version), why in hindrances.items() if image in app.images and not isinstance(why, Unknown)
    )
    window = desired.window(app)
    skipped = blocked if window.skip_blocked else frozenset[Version]()
    members = _highest(eligible, window.count, skipped)
    floor = members[-1].version if members else None
    for wanted in _ranges(desired, app):
        members += _highest([release for release in eligible if wanted.holds(release.version)], 1, skipped)
    adopted = {version for image in app.images.values() for version in image.adopt}
    members += [release for release in eligible if release.version in adopted]
    considered = [
        f"{release.version}: {reasons[release.version]}"
        for release in ranked
        if reasons[release.version] and (floor is None or release.version > floor)
    ]
    for version in sorted(adopted, reverse=True):
        if version not in by_version:
            considered.append(f"{version}: adopt names it, but upstream has no such release")
        elif reasons[version]:
            considered.append(f"{version}: adopt names it, but it is {reasons[version]}")
    withdrawn = {version for version, reason in reasons.items() if reason and version.stable}
    withdrawn |= {entry.version for entry in app.upstream.exclude if entry.version is not None}
    unique = {release.version: release for release in members}
    return Selection(
        tuple(sorted(unique.values(), key=lambda release: release.version, reverse=True)),
        frozenset(withdrawn),
        tuple(dict.fromkeys(considered)),
    )


def _highest(eligible: Sequence[Release], count: int, skipped: Collection[Version]) -> list[Release]:
    """The first `count` that aren't skipped, with the skipped ones between them."""
    found: list[Release] = []
    pending: list[Release] = []
    unblocked = 0
    for release in eligible[: count if not skipped else count * REACH]:
        pending.append(release)
        if release.version not in skipped:
            found += pending
            pending = []
            unblocked += 1
            if unblocked == count:
                break
    # where the reach ends before the window is full, what a plain window would hold is still wanted
    return found if len(found) >= count else list(eligible[: max(count, len(found))])


def _ranges(desired: Desired, app: App) -> list[Range]:
    found = {r.text: r for image in app.images.values() for _, r in desired.pointers(app, image).ranges}
    return [found[text] for text in sorted(found)]
