"""The sockets that the registry listens on, and how it stops listening for a while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from reconciler.errors import ReconcileError
from reconciler.local.registry import wire

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LOOPBACK = "127.0.0.1"
_BACKLOG = 1024


class Listener:
    """One server on two ports of loopback: the registry's, and that of the storage blobs are sent from."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._main: web.SockSite | None = None
        self._held: socket.socket | None = None
        self._listening: dict[web.SockSite, socket.socket] = {}
        self._port = 0

    async def start(self, port: int) -> int:
        """Listen there, or on any port for 0; the port."""
        # handlers are cancelled when their client goes: a stalled answer must not outlive who waits for it
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        bound = _bound(port)
        self._port = bound.getsockname()[1]
        self._main = await self._site(bound)
        return self._port

    async def start_other(self) -> int:
        """Listen on one more port; the port."""
        bound = _bound(0)
        port: int = bound.getsockname()[1]
        await self._site(bound)
        return port

    async def refuse(self) -> None:
        """Refuse connections to the first port from now on, and reset all there are."""
        if self._held is None and self._main is not None:
            main, self._main = self._main, None
            await self._stop(main)
            # bound but not listening: the kernel refuses, and nobody else can take the port
            self._held = _bound(self._port)
            self._reset()

    async def resume(self) -> None:
        """Accept connections again."""
        if self._held is not None:
            held, self._held = self._held, None
            self._main = await self._site(held)

    async def close(self) -> None:
        """Stop listening for good, and reset all connections."""
        if self._held is not None:
            self._held.close()
            self._held = None
        for site in tuple(self._listening):
            await self._stop(site)
        self._reset()
        await self._runner.cleanup()

    async def _site(self, bound: socket.socket) -> web.SockSite:
        site = web.SockSite(self._runner, bound, backlog=_BACKLOG)
        await site.start()
        self._listening[site] = bound
        return site

    async def _stop(self, site: web.SockSite) -> None:
        """Takes nothing more there; what was accepted a moment ago becomes a connection first, or stays open."""
        asyncio.get_running_loop().remove_reader(self._listening.pop(site))
        for _ in range(3):
            await asyncio.sleep(0)
        await site.stop()

    def _reset(self) -> None:
        for connection in tuple(self._server.connections):
            wire.end(connection.transport)


def _bound(port: int) -> socket.socket:
    """A socket bound to that port of loopback, 0 being any; ReconcileError where it is taken."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        raise ReconcileError(
            f"can't listen: {error}", where=f"{LOOPBACK}:{port}", todo="stop what listens there, or choose a port"
        ) from error
    return bound
