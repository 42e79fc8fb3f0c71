"""Which tags are releases that count: stable, in the range, not excluded; ordered by number (never by date or text)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from reconciler.model.release import Release
from reconciler.model.upstream import Filter
from reconciler.model.version import Version
from reconciler.upstream.interface import PassedOver, Survey

_OPERATOR = re.compile(r"\s*(?:[<>=!~])")


@dataclass(frozen=True, slots=True)
class Sieve:
    """A filter, ready for use; make it with `of`."""

    filter: Filter
    versions: SpecifierSet
    ranges: tuple[SpecifierSet, ...]
    patterns: tuple[str, ...]
    exact: frozenset[tuple[tuple[int, ...], str]]

    @classmethod
    def of(cls, given: Filter) -> Sieve:
        """The filter's sieve; ValueError where a range or an excluded version makes no sense."""
        ranges: list[SpecifierSet] = []
        patterns: list[str] = []
        exact: set[tuple[tuple[int, ...], str]] = set()
        for text in given.exclude:
            if _OPERATOR.match(text):
                ranges.append(_specifier(text))
            elif set(text) & set("*?["):
                patterns.append(text)
            else:
                exact.add(_rank(Version.parse(text)))
        return cls(given, _specifier(given.versions), tuple(ranges), tuple(patterns), frozenset(exact))

    def rules_out(self, version: Version) -> str:
        """Why the desired state doesn't let this version count; empty where it does."""
        if not version.stable:
            return f"{version} is a pre-release"
        if not _contains(self.versions, version):
            return f"{version} isn't in the range {self.filter.versions}"
        if (
            _rank(version) in self.exact
            or any(fnmatchcase(str(version), pattern) for pattern in self.patterns)
            or any(_contains(spec, version) for spec in self.ranges)
        ):
            return f"{version} is excluded"
        return ""

    def candidates(self, tags: Mapping[str, str]) -> list[Release]:
        """The releases that `tags` (name to commit) may hold, highest version first."""
        releases = []
        for tag, commit in tags.items():
            version = self.filter.version_of(tag)
            if version is not None and not self.rules_out(version):
                releases.append(Release(version, tag, commit))
        return sorted(releases, key=lambda release: release.version, reverse=True)

    def survey(
        self, tags: Iterable[str], releases: Iterable[Release], passed_over: Iterable[PassedOver] = ()
    ) -> Survey:
        """What counts of `tags`, and what doesn't: to what the source passed over comes what the sieve did."""
        chosen = tuple(releases)
        lowest = chosen[-1].version if chosen else None
        others = list(passed_over)
        for tag in tags:
            version = self.filter.version_of(tag)
            if version is not None and (reason := self.rules_out(version)):
                others.append(PassedOver(version, tag, reason))
        above = [one for one in others if lowest is None or one.version > lowest]
        return Survey(chosen, tuple(sorted(above, key=lambda one: one.version, reverse=True)))


def _rank(version: Version) -> tuple[tuple[int, ...], str]:
    # 10.3 in a desired file means 10.3.0 as well
    return version.key[0], version.suffix


def _contains(spec: SpecifierSet, version: Version) -> bool:
    # only numbers get here, which packaging orders as we do; what is no PEP 440 version is outside of any range
    return spec.contains(".".join(map(str, version.numbers)), prereleases=True)


def _specifier(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{text[:80]!r} is no range of versions: write it like >=10.5 or >=10.5,<12") from None
