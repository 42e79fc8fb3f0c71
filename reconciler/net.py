"""What every request over HTTP shares: where it may go, and how long an answer asks to wait.

A room builds its own `httpx.AsyncClient(transport=guarded_transport(…), follow_redirects=False)`; because the guard
sits in the transport, it sees every redirect too. What it raises is of httpx's own tree (httpx.TransportError): the
room maps it to its errors. DNS is asked once per connection and the address that was checked is the one connected to.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport
from yarl import URL

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later (RFC 9110 15.5.9, 15.6; RFC 6585 4; RFC 8470 5.2)."""

_CANNOT_CONNECT = re.compile(r"Cannot connect to host (\S+) ssl:.*? \[(.*)\]", re.DOTALL)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_GO_PART = r"\d{1,12}(?:\.\d{1,12})?(?:h|ms|m|s|us|µs|μs|ns)"
_GO_DURATION = re.compile(rf"(?:{_GO_PART})+")
_IN_TEXT = re.compile(rf"retry[- ]after:?\s*((?:{_GO_PART})+|\d{{1,9}}\b)", re.IGNORECASE)


class NotAllowed(httpx.TransportError):
    """The URL leads where this program doesn't go: the text says where and why. Not to be retried."""


def is_private(ip: str | IPAddress) -> bool:
    """Whether an address isn't one of the public internet: loopback, link-local, private, shared, multicast, reserved.

    IPv4 inside IPv6 (mapped, 6to4, NAT64) counts as what is inside. ValueError where `ip` is no address.
    """
    address = ipaddress.ip_address(ip.partition("%")[0]) if isinstance(ip, str) else ip
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(inner)
    return not address.is_global or address.is_multicast


@lru_cache(maxsize=1024)
def literal(host: str) -> IPAddress | None:
    """The address that a URL's host spells out, or None where it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine by its spelling: `localhost`, 127.0.0.0/8 or ::1."""
    address = literal(host)
    return host == "localhost" if address is None else address.is_loopback


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration (`1m30s`, `880.092µs`); None where `text` is none."""
    if _GO_DURATION.fullmatch(text) is None:
        return None
    parts = re.findall(r"([\d.]+)([a-zµμ]+)", text)
    return sum(float(number) * _GO_UNITS[unit] for number, unit in parts)


def _seconds(text: str, now: float) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        duration = go_duration(text)
        if duration is not None:
            return duration
        try:
            return parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) else None


def retry_after(response: httpx.Response, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that an answer asks to wait (0 or more), or None where it doesn't say.

    Reads Retry-After (seconds, a date, or a Go duration), then x-ratelimit-reset where x-ratelimit-remaining is 0
    (protocols 6.3). What a registry says in its body is for `retry_after_in`.
    """
    headers = response.headers
    wait = _seconds(headers["retry-after"].strip(), now()) if "retry-after" in headers else None
    if wait is None and headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = _seconds(headers.get("x-ratelimit-reset", "").strip(), now())
        wait = None if reset is None else reset - now()
    return None if wait is None else max(0.0, wait)


def retry_after_in(text: str) -> float | None:
    """Seconds that an error text asks to wait: GHCR says `retry-after: 10.305464ms` there (protocols 2.13)."""
    match = _IN_TEXT.search(text)
    return None if match is None else _seconds(match[1], 0.0)


async def checked_addresses(host: str, port: int, *, allow_private: bool = False) -> tuple[str, ...]:
    """The addresses of `host`, for a program that can be told where to connect to (git).

    Raises NotAllowed where any of them is private, and httpx.ConnectError where the name isn't known.
    """
    resolver = ThreadedResolver()
    try:
        found = await resolver.resolve(host.strip("[]"), port, socket.AF_UNSPEC)
    except OSError as error:
        raise httpx.ConnectError(f"{host}: {error.strerror or error}") from error
    for result in found:
        if not allow_private and is_private(result["host"]):
            raise NotAllowed(f"{host} is {result['host']}, an address of this machine or its network")
    return tuple(dict.fromkeys(result["host"] for result in found))


class _NotAllowedHere(OSError):
    """Carries the guard's verdict through aiohttp, which passes on nothing but OSError from a resolver."""


class _Resolver(AbstractResolver):
    """Resolves a name and refuses it where any of its addresses is private: aiohttp connects to what this returns."""

    def __init__(self, allowed: Callable[[str, int], bool]) -> None:
        self._resolver = ThreadedResolver()
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not self._allowed(host, port):
            for result in found:
                if is_private(result["host"]):
                    raise _NotAllowedHere(f"{host} is {result['host']}, an address of this machine or its network")
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _Body(httpx.AsyncByteStream):
    """A response's body whose failures are httpx's."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _failures():
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        with _failures():
            await self._stream.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    """Raises whatever aiohttp, the system or the URL parser raise as an httpx.TransportError with a text."""
    try:
        yield
    except NotAllowed:
        raise
    except (httpx.TransportError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, _NotAllowedHere):
                raise NotAllowed(str(cause)) from error
            cause = cause.__cause__
        if isinstance(error, httpx.UnsupportedProtocol):
            raise NotAllowed(str(error)) from error
        if isinstance(error, httpx.TransportError):
            # aiohttp tells the TLS context's address in memory: noise that is another one each time
            if match := _CANNOT_CONNECT.fullmatch(str(error)):
                raise httpx.ConnectError(f"{match[1]}: {match[2]}") from error
            raise
        if isinstance(error, TimeoutError):
            raise httpx.ReadTimeout(str(error) or "timed out") from error
        raise httpx.RemoteProtocolError(str(error) or type(error).__name__) from error


class _Guarded(httpx.AsyncBaseTransport):
    def __init__(
        self,
        allow_private: bool,
        trusted: Collection[str],
        plain_http: Collection[str],
        connections: int,
        resend: bool,
    ) -> None:
        self._allow_private = allow_private
        self._trusted = frozenset(trusted)
        self._plain_http = frozenset(plain_http)
        self._connections = connections
        self._resend = resend
        # one per scheme, made when first needed: reading the trust store takes longer than a request on loopback
        self._transports: dict[str, AiohttpTransport] = {}

    def _allowed(self, host: str, port: int) -> bool:
        return self._allow_private or f"{host}:{port}" in self._trusted or host in self._trusted

    def _check(self, url: URL) -> None:
        host, port = url.raw_host or "", url.port or 0
        authority = host if url.is_default_port() else f"{host}:{port}"
        if url.scheme != "https" and not (
            url.scheme == "http" and (authority in self._plain_http or (self._allow_private and is_loopback(host)))
        ):
            raise NotAllowed(f"{url.scheme}://{authority} isn't https")
        # aiohttp asks no resolver for an address, so it is checked here
        address = literal(host)
        if address is not None and is_private(address) and not self._allowed(host, port):
            raise NotAllowed(f"{host} is an address of this machine or its network")

    def _transport(self, scheme: str) -> AiohttpTransport:
        if scheme not in self._transports:
            context = httpx.create_ssl_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

            def session() -> aiohttp.ClientSession:
                connector = aiohttp.TCPConnector(
                    limit=self._connections, resolver=_Resolver(self._allowed), ssl=context, keepalive_timeout=30
                )
                made = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
                # there is no public way to say so; aiohttp's own test client does the same
                made._retry_connection = self._resend  # noqa: SLF001
                return made

            self._transports[scheme] = AiohttpTransport(verify=context, client=session)
        return self._transports[scheme]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _failures():
            self._check(URL(str(request.url)))
            response = await self._transport(request.url.scheme).handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells mypy
        response.stream = _Body(response.stream)
        return response

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()


def guarded_transport(
    *,
    allow_private: bool = False,
    trusted: Collection[str] = (),
    plain_http: Collection[str] = (),
    connections: int = 32,
    resend: bool = True,
) -> httpx.AsyncBaseTransport:
    """A transport that goes to public https addresses only, over aiohttp, without proxies, cookies or redirects.

    `allow_private` (the operator's flag) lets it reach any address, and http on loopback. `trusted` holds `host` or
    `host:port` that may be private although the rest may not. `plain_http` holds `host[:port]`, as it stands in the
    URL, that may be spoken to without TLS. `connections` bounds those open at a time per scheme. `resend`: a request
    whose connection was dropped goes out once more at once, a PUT too; without it, that is up to the caller.
    Raises NotAllowed, or another httpx.TransportError; nothing of aiohttp.
    """
    return _Guarded(allow_private, trusted, plain_http, connections, resend)
