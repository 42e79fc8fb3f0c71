"""What is wanted of an app because of what the desired files say and what upstream released; pure.

What can't be built without asking someone is told by `sources` (refs that must be resolved to commits) and `probes`
(URLs that must answer). With `skip-blocked` a negative answer makes the window reach further: ask again with the
hindrances found, until there is nothing new to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.desired.recipes import Commits, known_commit, recipe, source_of
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired, in_order
from reconciler.desired.window import Hindrance, Hindrances, Selection, select
from reconciler.model.platform import Platform
from reconciler.model.reference import TagRef
from reconciler.model.release import Release
from reconciler.model.template import for_platform, for_release
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Wanted, WantedApp, WantedPointer

_NONE: Hindrances = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Probe:
    """A URL that must answer before that image of that release can be built for that platform."""

    image: str
    version: Version
    platform: Platform
    url: str


def sources(
    desired: Desired, app: App, releases: Sequence[Release], hindrances: Hindrances = _NONE
) -> frozenset[tuple[str, str]]:
    """URL and ref of each git source in the window whose commit upstream hasn't told yet."""
    chosen = select(desired, app, releases, hindrances)
    found = set()
    for release in chosen.members:
        for image in app.images.values():
            source = source_of(app, image, release)
            if source[0] and not known_commit(app, source, release):
                found.add(source)
    return frozenset(found)


def probes(
    desired: Desired, app: App, releases: Sequence[Release], hindrances: Hindrances = _NONE
) -> tuple[Probe, ...]:
    """What must answer for each release in the window, image and platform; highest version first."""
    platforms = desired.platforms(app)
    return tuple(
        Probe(name, release.version, platform, for_platform(for_release(url, release), platform))
        for release in select(desired, app, releases, hindrances).members
        for name in in_order(app)
        for url in sorted(set(app.images[name].requires))
        for platform in platforms
    )


def wanted(
    desired: Desired,
    app: App,
    releases: Sequence[Release],
    commits: Commits = MappingProxyType({}),
    hindrances: Hindrances = _NONE,
) -> WantedApp:
    """The tags that should exist and the pointers to them, whatever the order of `releases`.

    `commits` says what each source of `sources` names: one that it leaves out doesn't exist, and blocks what is built
    from it. `hindrances` says why an image of a release can't be built now (probes, checksums).
    """
    chosen = select(desired, app, releases, hindrances)
    names = in_order(app)
    tags = tuple(
        _wanted(desired, app, name, release, commits, hindrances) for release in chosen.members for name in names
    )
    pointers = tuple(pointer for name in names for pointer in _pointers(desired, app, name, chosen))
    return WantedApp(app.app, tags, pointers, considered=chosen.considered)


def _wanted(
    desired: Desired, app: App, name: str, release: Release, commits: Commits, hindrances: Hindrances
) -> Wanted:
    built = recipe(desired, app, name, release, commits)
    return Wanted(
        app=app.app,
        image=name,
        target=desired.repository(name).tag(str(release.version)),
        release=release,
        platforms=desired.platforms(app),
        evidence=desired.evidence(app),
        recipe=built,
        needs=tuple(sorted({tag for _, tag in built.bases})),
        adopt=app.images[name].adopt.get(release.version),
        hindrance=hindrances.get((name, release.version)) or _no_commit(app, name, release, commits),
        on_recipe_change=desired.on_recipe_change(app),
        create=name in app.create,
    )


def _no_commit(app: App, name: str, release: Release, commits: Mapping[tuple[str, str], str]) -> Hindrance | None:
    source = source_of(app, app.images[name], release)
    if not source[0] or known_commit(app, source, release) or commits.get(source):
        return None
    return Blocked(f"{source[0]} has no ref {source[1]}", mistake=True)


def _pointers(desired: Desired, app: App, name: str, chosen: Selection) -> list[WantedPointer]:
    """The moving tags of an image; one that a release has as its own version is left to that release."""
    versions = [release.version for release in chosen.members]
    asked = desired.pointers(app, app.images[name])
    candidates: dict[str, list[Version]] = {}
    for version in versions:
        tags = ["latest"] * asked.latest + [version.major] * asked.major + [version.minor] * asked.minor
        for tag in dict.fromkeys([*tags, *(tag for tag, within in asked.ranges if within.holds(version))]):
            candidates.setdefault(tag, []).append(version)
    taken = {str(version) for version in versions}
    repository = desired.repository(name)
    return [
        WantedPointer(
            app.app, name, TagRef(repository, tag), tuple(candidates[tag]), chosen.ruled_out, desired.evidence(app)
        )
        for tag in sorted(candidates)
        if tag not in taken
    ]
