"""Calls from aiohttp's requests, and answers, whole or broken, back onto its connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from aiohttp import web

from reconciler.local.registry.answer import Answer, Cut, Generated, Slice
from reconciler.local.registry.call import Call
from reconciler.local.registry.route import route

_PIECE = 256 * 1024
_SMALL = 1024 * 1024
_SPACES = b" " * _PIECE


def call_of(request: web.BaseRequest, number: int) -> Call:
    """The request as the registry's parts see it."""
    path, _, query = request.raw_path.partition("?")
    return Call(number, request.method, path, query, route(path), request.headers, request.content)


async def send(request: web.BaseRequest, answer: Answer, leave: Callable[[], None]) -> web.StreamResponse:
    """Send it; `leave` is called before the client can know that it has all of it.

    What comes back has been sent, or is small and left to aiohttp.
    """
    cut = answer.cut
    if cut is not None and cut.after is None:
        if not await _stand(cut):
            leave()
            end(request.transport, politely=not cut.reset)
            return web.Response(status=500)
        cut = None
    if request.method == "HEAD" or answer.status in (204, 304):
        leave()
        return web.Response(status=answer.status, headers=_sized(answer))
    if cut is None and answer.length <= _SMALL and not isinstance(answer.body, Generated):
        body = answer.body if isinstance(answer.body, bytes) else b"".join(_pieces(answer))
        leave()
        return web.Response(status=answer.status, headers=_own(answer), body=body)
    return await _stream(request, answer, cut, leave)


async def _stream(
    request: web.BaseRequest, answer: Answer, cut: Cut | None, leave: Callable[[], None]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_sized(answer))
    await response.prepare(request)
    sent = 0
    for piece in _pieces(answer):
        rest = piece
        if cut is not None and cut.after is not None and cut.after < sent + len(piece):
            await response.write(piece[: cut.after - sent])
            if not await _stand(cut):
                leave()
                end(request.transport, politely=not cut.reset)
                return response
            rest, cut = piece[cut.after - sent :], None
        sent += len(piece)
        if sent >= answer.length:
            leave()
        await response.write(rest)
    return response


async def _stand(cut: Cut) -> bool:
    """Stand still where the cut says so; whether the answer goes on after that."""
    if cut.gate is not None:
        await cut.gate.wait(cut.seconds)
    return cut.resume


def end(transport: asyncio.BaseTransport | None, *, politely: bool = False) -> None:
    """End a connection: with RST, or politely with FIN."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    if politely:
        transport.close()
        return
    # a lingering time of zero makes the kernel send RST rather than FIN
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _pieces(answer: Answer) -> Iterator[bytes]:
    match answer.body:
        case bytes() as body:
            yield body
        case Slice(path, start, left):
            with path.open("rb") as file:
                file.seek(start)
                while left and (piece := file.read(min(_PIECE, left))):
                    left -= len(piece)
                    yield piece
        case Generated(size):
            for _ in range(size // _PIECE):
                yield _SPACES
            yield _SPACES[: size % _PIECE]


def _own(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Content-Length"}


def _sized(answer: Answer) -> dict[str, str]:
    headers = _own(answer)
    if answer.status not in (204, 304) and not (isinstance(answer.body, Generated) and not answer.body.declared):
        headers["Content-Length"] = str(answer.length)
    return headers
