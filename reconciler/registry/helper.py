"""Docker's credential helpers (`docker-credential-NAME get`), bounded in time and output."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping

from reconciler.errors import ToolError, ToolMissing, ToolTimeout
from reconciler.registry.credential import Credential, Use
from reconciler.registry.dockerconfig import TOKEN_USERNAME

MAX_BYTES = 64 * 1024
# what helpers say, on stdout, when they have nothing for a host (docker-credential-helpers credentials/error.go)
_NOTHING = b"credentials not found"


def get(name: str, server: str, *, environ: Mapping[str, str], limit: float = 30.0) -> Credential | None:
    """What the helper `name` has for `server`, None where it has nothing. `limit` in seconds.

    `server` goes in by stdin and the secret comes out by stdout: neither is ever an argument.
    Raises ToolMissing, ToolTimeout, or ToolError; their texts hold nothing that the helper said.
    """
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH", os.defpath))
    if path is None:
        raise ToolMissing(f"{program} isn't on the PATH", todo="install it, or take it out of docker's config.json")
    status, out = _run([path, "get"], server.encode(), environ, limit, program)
    if status != 0:
        if _NOTHING in out.lower():
            return None
        raise ToolError(
            f"{program} get ended with status {status}", todo=f"try: echo {server} | {program} get >/dev/null"
        )
    return _read(out, program)


def _read(out: bytes, program: str) -> Credential | None:
    try:
        value = json.loads(out.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    username = value.get("Username") if isinstance(value, dict) else None
    secret = value.get("Secret") if isinstance(value, dict) else None
    if not isinstance(username, str) or not isinstance(secret, str) or any(ord(c) < 0x20 for c in username + secret):
        raise ToolError(f"{program} get gave no JSON with Username and Secret")
    if not secret:
        return None
    if username == TOKEN_USERNAME:
        return Credential("", secret, Use.IDENTITY, program)
    return Credential(username, secret, Use.PASSWORD, program)


def _run(argv: list[str], given: bytes, environ: Mapping[str, str], limit: float, program: str) -> tuple[int, bytes]:
    """Status and stdout of a process that gets `given` by stdin; it and its children are killed at the limits."""
    deadline = time.monotonic() + limit
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"{program} can't be started: {type(error).__name__}") from None
    out = b""
    try:
        with process, selectors.DefaultSelector() as selector:
            assert process.stdin is not None  # noqa: S101 - tells mypy
            assert process.stdout is not None  # noqa: S101
            try:
                # a host name is shorter than any pipe's buffer: this can't block
                process.stdin.write(given)
                process.stdin.close()
            except BrokenPipeError:
                pass
            selector.register(process.stdout, selectors.EVENT_READ)
            try:
                while True:
                    left = deadline - time.monotonic()
                    if left <= 0 or not selector.select(left):
                        raise ToolTimeout(f"{program} get took longer than {limit:g} s")
                    chunk = os.read(process.stdout.fileno(), 8192)
                    if not chunk:
                        break
                    out += chunk
                    if len(out) > MAX_BYTES:
                        raise ToolError(f"{program} get said more than {MAX_BYTES // 1024} KiB")
                process.wait(max(0.0, deadline - time.monotonic()))
            except (ToolError, subprocess.TimeoutExpired) as error:
                _kill(process)
                if isinstance(error, ToolError):
                    raise
                raise ToolTimeout(f"{program} get took longer than {limit:g} s") from None
    except OSError as error:
        raise ToolError(f"{program} can't be spoken to: {type(error).__name__}") from None
    return process.returncode, out


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
