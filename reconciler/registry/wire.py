"""One request and its answer: authorization, redirects, retries, caps, deadlines, politeness; no idea of manifests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import httpx

from reconciler import net
from reconciler.errors import Malformed, RegistryError, TooLarge, Unreachable
from reconciler.redact import HIDDEN, SHORTEST_SECRET
from reconciler.registry import answers, auth
from reconciler.registry.answers import MAX_ERROR_BODY, Answer
from reconciler.registry.credentials import Credentials
from reconciler.registry.pace import Pace, allowed_rate
from reconciler.registry.tokens import HostAuth

if TYPE_CHECKING:
    from tenacity import RetryCallState

_HUB_API = "registry-1.docker.io"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_QUOTED = ("content-type", "docker-content-digest")
_MAX_TOKEN = 256 * 1024
# a thousand tags must not each wait for a host that is down: after so many calls in a row that failed for good it is
# not asked again for a while, sooner where it can't even be connected to; and before that, not a second time per call
_TRIPS_AFTER = 20
_TRIPS_AFTER_DIALS = 3
_TRIPPED_FOR = 30.0
_HOPELESS_AFTER = 10


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `answer` and `blob` bound one whole answer, `patience` all attempts at one together with their waits."""

    connect: float = 10.0
    read: float = 30.0
    answer: float = 60.0
    blob: float = 600.0
    patience: float = 90.0
    attempts: int = 5
    dial_attempts: int = 3


class Sink(Protocol):
    """Takes a body chunk by chunk; `restart` before each attempt."""

    def restart(self) -> None:
        """Forget what came: it comes again."""

    def write(self, chunk: bytes) -> None:
        """The next bytes."""


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a registry. `path` has its query; `name` is the repository, `where` names all for an error.

    `before` is awaited right before each attempt (rule 7). `kind` is what it is counted as.
    """

    method: str
    path: str
    name: str
    where: str
    kind: str
    cap: int = MAX_ERROR_BODY
    push: bool = False
    accept: str = ""
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    if_match: str = ""
    sink: Sink | None = None
    long: bool = False
    before: Callable[[], Awaitable[None]] | None = None


class _Again(Exception):
    """This attempt failed in a way that passes."""

    def __init__(
        self, error: RegistryError, *, wait: float | None = None, dialling: bool = False, dropped: bool = False
    ) -> None:
        super().__init__()
        self.error = error
        self.wait = wait
        self.dialling = dialling
        self.dropped = dropped


class Host:
    """One registry: where its API is, how it is authenticated to, its pace, and whether it answers at all."""

    def __init__(self, name: str, base: str, pace: Pace, authorization: HostAuth) -> None:
        self.name = name
        self.base = base
        self.authority = auth.authority(httpx.URL(base))
        self.pace = pace
        self.auth = authorization
        self.failures = 0
        self.tripped: tuple[float, RegistryError] | None = None


class Wire:
    """Sends calls; one for all hosts of a run."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        credentials: Credentials,
        *,
        concurrency: int,
        plain: Callable[[str], bool],
        realms: Mapping[str, frozenset[str]],
        timeouts: Timeouts,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        share_tokens: frozenset[str] = frozenset(),
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._concurrency = concurrency
        self._plain = plain
        self._realms = realms
        self._timeouts = timeouts
        self._clock = clock
        self._sleep = sleep
        self._share = share_tokens
        self._hosts: dict[str, Host] = {}
        self._paces: dict[str, Pace] = {}
        self._extensions = {
            long: {
                "timeout": {"connect": timeouts.connect, "read": timeouts.read, "write": timeouts.read, "pool": None}
            }
            for long in (False, True)
        }
        self.requests: Counter[str] = Counter()

    def host(self, name: str) -> Host:
        """The registry `name` (`host[:port]`)."""
        found = self._hosts.get(name)
        if found is None:
            plain = self._plain(name)
            api = _HUB_API if name == "docker.io" else name
            base = f"{'http' if plain else 'https'}://{api}"
            authorization = HostAuth(
                name.lower(),
                origin=auth.authority(httpx.URL(base)),
                plain=plain,
                credentials=self._credentials,
                realms=self._realms,
                fetch=self._fetch_token,
                clock=self._clock,
                share=name in self._share,
            )
            found = self._hosts[name] = Host(name, base, self._pace(authorization.origin), authorization)
        return found

    def _pace(self, authority: str) -> Pace:
        if authority not in self._paces:
            self._paces[authority] = Pace(self._concurrency, self._clock, self._sleep)
        return self._paces[authority]

    async def close(self) -> None:
        """Ends what is under way and closes all connections."""
        for host in self._hosts.values():
            await host.auth.close()
        await self._transport.aclose()

    async def ask(self, host: Host, call: Call) -> Answer:
        """The final answer to a call, whatever its status: passing failures are retried within the patience.

        Raises Unreachable, RateLimited, TooLarge (a 2xx over the cap), Denied (no way to log in), Malformed.
        """
        try:
            leads = host.auth.manner is None and await host.auth.enter()
        except RegistryError as error:
            # it was somebody else's request that failed: the reason is ours too, the place is not
            raise type(error)(error.what, where=call.where, todo=error.todo, status=error.status) from None
        try:
            answer = await self._retry(host, call.where, lambda: self._attempt(host, call))
        except BaseException as error:
            if leads:
                host.auth.settle(error)
            raise
        if leads:
            host.auth.settle()
        return answer

    async def _attempt(self, host: Host, call: Call) -> Answer:
        header = await host.auth.header(call.name, push=call.push) if host.auth.manner else ""
        answer = await self._follow(host, call, header)
        if answer.status != 401 or answer.elsewhere:
            if not header:
                host.auth.bare_was_fine()
        else:
            host.auth.refused(call.name, header, answer.headers.get_list("www-authenticate"), push=call.push)
            host.auth.settle()
            again = await host.auth.header(call.name, push=call.push)
            # the same password a second time would get the same answer
            if again and again != header:
                answer = await self._follow(host, call, again)
        if answers.is_passing(answer) or (answer.elsewhere and answer.status >= 400):
            raise self._passing(host, answer, call.where)
        host.pace.went_well()
        return answer

    def _passing(self, host: Host, answer: Answer, where: str) -> _Again:
        hint = answers.wait_hint(answer)
        if answers.is_rate_limit(answer) and not answer.elsewhere:
            self._slow_down(host.pace, answer, hint)
        return _Again(answers.refusal(answer, where, host=host.name), wait=hint)

    def _slow_down(self, pace: Pace, answer: Answer, hint: float | None) -> None:
        # what asks for longer than we wait at all fails for itself; the others needn't stand still for it
        if hint is None or hint <= self._timeouts.patience:
            pace.too_fast(1.0 if hint is None else hint, allowed_rate(answers.told(answer)))

    async def _follow(self, host: Host, call: Call, header: str) -> Answer:
        """The answer at the end of the redirects. Our authorization is for the registry's own origin, no other.

        Only what is read is redirected (a write that is sent on is a write somewhere else).
        """
        url, pace, elsewhere = host.base + call.path, host.pace, False
        for _ in range(_MAX_REDIRECTS + 1):
            if call.before is not None:
                await call.before()
            request = self._request(url, call, "" if elsewhere else header)
            answer = await self._exchange(pace, request, call)
            if answer.status not in _REDIRECTS or call.method not in ("GET", "HEAD"):
                return replace(answer, elsewhere=True) if elsewhere else answer
            target = self._target(request, answer, call)
            # once away, a way back to the registry carries no authorization: who sent us there isn't the registry
            elsewhere = elsewhere or not self._same(target, host)
            url, pace = str(target), self._pace(auth.authority(target))
        raise Unreachable(f"{host.name} redirects without end", where=call.where, todo="check the registry's name")

    def _same(self, url: httpx.URL, host: Host) -> bool:
        return auth.authority(url) == host.authority and host.base.startswith(f"{url.scheme}://")

    def _target(self, request: httpx.Request, answer: Answer, call: Call) -> httpx.URL:
        try:
            target = request.url.join(answer.headers.get("location", ""))
        except (httpx.InvalidURL, ValueError):
            target = httpx.URL("")
        if target.scheme not in ("http", "https") or not target.host or target.userinfo:
            raise Malformed("it redirects to no URL", where=call.where, todo="check the registry's name")
        return target.copy_with(fragment=None)

    def _request(self, url: str, call: Call, header: str) -> httpx.Request:
        headers = {"accept-encoding": "identity", "user-agent": "reconcile"}
        if call.accept:
            headers["accept"] = call.accept
        if header:
            headers["authorization"] = header
        if call.content_type:
            headers["content-type"] = call.content_type
        if call.if_match:
            headers["if-match"] = call.if_match
        content = call.body if call.body or call.method in ("PUT", "POST") else None
        return httpx.Request(call.method, url, headers=headers, content=content, extensions=self._extensions[call.long])

    async def _exchange(self, pace: Pace, request: httpx.Request, call: Call) -> Answer:
        """One request on the wire; its body read up to the cap. Raises _Again, TooLarge."""
        limit = self._timeouts.blob if call.long else self._timeouts.answer
        async with pace.turn():
            self.requests[call.kind] += 1
            try:
                async with asyncio.timeout(limit):
                    response = await self._transport.handle_async_request(request)
                    try:
                        status = response.status_code
                        shown = request.headers.get("authorization", "").partition(" ")[2]
                        shown = shown if len(shown) >= SHORTEST_SECRET else ""
                        headers = _without(response.headers, shown)
                        if request.method == "HEAD":
                            return Answer(status, headers)
                        body = await self._read(response, call)
                        return Answer(status, headers, body if status < 300 else self._safe(body, shown))
                    finally:
                        await response.aclose()
            except net.NotAllowed as error:
                raise Unreachable(
                    f"it leads where reconcile doesn't go: {error}",
                    where=call.where,
                    todo="if that is meant, allow private addresses (--allow-private)",
                ) from None
            except TimeoutError:
                late = Unreachable(f"no whole answer within {limit:g} s", where=call.where, todo="try again later")
                raise _Again(late) from None
            except httpx.HTTPError as error:
                raise self._failed(request, call, error) from None

    def _safe(self, body: bytes, shown: str) -> bytes:
        """An error's text without our secrets: it is printed, and a cut would leave half of one (rule 9)."""
        text = self._credentials.redact(body.decode("utf-8", "surrogateescape"))
        # a token is no longer than its run, and there may be thousands: only the one that was shown can come back
        return (text.replace(shown, HIDDEN) if shown else text).encode("utf-8", "surrogateescape")

    def _failed(self, request: httpx.Request, call: Call, error: httpx.HTTPError) -> _Again:
        host = auth.authority(request.url)
        text = " ".join(str(error).split())[:200]
        match error:
            case httpx.ConnectTimeout():
                what = f"{host} closed or never took the connection"
            case httpx.ConnectError():
                what = f"{host} can't be reached"
            case httpx.TimeoutException():
                what = f"{host} doesn't answer in time"
            case _:
                what = f"{host} broke off its answer"
        unreachable = Unreachable(
            f"{what} ({text})" if text else what, where=call.where, todo="check the network and the registry's name"
        )
        dialling = isinstance(error, httpx.ConnectError)
        # it may have been a connection that was kept for too long: a new one is tried at once
        dropped = not dialling and not isinstance(error, httpx.ReadTimeout)
        return _Again(unreachable, dialling=dialling, dropped=dropped)

    async def _read(self, response: httpx.Response, call: Call) -> bytes:
        """The body: into the sink, whole up to the cap, or cut where it only explains an error."""
        fine = 200 <= response.status_code < 300
        cap = call.cap if fine else MAX_ERROR_BODY
        too_large = TooLarge(f"the answer is over {cap} bytes", where=call.where, todo="it isn't read")
        length = response.headers.get("content-length", "")
        if fine and length.isdecimal() and len(length) < 20 and int(length) > cap:
            raise too_large
        sink = call.sink if fine else None
        if sink is not None:
            sink.restart()
        chunks: list[bytes] = []
        size = 0
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells mypy
        async for chunk in response.stream:
            size += len(chunk)
            if size > cap:
                if fine:
                    raise too_large
                # one byte over the cap says that it was cut
                chunks.append(chunk[: cap + 1 - (size - len(chunk))])
                break
            if sink is not None:
                sink.write(chunk)
            else:
                chunks.append(chunk)
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]

    async def _fetch_token(self, request: httpx.Request, where: str) -> httpx.Response:
        """The answer of a token service. Its host has a pace of its own; redirects are answers, not followed."""
        request.extensions = self._extensions[False]
        request.headers["user-agent"] = "reconcile"
        call = Call(request.method, "", "", where, "token", cap=_MAX_TOKEN)
        authority = auth.authority(request.url)
        pace = self._pace(authority)

        async def attempt() -> Answer:
            answer = await self._exchange(pace, request, call)
            if answers.is_passing(answer):
                hint = answers.wait_hint(answer)
                if answers.is_rate_limit(answer):
                    self._slow_down(pace, answer, hint)
                raise _Again(answers.refusal(answer, where, host=f"the token service {authority}"), wait=hint)
            return answer

        answer = await self._retry(None, where, attempt)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def _retry(self, host: Host | None, where: str, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `attempt` returns in the end; the error of its last failure once patience is over."""
        if host is not None:
            self._check(host, where)
        try:
            try:
                answer = await attempt()
            except _Again as first:
                if host is not None and host.failures >= _HOPELESS_AFTER:
                    raise
                answer = await self._insist(first, attempt)
        except _Again as last:
            if host is not None:
                self._note(host, last)
            raise last.error from None
        if host is not None:
            host.failures = 0
        return answer

    def _check(self, host: Host, where: str) -> None:
        if host.tripped is None:
            return
        until, error = host.tripped
        if self._clock() < until:
            what = f"{error.what}; not asked again, as this happened {host.failures} times in a row"
            raise type(error)(what, where=where, todo=error.todo, status=error.status)
        host.tripped = None

    def _note(self, host: Host, last: _Again) -> None:
        host.failures += 1
        far = last.wait is not None and last.wait > self._timeouts.patience
        if host.failures >= (_TRIPS_AFTER_DIALS if last.dialling or far else _TRIPS_AFTER):
            host.tripped = (self._clock() + _TRIPPED_FOR, last.error)

    async def _insist(self, first: _Again, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        # imported here: most runs see nothing fail
        from tenacity import AsyncRetrying, retry_if_exception_type

        started = self._clock()
        limits = self._timeouts
        failures: list[_Again] = [first]

        async def once() -> Answer:
            # the first attempt is over already: tenacity comes in only where something failed
            if failures:
                raise failures.pop()
            return await attempt()

        def failure(state: RetryCallState) -> _Again:
            error = state.outcome.exception() if state.outcome else None
            return error if isinstance(error, _Again) else first

        def wait(state: RetryCallState) -> float:
            asked = failure(state).wait
            # jitter: the requests of one moment must not come back in one moment
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            if asked is not None:
                return asked + 0.1 * jitter
            if failure(state).dropped and state.attempt_number == 1:
                return 0.02 * jitter
            return min(8.0, 0.5 * 2.0 ** (state.attempt_number - 1)) * jitter

        def stop(state: RetryCallState) -> bool:
            attempts = limits.dial_attempts if failure(state).dialling else limits.attempts
            over = self._clock() - started + state.upcoming_sleep > limits.patience
            return state.attempt_number >= attempts or over

        retrying = AsyncRetrying(
            stop=stop, wait=wait, retry=retry_if_exception_type(_Again), sleep=self._sleep, reraise=True
        )
        return await retrying(once)


def _without(headers: httpx.Headers, shown: str) -> httpx.Headers:
    """The headers of an answer but for those that errors quote, where they say back what we showed."""
    if not shown or not any(shown in headers.get(name, "") for name in _QUOTED):
        return headers
    return httpx.Headers([(name, value) for name, value in headers.multi_items() if name not in _QUOTED])
