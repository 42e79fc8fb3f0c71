"""The guard on where requests go, and the reading of how long to wait."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.net import (
    NotAllowed,
    go_duration,
    guarded_transport,
    is_loopback,
    is_private,
    retry_after,
    retry_after_in,
)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",  # noqa: S104
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_private_addresses(ip: str) -> None:
    """What isn't the public internet is private, also where IPv6 wraps it."""
    assert is_private(ip)


@pytest.mark.parametrize("ip", ["1.1.1.1", "140.82.121.3", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(ip: str) -> None:
    """Public addresses pass."""
    assert not is_private(ip)


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("127.0.0.2", True), ("[::1]", True), ("10.0.0.1", False), ("a.b", False)]
)
def test_loopback_by_spelling(host: str, here: bool) -> None:
    """Only localhost and loopback literals are this machine by their spelling."""
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10.5ms", 0.0105),
        ("880.092µs", 0.000880092),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("3ns", 3e-9),
        ("1.5", None),
        ("", None),
        ("ms", None),
        ("1m 2s", None),
    ],
)
def test_go_durations(text: str, seconds: float | None) -> None:
    """Durations as Go prints them are seconds; anything else is none."""
    assert go_duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_go_duration_never_raises(text: str) -> None:
    """Hostile text is a duration or it isn't; it never raises and never is negative."""
    assert (go_duration(text) or 0) >= 0
    assert (retry_after_in(text) or 0) >= 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1.5s"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 GMT"}, 10.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060"}, 60.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "900"}, 0.0),
        ({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "1060"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"retry-after": "3", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060"}, 3.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Every spelling of "come back later" is read, and garbage isn't."""
    assert retry_after(httpx.Response(429, headers=headers), lambda: 1000.0) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("TOOMANYREQUESTS: retry-after: 10.305464ms, allowed: 2000/minute", 0.010305464),
        ("toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute", 0.000880092),
        ("Retry after 3 seconds", 3.0),
        ("slow down", None),
    ],
)
def test_retry_after_in_text(text: str, seconds: float | None) -> None:
    """GHCR says in the error's text how long to wait (protocols 2.13)."""
    assert retry_after_in(text) == (None if seconds is None else pytest.approx(seconds))


class Server:
    """Answers every request with one canned text, and counts connections."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def served() -> AsyncIterator[tuple[Server, int]]:
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listener:
        yield server, listener.sockets[0].getsockname()[1]


def client(**how: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=guarded_transport(**how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "１２７.０.０.１"]
)
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_private_hosts_are_refused(served: tuple[Server, int], host: str, scheme: str) -> None:
    """However this machine is spelt, nothing connects to it."""
    server, port = served
    async with client(plain_http=(f"{host}:{port}",)) as http:
        with pytest.raises((NotAllowed, httpx.InvalidURL)):
            await http.get(f"{scheme}://{host}:{port}/")
    assert server.connections == 0


async def test_operator_may_allow_loopback(served: tuple[Server, int]) -> None:
    """With the operator's flag plain http works on loopback, and stays refused elsewhere."""
    _, port = served
    async with client(allow_private=True) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/")).text == "ok"
        assert (await http.get(f"http://localhost:{port}/")).text == "ok"
        with pytest.raises(NotAllowed, match="isn't https"):
            await http.get("http://10.0.0.1/")


async def test_trusted_authority_alone_may_be_private(served: tuple[Server, int]) -> None:
    """One named host and port may be private while all others stay refused."""
    _, port = served
    here = f"127.0.0.1:{port}"
    async with client(trusted=(here,), plain_http=(here, "127.0.0.1:1")) as http:
        assert (await http.get(f"http://{here}/")).text == "ok"
        with pytest.raises(NotAllowed, match="address of this machine"):
            await http.get("http://127.0.0.1:1/")


@pytest.mark.parametrize("url", ["ftp://example.org/", "http://example.org/", "file:///etc/passwd"])
async def test_only_https(url: str) -> None:
    """Anything but https is refused before a name is resolved."""
    async with client() as http:
        with pytest.raises((NotAllowed, httpx.UnsupportedProtocol)):
            await http.get(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\x00: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_broken_answers_are_transport_errors(answer: bytes) -> None:
    """Whatever a server does to the protocol comes out as httpx.TransportError."""
    listener = await asyncio.start_server(Server(answer), "127.0.0.1", 0)
    async with listener, client(allow_private=True) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")


async def test_closed_port_is_a_transport_error() -> None:
    """A refused connection comes out as httpx.TransportError, and isn't taken for the guard's verdict."""
    async with client(allow_private=True) as http:
        with pytest.raises(httpx.TransportError) as caught:
            await http.get("http://127.0.0.1:1/")
    assert not isinstance(caught.value, NotAllowed)
    assert str(caught.value).startswith("127.0.0.1:1: Connect call failed")
