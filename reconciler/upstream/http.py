"""Requests to upstreams: guarded, bounded in time and size, retried where that may help, polite to a host that says no.

One `Http` serves a whole run. A host that asked to wait is left alone by every request of the run until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from reconciler.errors import UpstreamError
from reconciler.net import RETRYABLE, NotAllowed, guarded_transport, retry_after
from reconciler.upstream.etags import Cached, ETags
from reconciler.upstream.patience import Again, Clock, Patience, persist

USER_AGENT = "reconcile (+https://github.com/this-is-tobi/multiarch-mirror)"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MIB = 1024 * 1024
_ERROR_CAP = 64 * 1024
_SECONDARY_WAIT = 60.0  # what GitHub asks for where it says nothing (protocols 6.3)


@dataclass(frozen=True, slots=True)
class Answer:
    """A definite answer: `headers` by lower-case name, `url` after redirects, `sha256` where it was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    sha256: str = ""

    @property
    def next(self) -> str | None:
        """The next page's URL (RFC 8288), None on the last page."""
        return self._link("next")

    @property
    def last(self) -> str | None:
        """The last page's URL, where it is told."""
        return self._link("last")

    def _link(self, rel: str) -> str | None:
        links = httpx.Response(200, headers={"link": self.headers.get("link", "")}).links
        url = links.get(rel, {}).get("url")
        return None if url is None else _join(self.url, url)


class Take(StrEnum):
    """What is wanted of a body: all of it, only its sha256, or nothing."""

    BODY = "body"
    SHA256 = "sha256"
    NOTHING = "nothing"


def _join(base: str, url: str) -> str:
    """Where a link or a redirect leads; UpstreamError where it makes no sense: a page must not be lost in silence."""
    try:
        joined = urljoin(base, url)
        authority(joined)
    except ValueError:
        raise UpstreamError(f"leads to {url[:200]!r}, which is no URL", where=base) from None
    return joined


def authority(url: str) -> str:
    """`host[:port]` of a URL, as tokens and limits are kept by it."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def rate_limited(answer: Answer, now: Callable[[], float]) -> float | None:
    """Seconds to wait where a 403 or 429 is about a rate limit (protocols 6.3); None where it isn't."""
    if answer.status not in (403, 429):
        return None
    wait = retry_after(httpx.Response(answer.status, headers=dict(answer.headers)), now)
    if wait is not None:
        return wait
    if b"secondary rate limit" in answer.body[:4096].lower() or b"abuse detection" in answer.body[:4096].lower():
        return _SECONDARY_WAIT
    return None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    content: bytes
    take: Take
    cap: int
    seconds: float
    anonymous: bool


@dataclass(slots=True)
class _Host:
    """What is known of a host in this run: its slots, and until when (by the clock) it asked to be left alone."""

    slots: asyncio.Semaphore
    until: float = 0.0


@dataclass(slots=True)
class Http:
    """Questions to upstream hosts. Use as an async context manager.

    `tokens`: by `host[:port]`, sent as a bearer token there and nowhere else. `etags`: a cache for conditional
    requests, or None. `per_host`: requests in flight to one host. `transport` replaces the guarded one (tests).
    """

    allow_private: bool = False
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    etags: ETags | None = None
    patience: Patience = field(default_factory=Patience)
    clock: Clock = field(default_factory=Clock)
    per_host: int = 16
    transport: httpx.AsyncBaseTransport | None = None
    _client: httpx.AsyncClient | None = field(default=None, init=False, repr=False)
    _hosts: dict[str, _Host] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._hosts = defaultdict(lambda: _Host(asyncio.Semaphore(self.per_host)))

    async def __aenter__(self) -> Self:
        transport = self.transport or guarded_transport(allow_private=self.allow_private)
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"user-agent": USER_AGENT},
            follow_redirects=False,
            timeout=httpx.Timeout(15.0, connect=10.0),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ask(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        take: Take = Take.BODY,
        cap: int = 32 * _MIB,
        seconds: float | None = None,
        anonymous: bool = False,
        where: str = "",
        patience: Patience | None = None,
    ) -> Answer:
        """The answer to a request, whatever its status, after redirects and retries.

        `content` goes with a question that needs one (git's); `anonymous` leaves out the host's token; `where` is
        what errors call the URL; `seconds` replaces the patience's limit for one attempt (a download takes longer than
        an answer), `patience` all of it (what mustn't be sent twice). Raises UpstreamError where there is no answer in
        time, where it is over `cap` bytes, or where the guard refuses.
        """
        patience = patience or self.patience
        request = _Request(method, headers or {}, content, take, cap, seconds or patience.attempt, anonymous)

        async def attempt(deadline: float) -> Answer:
            return await self._follow(url, request, deadline)

        hint = "" if self.tokens.get(authority(url)) else "with a token (GITHUB_TOKEN for GitHub) limits are higher"
        return await persist(attempt, patience, self.clock, where=where or url, hint=hint)

    async def json(
        self, url: str, *, reduce: Callable[[Any], Any], fits: Callable[[Any], bool], accept: str = "application/json"
    ) -> tuple[Answer, Any]:
        """The answer, and `reduce` of its JSON (None unless it is 200), from the ETag cache where nothing changed.

        `reduce` gives back plain JSON with only what matters: that is what the cache keeps; it may raise ValueError.
        `fits` says whether what the cache kept looks like it: a file on disk is no more to be trusted than the network.
        """
        key = (url, accept, "token" if self.tokens.get(authority(url)) else "")
        cached = self.etags.read(key) if self.etags is not None else None
        if cached is not None and not fits(cached.value):
            cached = None
        headers = {"accept": accept, **({"if-none-match": cached.etag} if cached is not None else {})}
        answer = await self.ask(url, headers=headers)
        if answer.status == 304 and cached is not None:
            return Answer(200, {**answer.headers, "link": cached.link}, b"", answer.url), cached.value
        if answer.status != 200:
            return answer, None
        try:
            value = reduce(json.loads(answer.body))
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise UpstreamError(f"the answer makes no sense: {str(error)[:200]}", where=url) from None
        if self.etags is not None and "etag" in answer.headers:
            self.etags.write(key, Cached(answer.headers["etag"], answer.headers.get("link", ""), value))
        return answer, value

    async def _follow(self, url: str, request: _Request, deadline: float) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._once(url, request, deadline)
            target = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not target:
                return answer
            url = _join(url, target)
        raise UpstreamError(f"more than {_MAX_REDIRECTS} redirects", where=url)

    async def _once(self, url: str, request: _Request, deadline: float) -> Answer:
        assert self._client is not None, "Http is used as an async context manager"  # noqa: S101
        place = authority(url)
        host = self._hosts[place]
        token = None if request.anonymous else self.tokens.get(place)
        headers = {**request.headers, **({"authorization": f"Bearer {token}"} if token else {})}
        async with host.slots:
            pause = host.until - self.clock.now()
            if pause > 0:
                if host.until > deadline:
                    raise Again("the rate limit is used up", pause, reached=True)
                await self.clock.sleep(pause)
            try:
                async with (
                    asyncio.timeout(request.seconds),
                    self._client.stream(
                        request.method, url, headers=headers, content=request.content or None
                    ) as response,
                ):
                    answer = await _read(response, request, url)
            except NotAllowed as error:
                raise UpstreamError(
                    f"refused: {error}", where=url, todo="if that is meant, allow it with --allow-private"
                ) from None
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
                raise UpstreamError(f"no URL to go to: {error}", where=url[:200]) from None
            except httpx.DecodingError as error:
                raise Again(f"the answer is garbled: {error}", reached=True) from None
            except (httpx.HTTPError, TimeoutError) as error:
                raise Again(_words(error), reached=False) from None
        return self._judge(answer, host)

    def _judge(self, answer: Answer, host: _Host) -> Answer:
        """`answer`, unless it says to ask again later."""
        limited = rate_limited(answer, self.clock.now)
        if limited is not None or answer.status == 429:
            if limited is not None:
                host.until = max(host.until, self.clock.now() + limited)
            raise Again(f"status {answer.status}, too many requests", limited, reached=True)
        if answer.status in RETRYABLE:
            hint = retry_after(httpx.Response(answer.status, headers=dict(answer.headers)), self.clock.now)
            raise Again(f"status {answer.status}", hint, reached=True)
        return answer


async def _read(response: httpx.Response, request: _Request, url: str) -> Answer:
    """The answer, with as much of its body as was asked for; what an error says is read in any case."""
    take = request.take if response.status_code < 300 else Take.BODY
    cap = request.cap if response.status_code < 300 else _ERROR_CAP
    hasher = hashlib.sha256()
    body = bytearray()
    size = 0
    if take is not Take.NOTHING and request.method != "HEAD":
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > cap:
                if response.status_code < 300:
                    raise UpstreamError(f"the answer is over {cap:,} bytes", where=url)
                break
            if take is Take.SHA256:
                hasher.update(chunk)
            else:
                body += chunk
    headers = {name.lower(): value for name, value in response.headers.items()}
    sha256 = hasher.hexdigest() if take is Take.SHA256 else ""
    return Answer(response.status_code, headers, bytes(body), url, sha256)


def _words(error: Exception) -> str:
    if isinstance(error, (httpx.TimeoutException, TimeoutError)) and not str(error):
        return "no answer in time"
    return f"can't be reached: {str(error)[:300] or type(error).__name__}"
