"""What no single file can tell: names that are taken, bases that aren't there, circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.desired.nodes import Part
from reconciler.desired.schema.app import App
from reconciler.desired.schema.base import nearest
from reconciler.desired.schema.mirror import Mirror
from reconciler.model.reference import Repository


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in an app's file: its path there, what is wrong, what to write."""

    app: str
    path: tuple[Part, ...]
    what: str
    todo: str = ""


def across(mirror: Mirror | None, apps: Iterable[App], elsewhere: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """All mistakes between apps that are each valid alone, in order.

    `elsewhere`: images that files with mistakes name; that they are wrong themselves makes nobody else wrong.
    """
    ordered = sorted(apps, key=lambda app: app.app)
    owners: dict[str, App] = {}
    for app in ordered:
        for name in sorted(app.images):
            if name in owners:
                what = f"the image {name} is that of {owners[name].app}.yaml already"
                yield Finding(app.app, ("images", name), what, "give it another name: each has a repository of its own")
            else:
                owners[name] = app
            if mirror is not None:
                yield from _address(mirror, app, name)
    for app in ordered:
        yield from _bases(mirror, app, owners, elsewhere)
    yield from _circles(owners)


def _address(mirror: Mirror, app: App, name: str) -> Iterator[Finding]:
    try:
        Repository.parse(f"{mirror.registry}/{mirror.namespace}/{name}")
    except ValueError as error:
        yield Finding(app.app, ("images", name), str(error), "give it a shorter name")


def _bases(mirror: Mirror | None, app: App, owners: Mapping[str, App], elsewhere: frozenset[str]) -> Iterator[Finding]:
    for name in sorted(app.images):
        for called, base in sorted(app.images[name].bases.items()):
            path = ("images", name, "bases", called)
            if base not in owners:
                if base not in elsewhere:
                    yield Finding(app.app, path, f"no app has an image {base!r}", nearest(base, sorted(owners)))
                continue
            lacking = _platforms(mirror, app) - _platforms(mirror, owners[base])
            if lacking:
                some = ", ".join(sorted(lacking))
                todo = f"add {some} to the platforms of {owners[base].app}.yaml, or take it from this app's"
                yield Finding(app.app, path, f"{base} isn't built for {some}", todo)


def _platforms(mirror: Mirror | None, app: App) -> set[str]:
    return {str(p) for p in app.platforms or (mirror.defaults.platforms if mirror else ())}


def _circles(owners: Mapping[str, App]) -> Iterator[Finding]:
    """Each circle of bases once, at its first image by name; without recursion: there may be thousands in a row."""
    needs = {name: sorted(set(app.images[name].bases.values()) & set(owners)) for name, app in owners.items()}
    # what is left after taking away, again and again, all that needs nothing
    needed_by: dict[str, list[str]] = {name: [] for name in needs}
    for name, bases in needs.items():
        for base in bases:
            needed_by[base].append(name)
    open_needs = {name: len(bases) for name, bases in needs.items()}
    free = [name for name, count in open_needs.items() if count == 0]
    while free:
        for name in needed_by[free.pop()]:
            open_needs[name] -= 1
            if open_needs[name] == 0:
                free.append(name)
    left = {name for name, count in open_needs.items() if count}
    seen: set[str] = set()
    for start in sorted(left):
        trail: list[str] = []
        name = start
        while name not in seen:
            seen.add(name)
            trail.append(name)
            name = next(base for base in needs[name] if base in left)
        if name in trail:
            circle = trail[trail.index(name) :]
            first = circle.index(min(circle))
            circle = circle[first:] + circle[:first]
            what = f"images built on each other in a circle: {' -> '.join([*circle, circle[0]])}"
            yield Finding(owners[circle[0]].app, ("images", circle[0], "bases"), what, "take one of these bases away")
