"""What was released, and whether it is ready: every question that a run asks an upstream goes through `Upstreams`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from reconciler.errors import UpstreamError, UsageError
from reconciler.model.evidence import Unknown
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, GitHubReleases, GitLabTags, GitTags, ImageTags, Upstream
from reconciler.upstream import checksums, gitlab, image, probe
from reconciler.upstream.checkout import Checkout, checkout
from reconciler.upstream.etags import ETags
from reconciler.upstream.git import Git, NoRef
from reconciler.upstream.github import GitHub
from reconciler.upstream.http import Http, authority
from reconciler.upstream.interface import Enough, Lister, NotThere, PassedOver, Survey, There, at_least
from reconciler.upstream.patience import Clock, Patience
from reconciler.upstream.sieve import Sieve

__all__ = [
    "Checkout",
    "Clock",
    "Enough",
    "Lister",
    "NoRef",
    "NotThere",
    "PassedOver",
    "Patience",
    "Sieve",
    "Survey",
    "There",
    "Upstreams",
    "at_least",
]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upstreams:
    """One run's view of all upstreams: a URL is asked once, a host's limits hold for all. Make one with `open`."""

    http: Http
    git: Git
    github: GitHub
    lister: Lister | None = None
    _asked: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        env: Mapping[str, str],
        *,
        allow_private: bool = False,
        cache: Path | None = None,
        lister: Lister | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> AsyncIterator[Upstreams]:
        """Ready for questions, until the block ends.

        `env` gives GITHUB_API_URL, GITHUB_SERVER_URL and GITHUB_TOKEN (sent to that API's host alone); `cache` is the
        folder for ETags (None: no conditional requests); `lister` answers for image upstreams; `allow_private` is the
        operator's flag (rule 8). `transport` replaces the guarded one, in tests. Raises UsageError where `env` holds
        no URL or token.
        """
        api_url = _url(env, "GITHUB_API_URL", "https://api.github.com")
        server_url = _url(env, "GITHUB_SERVER_URL", "https://github.com")
        token = env.get("GITHUB_TOKEN", "").strip()
        if re.fullmatch(r"[!-~]*", token) is None:
            raise UsageError("GITHUB_TOKEN holds what no token can hold", todo="set it to the token alone, or unset it")
        http = Http(
            allow_private=allow_private,
            tokens={authority(api_url): token} if token else {},
            etags=ETags(cache) if cache is not None else None,
            patience=patience or Patience(),
            clock=clock or Clock(),
            transport=transport,
        )
        git = Git(http)
        upstreams = cls(http, git, GitHub(http, git, api_url, server_url), lister)
        async with http:
            try:
                yield upstreams
            finally:
                await upstreams._close()

    async def releases(self, source: Upstream, filter: Filter, *, enough: int | Enough) -> tuple[Release, ...]:  # noqa: A002
        """The stable releases of `source` that pass `filter`, highest version first: see `survey`."""
        return (await self.survey(source, filter, enough=enough)).releases

    async def survey(self, source: Upstream, filter: Filter, *, enough: int | Enough) -> Survey:  # noqa: A002
        """The stable releases of `source` that pass `filter`, and the versions above them that don't, with reasons.

        `enough` says how many releases are needed, or tells from the confirmed ones whether they suffice; more may be
        given back where they cost nothing. Asking again with a higher number costs only what is new.
        Raises UpstreamError, which concerns this app alone.
        """
        needed = at_least(enough) if isinstance(enough, int) else enough
        try:
            sieve = Sieve.of(filter)
        except ValueError as error:
            raise UpstreamError(str(error), where=str(source)) from None
        match source:
            case GitHubReleases():
                return await self.github.survey(source, sieve, needed)
            case GitLabTags():
                return gitlab.survey(await self._shared(source, lambda: gitlab.tags(source, self.http)), sieve)
            case GitTags():
                tags = await self.git.tags(source.url)
            case ImageTags():
                tags = await self._shared(source, lambda: image.tags(source, self.lister))
        return sieve.survey(tags, sieve.candidates(tags))

    def git_url(self, source: Upstream) -> str:
        """Where the source of a release is cloned from where the desired state doesn't say; empty for an image."""
        match source:
            case GitHubReleases():
                return self.github.git_url(source)
            case GitLabTags():
                return gitlab.git_url(source, self.http)
            case GitTags():
                return source.url
            case ImageTags():
                return ""

    async def commits(self, url: str, refs: Iterable[str]) -> Mapping[str, str | NoRef]:
        """The commit that each ref of a repository names, by one `git ls-remote` a URL and run; UpstreamError."""
        return await self.git.commits(url, refs)

    async def answers(self, url: str) -> There | NotThere | Unknown:
        """Whether a URL answers (`requires:`); each is asked once a run."""
        return await self._shared(("answers", url), lambda: probe.answers(url, self.http))

    async def published_checksum(self, url: str, name: str) -> str:
        """The sha256 that the checksum file at `url` has for the file `name`; UpstreamError."""
        return await self._shared(("checksum", url, name), lambda: checksums.published(url, name, self.http))

    async def sha256_of(self, url: str) -> str:
        """The sha256 of a download, which is read to its end; UpstreamError."""
        return await checksums.sha256_of(url, self.http)

    async def checkout(
        self, url: str, commit: str, target: Path, *, ref: str = "", submodules: bool = False
    ) -> Checkout:
        """The files of a commit in `target`, for apply; BuildError, or UpstreamError where it can't be fetched."""
        return await checkout(self.git, url, commit, target, ref=ref, submodules=submodules)

    async def _shared(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to a question that is asked once a run; one who stops waiting doesn't take it from the others."""
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(ask())
        answer: T = await asyncio.shield(self._asked[key])
        return answer

    async def _close(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self.git.close()


def _url(env: Mapping[str, str], name: str, otherwise: str) -> str:
    url = env.get(name) or otherwise
    if re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[!-~]*)?", url) is None:
        raise UsageError(f"{name} is {url[:100]!r}, which is no URL", todo=f"set it like {otherwise}, or unset it")
    return url
