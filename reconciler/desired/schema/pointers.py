"""Moving tags: which an image has, and what each may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import PlainValidator

from reconciler.desired.ranges import Range
from reconciler.desired.schema.base import Wrong, nearest, raise_all
from reconciler.model.reference import check_tag

STANDARD = ("latest", "major", "minor")
_LIKE_A_VERSION = re.compile(r"v?[0-9]+(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pointers:
    """`latest`, `major`, `minor`, and named ranges.

    A list says exactly which there are. A mapping adds to the defaults (`esr: ">=11.7,<11.8"`) or takes from them
    (`latest: false`), and may narrow `latest` to a range.
    """

    whole: bool
    entries: tuple[tuple[str, Range | bool], ...]

    @classmethod
    def read(cls, value: Any) -> Self:
        """What a list or a mapping says; Wrong, with all that is, where it can't be."""
        if not isinstance(value, tuple | dict):
            raise Wrong("pointers are a list or a mapping", 'write [latest, major] or {esr: ">=11.7,<11.8"}')
        entries: list[tuple[str, Range | bool]] = []
        wrongs: list[Wrong] = []
        for at, item in value.items() if isinstance(value, dict) else enumerate(value):
            try:
                entries.append(_entry(at, item) if isinstance(at, str) else (_standard(item, at), True))
            except Wrong as wrong:
                wrongs.append(wrong)
        raise_all(wrongs)
        return cls(isinstance(value, tuple), tuple(dict(entries).items()))

    def over(self, defaults: Pointers) -> Pointers:
        """These on top of the defaults."""
        return self if self.whole else Pointers(False, tuple({**dict(defaults.entries), **dict(self.entries)}.items()))

    @property
    def latest(self) -> bool:
        """Whether `latest` goes to the highest version of all."""
        return dict(self.entries).get("latest") is True

    @property
    def major(self) -> bool:
        """Whether there is one per major version."""
        return dict(self.entries).get("major") is True

    @property
    def minor(self) -> bool:
        """Whether there is one per minor version."""
        return dict(self.entries).get("minor") is True

    @property
    def ranges(self) -> tuple[tuple[str, Range], ...]:
        """Tag and range of the named ones, by name."""
        return tuple(sorted((n, r) for n, r in self.entries if isinstance(r, Range)))


def _standard(name: Any, at: str | int) -> str:
    if not isinstance(name, str) or name not in STANDARD:
        raise Wrong(
            f"{str(name)[:80]!r} is no pointer",
            f'{nearest(str(name), STANDARD)}; named ranges are a mapping, like {{esr: ">=11.7,<11.8"}}',
            at=(at,),
        )
    return name


def _entry(name: str, what: Any) -> tuple[str, Range | bool]:
    if isinstance(what, bool):
        return _standard(name, name), what
    if name in ("major", "minor"):
        raise Wrong(f"{name} is one pointer per {name} version", "write true or false", at=(name,))
    if not isinstance(what, str):
        raise Wrong(f"{name[:80]!r} needs a range of versions", 'write it like ">=11.7,<11.8"', at=(name,))
    if _LIKE_A_VERSION.fullmatch(name):
        raise Wrong(f"{name[:80]!r} looks like a version", "give it a name like esr or stable", at=(name,))
    try:
        return check_tag(name), Range.parse(what)
    except ValueError as error:
        raise Wrong.of(error, at=(name,)) from None


PointersField = Annotated[Pointers, PlainValidator(Pointers.read)]
