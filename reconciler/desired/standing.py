"""Why each release is in an app's window, or isn't; pure.

standings(…) -> 1.9.2  in   one of the 10 highest
                1.9.1  out  GitHub calls it a pre-release
                1.8.0  out  lower than the 10 highest
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.desired.window import Hindrances, ruled_out_by, select
from reconciler.model.evidence import Unknown
from reconciler.model.release import Release
from reconciler.model.version import Version

# a version that upstream's own listing passes over: it, its tag, and why
Passed = tuple[Version, str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """One release: whether it must exist (`inside`) and why; `held`: why an image of it can't be built now."""

    release: Release
    inside: bool
    reason: str
    held: tuple[str, ...] = ()


def standings(
    desired: Desired, app: App, releases: Sequence[Release], passed_over: Iterable[Passed], hindrances: Hindrances
) -> tuple[Standing, ...]:
    """Every release that was considered, the highest first."""
    members = {release.version for release in select(desired, app, releases, hindrances).members}
    unique = {release.version: release for release in releases}
    eligible = sorted((v for v in unique if v.stable and not ruled_out_by(app, v)), reverse=True)
    ranges = dict(_ranges(desired, app, eligible, hindrances))
    found = {
        version: Standing(
            release,
            version in members,
            _reason(desired, app, version, version in members, eligible, ranges),
            tuple(_held(app, version, hindrances)),
        )
        for version, release in unique.items()
    }
    for version, tag, reason in passed_over:
        found.setdefault(version, Standing(Release(version, tag), False, reason))
    return tuple(found[version] for version in sorted(found, reverse=True))


def _reason(
    desired: Desired,
    app: App,
    version: Version,
    inside: bool,
    eligible: Sequence[Version],
    ranges: Mapping[Version, str],
) -> str:
    count = desired.window(app).count
    of = f"the {count} highest" if count > 1 else "the highest"
    if not inside:
        if not version.stable:
            return "a pre-release: something follows its numbers"
        return ruled_out_by(app, version) or f"lower than {of}"
    reasons = []
    if version in eligible[:count]:
        reasons.append(f"one of {of}" if count > 1 else "the highest")
    if version in ranges:
        reasons.append(f"the highest of {ranges[version]}")
    if any(version in image.adopt for image in app.images.values()):
        reasons.append("`adopt` names it")
    return ", ".join(reasons) or "in the place of one that can't be built (skip-blocked)"


def _ranges(
    desired: Desired, app: App, eligible: Sequence[Version], hindrances: Hindrances
) -> Iterator[tuple[Version, str]]:
    """The version that each named range brings into the window."""
    skip = desired.window(app).skip_blocked
    blocked = {version for (_, version), why in hindrances.items() if skip and not isinstance(why, Unknown)}
    for image in app.images.values():
        for name, within in desired.pointers(app, image).ranges:
            inside = [version for version in eligible if within.holds(version)]
            best = next((version for version in inside if version not in blocked), inside[0] if inside else None)
            if best is not None:
                yield best, f"{name} ({within})"


def _held(app: App, version: Version, hindrances: Hindrances) -> Iterator[str]:
    for name in sorted(app.images):
        why = hindrances.get((name, version))
        if why is not None:
            yield why.reason if len(app.images) == 1 else f"{name}: {why.reason}"
