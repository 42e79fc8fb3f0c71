"""Downloads that a build makes, compared before it begins: with what upstream publishes, or with what they once were.

What is to be expected of a URL is, in this order: the sha256 that the desired file has for it (`known`), the one in
upstream's list (`at`), and where there is neither, the one that it had when it was seen first, which stands in the
record. A file that changed since then is drift that nobody announced: the build doesn't take it silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from reconciler.apply import recording
from reconciler.errors import BuildError
from reconciler.model.platform import Platform
from reconciler.model.recipe import Recipe
from reconciler.model.record import ImageRecord
from reconciler.model.template import for_platform
from reconciler.model.wanted import Wanted
from reconciler.record import Records


class Downloads(Protocol):
    """Whoever can tell of files that stand at URLs; `upstream.Upstreams` does."""

    async def published_checksum(self, url: str, name: str) -> str:
        """The sha256 that the list at `url` has for the file `name`; UpstreamError."""
        ...

    async def sha256_of(self, url: str) -> str:
        """The sha256 of what is at `url`, read to its end; UpstreamError."""
        ...


@dataclass(frozen=True, slots=True)
class Expected:
    """One download of one platform: its URL, and what it must be: `sha256`, or what `at` lists (both may be empty)."""

    url: str
    sha256: str = ""
    at: str = ""

    @property
    def name(self) -> str:
        """The file's name, as a list of checksums has it."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def expected(recipe: Recipe, platform: Platform) -> tuple[Expected, ...]:
    """What a platform's build downloads, each URL once, in the recipe's order; pure.

    An exact URL whose sum is known counts for the platforms whose template gives just that URL, and for all of them
    where no template gives it.
    """
    return tuple({one.url: one for one in _expected(recipe, platform)}.values())


def _expected(recipe: Recipe, platform: Platform) -> Iterator[Expected]:
    known = {one.url: one.sha256 for one in recipe.checksums if one.sha256}
    templates = [one for one in recipe.checksums if not one.sha256]
    for one in templates:
        url = for_platform(one.url, platform)
        yield Expected(url, known.get(url, ""), for_platform(one.at, platform))
    for url, sha256 in known.items():
        if not any(_may_give(one.url, url) for one in templates):
            yield Expected(url, sha256)


def _may_give(template: str, url: str) -> bool:
    """Whether some platform's URL by `template` may be `url`: what stands around its placeholders is the same."""
    start, end = template.partition("{")[0], template.rpartition("}")[2]
    return url == template or ("{" in template and url.startswith(start) and url.endswith(end))


@dataclass(frozen=True, slots=True)
class Checksums:
    """Checks the downloads of builds, each read once a run; what is seen first is recorded."""

    downloads: Downloads
    records: Records
    _read: dict[str, asyncio.Task[str]] = field(default_factory=dict, init=False, repr=False)

    async def check(self, wanted: Wanted, platform: Platform) -> None:
        """BuildError where a download isn't what it must be, UpstreamError where that can't be told."""
        where = f"{wanted.app}:{wanted.release.version}"
        for one in expected(wanted.recipe, platform):
            found = await self._sha256_of(one.url)
            if one.sha256:
                _same(one.url, found, one.sha256, "the desired file says", where, _KNOWN)
            elif one.at:
                published = await self.downloads.published_checksum(one.at, one.name)
                _same(one.url, found, published, f"{one.at} says", where, _PUBLISHED)
            elif before := self._seen(wanted).checksums.get(one.url):
                _same(one.url, found, before, "it was when it was seen first", where, _SEEN)
            else:
                self.records.update(wanted.app, recording.first_seen(wanted, one.url, found))

    async def _sha256_of(self, url: str) -> str:
        # hundreds of megabytes, for several apps or platforms at once: one who stops waiting leaves it to the others
        if url not in self._read:
            self._read[url] = asyncio.create_task(self._ask(url))
        return await asyncio.shield(self._read[url])

    async def _ask(self, url: str) -> str:
        return await self.downloads.sha256_of(url)

    def _seen(self, wanted: Wanted) -> ImageRecord:
        return self.records.load(wanted.app).images.get(str(wanted.target.repository)) or ImageRecord()


_KNOWN = "find out which is right; if the file is, change `known` under `checksums` in the desired file"
_PUBLISHED = "upstream's file and upstream's list don't fit each other: ask upstream, nothing was built"
_SEEN = "upstream changed a file that it had released: find out why; if it is right, write its sha256 under `known`"


def _same(url: str, found: str, wanted: str, by: str, where: str, todo: str) -> None:
    if found != wanted:
        raise BuildError(
            f"checksum mismatch: {url} is sha256:{found}, and {by} sha256:{wanted}", where=where, todo=todo
        )
