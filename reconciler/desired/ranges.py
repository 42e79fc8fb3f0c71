"""Ranges of versions (`>=10.5,<11`) and the patterns that turn tags into versions and back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version as PackagingVersion

from reconciler.model.text import Text
from reconciler.model.upstream import check_ref
from reconciler.model.version import Version

_PLACE = "{version}"
# what a git ref may hold (git-check-ref-format) and no shell, URL or Markdown cares about
_AROUND = re.compile(r"[A-Za-z0-9._/+@=-]{0,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range(Text):
    """A set of versions, as packaging's specifiers say it: `>=10.5`, `>=11.7,<11.8`, `!=10.3.2`."""

    text: str
    specifiers: SpecifierSet = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The range that `text` names; ValueError where it isn't one."""
        try:
            if len(text) > 200 or not text.strip():
                raise InvalidSpecifier(text)
            specifiers = SpecifierSet(text)
        except InvalidSpecifier:
            raise ValueError(f"{text[:80]!r} is no range of versions: write it like >=10.5,<11") from None
        if any(s.operator == "===" for s in specifiers):
            raise ValueError(f"{text[:80]!r} compares text: write == or a range like >=10.5,<11")
        return cls(text, specifiers)

    def holds(self, version: Version) -> bool:
        """Whether a stable version is in it; a version with a suffix never is."""
        return version.stable and self.specifiers.contains(PackagingVersion(str(version)), prereleases=True)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Exclusion(Text):
    """One entry of `exclude`: a version (`10.3` means 10.3.0 as well), a line (`10.4.*`), or a range."""

    text: str
    version: Version | None = None
    range: Range | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version or the range that `text` names; ValueError where it names neither."""
        if text.endswith(".*"):
            return cls(text, range=Range.parse(f"=={text}"))
        if text[:1].isdigit():
            return cls(text, version=Version.parse(text))
        return cls(text, range=Range.parse(text))

    def holds(self, version: Version) -> bool:
        """Whether it excludes that version."""
        if self.version is None:
            return self.range is not None and self.range.holds(version)
        return version.key[:3] == self.version.key[:3]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TagPattern(Text):
    """How upstream spells its tags: text with `{version}` in it exactly once."""

    before: str
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern that `text` is; ValueError where `{version}` isn't in it exactly once."""
        before, place, after = text.partition(_PLACE)
        if not place or _PLACE in after:
            raise ValueError(
                f"{text[:80]!r} must hold {{version}} exactly once: write upstream's tags like v{{version}}"
            )
        if not _AROUND.fullmatch(before) or not _AROUND.fullmatch(after) or before.startswith("-"):
            raise ValueError(f"{text[:80]!r} is no pattern of tags: write letters, digits or . _ / + @ = -")
        try:
            check_ref(f"{before}1.2.3{after}")
        except ValueError:
            raise ValueError(f"{text[:80]!r} is no pattern of tags: write what git takes, like v{{version}}") from None
        return cls(before, after)

    def version(self, tag: str) -> Version | None:
        """The version that a tag of upstream's names; None for a tag of another kind."""
        if (
            len(tag) < len(self.before) + len(self.after)
            or not tag.startswith(self.before)
            or not tag.endswith(self.after)
        ):
            return None
        try:
            return Version.parse(tag[len(self.before) : len(tag) - len(self.after)])
        except ValueError:
            return None

    def tag(self, version: Version) -> str:
        """The tag of that version."""
        return f"{self.before}{version}{self.after}"

    def __str__(self) -> str:
        return f"{self.before}{_PLACE}{self.after}"
