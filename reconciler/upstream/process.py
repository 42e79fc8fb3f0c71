"""One program run to its end: bounded in time and output, with nothing of it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.mortal import mortal

_STDERR_KEPT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its status, all of its stdout, and the end of its stderr."""

    status: int
    out: bytes
    err: str


class TooLong(Exception):
    """It took longer than its limit and was killed."""


class TooMuch(Exception):
    """It wrote more than its limit and was killed."""


async def run(arguments: Sequence[str], env: Mapping[str, str], *, seconds: float, cap: int) -> Ran:
    """Runs a program from `/` in a process group of its own, without stdin, and waits for it; it dies with us.

    Raises FileNotFoundError where it isn't there, TooLong and TooMuch; the whole group is killed then, and on
    cancellation.
    """
    program = shutil.which(arguments[0], path=env.get("PATH"))
    if program is None:
        raise FileNotFoundError(arguments[0])
    process = await asyncio.create_subprocess_exec(
        *mortal([program, *arguments[1:]]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd="/",
        start_new_session=True,
        umask=0o022,  # file modes of a checkout must not depend on who runs this
    )
    reading = asyncio.create_task(_read(process.stdout, cap))
    listening = asyncio.create_task(_tail(process.stderr))
    done = False
    try:
        async with asyncio.timeout(seconds):
            out, err = await asyncio.gather(reading, listening)
            status = await process.wait()
            done = True
    except TimeoutError:
        raise TooLong from None
    finally:
        if not done:
            reading.cancel()
            listening.cancel()
            await asyncio.gather(reading, listening, return_exceptions=True)
            await _kill(process)
    return Ran(status, out, err.decode("utf-8", "replace"))


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # what is still in its pipes is read, so that asyncio closes them and reaps the child
    await asyncio.gather(_drain(process.stdout), _drain(process.stderr))
    await process.wait()


async def _read(stream: asyncio.StreamReader | None, cap: int) -> bytes:
    data = bytearray()
    while stream is not None and (chunk := await stream.read(65536)):
        data += chunk
        if len(data) > cap:
            raise TooMuch
    return bytes(data)


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    data = b""
    while stream is not None and (chunk := await stream.read(65536)):
        data = (data + chunk)[-_STDERR_KEPT:]
    return data


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(65536):
        pass
