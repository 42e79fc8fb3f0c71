"""A process that dies: from one effect on nothing of it reaches the registry or the disk any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import httpx

from reconciler import net, record
from reconciler.local.registry import LocalRegistry

_replace_file = record.replace_file


class Killed(BaseException):
    """What a dead process does: nothing. No handler of ours takes it for an error."""


class Reaper:
    """Counts effects, each twice (before and after it), and kills at the number `at`; `moments` says what they were.

    What the kernel does at a kill isn't done by Python's own clean-up here: once dead, every effect raises.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.dead = False
        self.moments: list[str] = []

    def pass_by(self, moment: str) -> None:
        """An effect is about to be, or was just had; raises Killed."""
        if self.dead:
            raise Killed(moment)
        self.moments.append(moment)
        if self.at == len(self.moments) - 1:
            self.dead = True
            raise Killed(moment)

    @contextmanager
    def over_records(self) -> Iterator[None]:
        """Inside, records are written by somebody who may die: before, in the middle, or after."""

        def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
            self.pass_by(f"before {path.name}")
            if self.at == len(self.moments):
                # as a kill leaves it: half of a file that isn't in place yet
                part = path.parent / f".{path.name}.k1ll3d.part"
                part.write_bytes(data[: len(data) // 2])
                os.utime(part, (time.time() - 3600,) * 2)
            self.pass_by(f"in the middle of {path.name}")
            _replace_file(path, data, mode)
            self.pass_by(f"after {path.name}")

        with mock.patch.object(record, "replace_file", replace_file):
            yield

    def transport(self, registry: LocalRegistry) -> httpx.AsyncBaseTransport:
        """A way to the registry for somebody who may die before or after each write."""
        return _Mortal(net.guarded_transport(allow_private=True, plain_http=frozenset({registry.host})), self)


class _Mortal(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, reaper: Reaper) -> None:
        self._inner = inner
        self._reaper = reaper

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it, unless dead."""
        reaper = self._reaper
        if reaper.dead:
            raise Killed(str(request.url))
        if request.method in ("GET", "HEAD"):
            return await self._inner.handle_async_request(request)
        what = f"{request.method} {request.url.path.rpartition('/v2/')[2]}"
        reaper.pass_by(f"before {what}")
        response = await self._inner.handle_async_request(request)
        try:
            reaper.pass_by(f"after {what}")
        except Killed:
            await response.aclose()
            raise
        return response

    async def aclose(self) -> None:
        """The kernel closes what a dead process had open."""
        await self._inner.aclose()
