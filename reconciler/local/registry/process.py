"""The registry in a process of its own, started and stopped from here."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError

_START = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """Where it is, and its process."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return self.url.partition("://")[2]


def start(root: Path, *options: str, environment: Mapping[str, str] | None = None) -> Served:
    """Start it, and wait until it serves; the caller ends the process. `options` are those of `__main__`."""
    command = [sys.executable, "-m", "reconciler.local.registry", "--root", str(root), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    line = _first_line(process)
    if not line.startswith("http://"):
        stop(process)
        raise ToolError("the registry's process didn't start", where=str(root), todo="see what it said on stderr")
    return Served(line.strip(), process)


@contextmanager
def serve(root: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Inside `with`, it serves."""
    served = start(root, *options, environment=environment)
    try:
        yield served
    finally:
        stop(served.process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End its process, kindly if that works."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 - started with a pipe
    line, until = b"", time.monotonic() + _START
    while not line.endswith(b"\n") and (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        if not ready or not (more := os.read(process.stdout.fileno(), 4096)):
            break
        line += more
    return line.decode(errors="replace")
