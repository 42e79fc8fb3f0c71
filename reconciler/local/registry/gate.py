"""Something that stands still in the registry's thread until a test, in another, lets it go on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Gate:
    """Closed at first; `wait` returns once it is open, in whatever event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._arrived = threading.Event()

    async def wait(self, seconds: float | None = None) -> None:
        """Stand still until `open` is called, or for so many seconds."""
        event = asyncio.Event()
        with self._lock:
            if self._open:
                return
            entry = (asyncio.get_running_loop(), event)
            self._waiting.append(entry)
        self._arrived.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        finally:
            with self._lock, suppress(ValueError):
                self._waiting.remove(entry)

    def open(self) -> None:
        """Let everything go on, now and later."""
        with self._lock:
            self._open = True
            for loop, event in self._waiting:
                # a loop that was closed in the meantime has nothing left to wake
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(event.set)

    def arrived(self, seconds: float) -> bool:
        """Block until something stands at the gate; False where nothing came in so many seconds."""
        return self._arrived.wait(seconds)
