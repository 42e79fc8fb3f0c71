"""Serves an engine's BuildKit on a unix socket, as buildx's `remote` driver wants it.

buildx's `docker` driver, the natural one for an engine, refuses to push by digest. The engine's own BuildKit can do it,
and answers gRPC on a connection that was upgraded by `POST /grpc` (moby's API, session.go): so for each connection this
bridge makes that upgrade, then copies bytes both ways.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.errors import ToolError

_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
_CHUNK = 256 * 1024
_START = 10.0


class Bridge:
    """A context manager: inside `with`, `socket` speaks BuildKit's gRPC; a thread of its own does the copying."""

    def __init__(self, engine: Path, socket: Path) -> None:
        """`engine` is the socket of a Docker engine's API, `socket` where to listen."""
        self.socket = socket
        self._engine = engine
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="buildkit-bridge", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START)
        except (OSError, TimeoutError) as error:
            self._end()
            raise ToolError(f"can't listen for buildx: {error}", where=str(self.socket)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_START)
        self._end()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, str(self.socket), limit=_CHUNK)

    async def _close(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of a server runs in a task
        self._tasks.add(task)
        engine: asyncio.StreamWriter | None = None
        try:
            answer, engine = await asyncio.open_unix_connection(str(self._engine), limit=_CHUNK)
            engine.write(_UPGRADE)
            head = await answer.readuntil(b"\r\n\r\n")
            if head.split(b" ", 2)[1:2] == [b"101"]:
                await asyncio.gather(_copy(reader, engine), _copy(answer, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # either end went away, or the bridge is being closed: both ends are closed below
        finally:
            self._tasks.discard(task)
            for end in (writer, engine):
                if end is not None:
                    end.close()
                    with suppress(OSError):
                        await end.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until `reader` ends, then tell `writer`'s end so."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
