"""Versions of upstream releases: ordered by number, never as text or by date."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Self

from reconciler.model.text import Text

# bounded, so that a hostile tag costs nothing: int() of a long digit string is quadratic
_GRAMMAR = re.compile(
    r"(\d{1,10}(?:\.\d{1,10}){0,7})((?:[-_+][0-9A-Za-z]|[._]?[A-Za-z])[0-9A-Za-z.+_-]{0,99})?", re.ASCII
)
_CHUNK = re.compile(r"\d+|[A-Za-z]+", re.ASCII)

Key = tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...], str]


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version(Text):
    """Dotted numbers with an optional suffix; anything after the numbers makes it a pre-release.

    `1.9.2-0` is below `1.9.2` (SemVer 11.3), where `packaging` alone reads a post-release, above it. `10.3` and
    `10.3.0` have the same rank but are two versions: their text breaks the tie.
    """

    text: str
    numbers: tuple[int, ...]
    suffix: str
    key: Key = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that `text` names; ValueError where it doesn't start with dotted numbers."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} is no version: it must be dotted numbers, like 10.3.1")
        numbers = tuple(map(int, match[1].split(".")))
        suffix = match[2] or ""
        rank = numbers
        while rank and rank[-1] == 0:
            rank = rank[:-1]
        # SemVer 11.4: numeric identifiers by number and below alphanumeric ones
        chunks = tuple((0, int(c[:18]), "") if c.isdigit() else (1, 0, c.lower()) for c in _CHUNK.findall(suffix))
        return cls(text, numbers, suffix, (rank, not suffix, chunks, text))

    @property
    def stable(self) -> bool:
        """Whether it may enter a window: nothing follows the numbers."""
        return not self.suffix

    @property
    def major(self) -> str:
        """`10` of 10.3.1."""
        return str(self.numbers[0])

    @property
    def minor(self) -> str:
        """`10.3` of 10.3.1; `10` of a version with one number."""
        return ".".join(map(str, self.numbers[:2]))

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Version) -> bool:
        return self.key < other.key

    def __str__(self) -> str:
        return self.text
