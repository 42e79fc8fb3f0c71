"""What no single file can tell: names that are taken, bases that aren't there, circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from reconciler.desired.nodes import Part
from reconciler.desired.schema.app import App
from reconciler.desired.schema.base import nearest
from reconciler.desired.schema.mirror import Mirror
from reconciler.model.reference import Repository, check_name


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in a file: its path there, what is wrong, what to write."""

    file: str
    path: tuple[Part, ...]
    what: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """What other files need to know of an app's file: its images with their bases by name in FROM, its platforms.

    `platforms`: None for the mirror's defaults. `whole`: whether the file itself is valid.
    """

    file: str
    images: Mapping[str, Mapping[str, str]]
    platforms: frozenset[str] | None
    whole: bool

    @classmethod
    def of(cls, file: str, app: App) -> Self:
        """The shape of a valid file."""
        platforms = frozenset(map(str, app.platforms)) if app.platforms is not None else None
        return cls(file, {name: image.bases for name, image in app.images.items()}, platforms, True)

    @classmethod
    def guess(cls, file: str, data: Any) -> Self:
        """What can be told of a file with mistakes, so that all of them are found in one go."""
        images = data.get("images")
        found: dict[str, dict[str, str]] = {}
        for name, image in images.items() if isinstance(images, dict) else ():
            if not _legal(name):
                continue
            bases = image.get("bases") if isinstance(image, dict) else None
            texts = bases.items() if isinstance(bases, dict) else ()
            found[name] = {called: base for called, base in texts if isinstance(base, str) and _legal(base)}
        return cls(file, found, None, False)


def _legal(name: str) -> bool:
    # what is illegal is reported by its own file, and must not reach the text of another's mistakes
    try:
        return bool(check_name(name))
    except ValueError:
        return False


def across(mirror: Mirror | None, shapes: Iterable[Shape]) -> Iterator[Finding]:
    """All mistakes between files, each in the file that has to change, in order."""
    ordered = sorted(shapes, key=lambda shape: shape.file)
    owners: dict[str, Shape] = {}
    for shape in ordered:
        for name in sorted(shape.images):
            if name in owners:
                what = f"the image {name[:80]} is that of {owners[name].file} already"
                yield Finding(shape.file, ("images", name), what, "give it another name: each has its own repository")
            else:
                owners[name] = shape
            if mirror is not None and shape.whole:
                yield from _address(mirror, shape, name)
    for shape in ordered:
        yield from _bases(mirror, shape, owners)
    yield from _circles(owners)


def _address(mirror: Mirror, shape: Shape, name: str) -> Iterator[Finding]:
    try:
        Repository.parse(f"{mirror.registry}/{mirror.namespace}/{name}")
    except ValueError:
        # each part is valid alone
        what = "registry, namespace and this name are longer than 255 characters together"
        yield Finding(shape.file, ("images", name), what, "give it a shorter name")


def _bases(mirror: Mirror | None, shape: Shape, owners: Mapping[str, Shape]) -> Iterator[Finding]:
    for name in sorted(shape.images):
        for called, base in sorted(shape.images[name].items()):
            path = ("images", name, "bases", called)
            if base not in owners:
                todo = nearest(base, sorted(owners)[:50])
                yield Finding(shape.file, path, f"no app has an image {base[:80]!r}", todo)
            elif shape.whole and owners[base].whole and mirror is not None:
                lacking = _platforms(mirror, shape) - _platforms(mirror, owners[base])
                if lacking:
                    some = ", ".join(sorted(lacking))
                    todo = f"add {some} to the platforms in {owners[base].file}, or take it from these"
                    yield Finding(shape.file, path, f"{base} isn't built for {some}", todo)


def _platforms(mirror: Mirror, shape: Shape) -> frozenset[str]:
    return frozenset(map(str, mirror.defaults.platforms)) if shape.platforms is None else shape.platforms


def _circles(owners: Mapping[str, Shape]) -> Iterator[Finding]:
    """Each circle of bases once, at its first image by name; without recursion: there may be thousands in a row."""
    needs = {
        name: sorted({base for base in shape.images[name].values() if base in owners}) for name, shape in owners.items()
    }
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
            yield Finding(owners[circle[0]].file, ("images", circle[0], "bases"), what, "take one of these bases away")
