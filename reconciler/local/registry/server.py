"""The registry on a socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from reconciler.errors import ReconcileError
from reconciler.local.registry import control, wire
from reconciler.local.registry.access import Access, Auth
from reconciler.local.registry.actions import Scene
from reconciler.local.registry.answer import Answer
from reconciler.local.registry.call import Call
from reconciler.local.registry.core import Core
from reconciler.local.registry.faults import Faults
from reconciler.local.registry.listener import LOOPBACK, Listener
from reconciler.local.registry.log import Log, Seen
from reconciler.local.registry.manners import Manners
from reconciler.local.registry.place import OnTagPut, Place, Violation
from reconciler.local.registry.store import Store
from reconciler.local.registry.thread import LoopThread
from reconciler.local.registry.uploads import Uploads
from reconciler.local.registry.visible import Visible


class LocalRegistry:
    """An OCI registry on loopback: inside `with`, any client can use it, of this thread or of another process.

    It may be entered again, on the same folder and port. `clock` (seconds) drives tokens, lag and signed addresses;
    `latency` (real seconds) is added to every answer; `controlled` serves `/control/` (see `control`).
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        manners: Manners | None = None,
        auth: Auth | None = None,
        clock: Callable[[], float] = time.monotonic,
        latency: float = 0.0,
        controlled: bool = False,
    ) -> None:
        self.root = root
        self.port = port
        self.auth = auth
        self.latency = latency
        self.requests = Log()
        self.faults = Faults(self.listen)
        self.hooks: list[OnTagPut] = []
        self.violations: list[Violation] = []
        self._controlled = controlled
        self._manners = manners or Manners()
        self._clock = clock
        self._place: Place | None = None
        self._thread: LoopThread | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{self.host}"

    @property
    def storage_url(self) -> str:
        """The other host that blobs come from, where the manners send clients there."""
        return self._at.storage

    @property
    def store(self) -> Store:
        """What it holds, without HTTP."""
        return self._at.store

    @property
    def access(self) -> Access:
        """Its door: `access.public` is a set of patterns that may be added to."""
        return self._at.access

    @property
    def manners(self) -> Manners:
        """How it behaves; may be changed at any time."""
        return self._manners

    @manners.setter
    def manners(self, manners: Manners) -> None:
        self._manners = manners
        if self._place is not None:
            self._place.manners = manners

    def on_tag_put(self, hook: OnTagPut) -> OnTagPut:
        """Have `hook(repository, tag, digest, view)` called before a tag that is PUT can be seen; returns the hook.

        What it raises is kept in `violations`, and the PUT answers 500. It runs in a thread of its own, so it may read
        from this registry (by HTTP, or with tools), but it must not PUT a tag.
        """
        self.hooks.append(hook)
        return hook

    @property
    def _at(self) -> Place:
        if self._place is None:
            raise ReconcileError("the registry was never started", where=str(self.root), todo="use it inside `with`")
        return self._place

    # starting and stopping

    def __enter__(self) -> Self:
        store = Store(self.root)
        self._thread = LoopThread("registry")
        try:
            self._place = Place(
                store=store,
                clock=self._clock,
                access=Access(self.auth, store.exists, self._clock),
                manners=self._manners,
                visible=Visible(store, self._clock),
                uploads=Uploads(store.files),
                hooks=self.hooks,
                violations=self.violations,
            )
            self._core = Core(self._place)
            self._listener = Listener(self._handle)
            self._thread.run(self._start(self._place))
        except BaseException:
            self._end(store)
            raise
        return self

    async def _start(self, place: Place) -> None:
        self.port = await self._listener.start(self.port)
        place.url = self.url
        place.storage = f"http://{place.manners.storage_host}:{await self._listener.start_other()}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.clear()
        if self._thread is not None:
            self._thread.run(self._listener.close())
        self._end(self.store)

    def _end(self, store: Store) -> None:
        if self._thread is not None:
            self._thread.end()
            self._thread = None
        store.close()

    def listen(self) -> None:
        """Accept connections again, if it doesn't; not to be called from the registry's own thread."""
        if self._thread is not None:
            self._thread.run(self._listener.resume())

    async def stop_listening(self) -> None:
        """Refuse connections from now on, and reset all there are."""
        await self._listener.refuse()

    def read_stale(self, repository: str, tag: str, seconds: float) -> None:
        """Let a tag read for so many seconds of the clock as it was before its last write."""
        self._at.visible.stale(repository, tag, seconds)

    # answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._controlled and request.path.startswith("/control/"):
            return await control.serve(self, request)
        number = self.requests.arrive()
        try:
            call = wire.call_of(request, number)
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self.latency:
                await asyncio.sleep(self.latency)
            fault = self.faults.pick(call)
            if fault is None:
                answer = await self._core.answer(call)
            else:
                answer = await fault.action.play(Scene(call, lambda: self._core.answer(call), self))
            self._note(request, call, answer, "" if fault is None else str(fault))
            with suppress(ConnectionError):
                return await wire.send(request, answer, lambda: self.requests.leave(number))
            return web.Response(status=500)  # there is nobody left to read it
        finally:
            self.requests.leave(number)

    def _note(self, request: web.BaseRequest, call: Call, answer: Answer, fault: str) -> None:
        headers, route = request.headers, call.route
        self.requests.add(
            Seen(
                number=call.number,
                method=call.method,
                path=call.path,
                query=call.query,
                host=headers.get("Host", ""),
                kind=route.kind,
                repository=route.repository,
                reference=route.reference,
                status=answer.status,
                user=call.user,
                user_agent=headers.get("User-Agent", ""),
                credentials=headers.get("Authorization", "").partition(" ")[0].lower(),
                received=call.received,
                sent=0 if call.method == "HEAD" else answer.length,
                time=self._clock(),
                fault=fault,
            )
        )
