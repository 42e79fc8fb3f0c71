"""Run one program: bounded in time and output, killed with all it started, its output kept and made harmless."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.apply.lines import Redactor, harmless
from reconciler.errors import ToolError, ToolMissing, ToolTimeout
from reconciler.mortal import mortal

TAIL_LINES = 12
MAX_LOG = 32 * 1024 * 1024
MAX_OUTPUT = 64 * 1024 * 1024
_CHUNK = 64 * 1024
# how long a program that was told to stop may take, and how long pipes may stay open after it ended
GRACE = 10.0
_DRAIN = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended well: its stdout (where it was captured), last lines, seconds taken, and its log file."""

    output: bytes
    tail: tuple[str, ...]
    seconds: float
    log: str


async def run(
    argv: Sequence[str],
    *,
    name: str,
    env: Mapping[str, str],
    limit: float,
    log: Path | None = None,
    cwd: Path | None = None,
    redact: Redactor | None = None,
    capture: bool = False,
) -> Finished:
    """Runs `argv` and waits for it; `name` is what errors call it.

    Nothing is read from stdin. With `capture` stdout comes back (64 MiB at most) and stderr alone goes to the log;
    else both do. The log gets at most 32 MiB. `limit` is in seconds. Cancelled or out of time, the program and all
    that it started in its process group get SIGTERM, then SIGKILL.
    Raises ToolMissing, ToolTimeout, or ToolError where it ends with another status than 0.
    """
    program = shutil.which(argv[0], path=env.get("PATH"))
    if program is None:
        raise ToolMissing(f"{argv[0]} is not on this machine", where=name, todo=f"install {argv[0]}, or put it on PATH")
    kept = _Kept(log, redact)
    started = time.monotonic()
    try:
        with kept, contextlib.ExitStack() as pipes:
            # pipes of our own: asyncio's wait() returns only when its pipes close, which what it left may never do
            out, err = _Pipe(pipes), _Pipe(pipes) if capture else None
            said, noted = await out.stream(), await err.stream() if err else None
            process = await asyncio.create_subprocess_exec(
                *mortal([program, *argv[1:]]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out.end,
                stderr=err.end if err else asyncio.subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
            # nothing is awaited from here on but what ends it where this is cancelled
            out.close_end()
            output = bytearray()
            readers = [_collect(said, output) if capture else kept.read(said)]
            if err is not None and noted is not None:
                err.close_end()
                readers.append(kept.read(noted))
            await _finish(process, readers, kept, limit, name)
            if len(output) > MAX_OUTPUT:
                raise ToolError(f"{name} wrote more than {MAX_OUTPUT} bytes", tail=kept.tail, log=kept.where)
    except OSError as error:
        raise ToolError(f"{name} can't be run: {error.strerror or error}", where=str(error.filename or "")) from None
    status = process.returncode
    if status != 0:
        how = f"status {status}" if status is None or status > 0 else f"signal {signal.Signals(-status).name}"
        raise ToolError(f"{name} failed ({how})", tail=kept.tail, log=str(log or ""))
    return Finished(bytes(output), kept.tail, time.monotonic() - started, kept.where)


class _Pipe:
    """What a program writes to, and what we read from; both ends are closed with `stack`."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        read, self.end = os.pipe()
        self._read = stack.enter_context(os.fdopen(read, "rb", buffering=0))
        self._stack = stack
        self._writing = stack.enter_context(os.fdopen(self.end, "wb", buffering=0))

    def close_end(self) -> None:
        """Leave the program's end to the program."""
        self._writing.close()

    async def stream(self) -> asyncio.StreamReader:
        """What the program writes; ends when nobody has its end of the pipe."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, self._read)
        self._stack.callback(transport.close)
        return reader


async def _finish(
    process: asyncio.subprocess.Process,
    reading: Sequence[Coroutine[Any, Any, None]],
    kept: _Kept,
    limit: float,
    name: str,
) -> None:
    readers = [asyncio.create_task(one) for one in reading]
    try:
        async with asyncio.timeout(limit):
            # not the pipes first: something that it left behind could hold them open for ever
            await process.wait()
            await asyncio.wait(readers, timeout=_DRAIN)
    except TimeoutError:
        await _end(process)
        raise ToolTimeout(
            f"{name} took longer than {limit:.0f} s and was stopped", tail=kept.tail, log=kept.where
        ) from None
    finally:
        if process.returncode is None:
            await _end(process)
        if not all(reader.done() for reader in readers):
            _signal(process.pid, signal.SIGKILL)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM to the group, and SIGKILL if it is still there after the grace, or at once if cancelled meanwhile."""
    _signal(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        # what the program itself started may outlive it
        _signal(process.pid, signal.SIGKILL)
        if process.returncode is None:
            with contextlib.suppress(asyncio.CancelledError):
                await process.wait()


def _signal(group: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, what)


async def _collect(stream: asyncio.StreamReader, output: bytearray) -> None:
    while data := await stream.read(_CHUNK):
        # what is too much is read all the same: a program must not block on its pipe until its time is up
        if len(output) <= MAX_OUTPUT:
            output += data


class _Kept:
    """Lines on their way to the log file; the last ones stay at hand."""

    def __init__(self, log: Path | None, redact: Redactor | None) -> None:
        self._path = log
        self._redact = redact
        self._file: BinaryIO | None = None
        self._size = 0
        self._last: deque[str] = deque(maxlen=TAIL_LINES)

    def __enter__(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    @property
    def tail(self) -> tuple[str, ...]:
        return tuple(self._last)

    @property
    def where(self) -> str:
        return str(self._path or "")

    async def read(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while data := await stream.read(_CHUNK):
            # a bare CR redraws a line: each drawing is one
            *lines, rest = (rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            if len(rest) > _CHUNK:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(line)
            # whoever looks while it runs, or after a kill, sees all of it
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.flush()
        if rest:
            self._line(rest)

    def _line(self, raw: bytes) -> None:
        line = harmless(raw.decode(errors="replace"), self._redact)
        if line.strip():
            self._last.append(line)
        if self._file is None or self._size > MAX_LOG:
            return
        data = line.encode() + b"\n"
        self._size += len(data)
        try:
            self._file.write(data if self._size <= MAX_LOG else b"(the rest was cut)\n")
        except OSError as error:
            # a full disk must not block the program on its pipe, nor fail it
            self._last.append(f"(its log ends here: {error.strerror})")
            self._file = None
