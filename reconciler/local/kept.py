"""Programs that end with this process, whatever ends it: each runs under a keeper (`keeper.py`)."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import ToolError, ToolTimeout

_KEEPER = Path(__file__).with_name("keeper.py")
_STOP = 60
_PASSED_ON = ("TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(slots=True)
class Kept:
    """A program that runs under a keeper; `stop` ends it, and so does the end of this process."""

    name: str
    pid: int
    log: Path
    _keeper: subprocess.Popen[bytes]
    _said: bytes = field(default=b"", init=False)
    _stderr: bytes = field(default=b"", init=False)

    @classmethod
    def start(
        cls,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        folder: Path | None = None,
        private: Sequence[str] = (),
        link: str = "",
        cgroup: str = "",
        notify: bool = False,
        grace: float = 10.0,
    ) -> Kept:
        """Start a program; see `keeper.Orders` for what each word means. Raises ToolError where it can't be started."""
        name = Path(argv[0]).name
        orders = {
            "argv": [str(word) for word in argv],
            "env": {**{key: os.environ[key] for key in _PASSED_ON if key in os.environ}, **env},
            "log": str(log),
            "folder": str(folder or ""),
            "private": list(private),
            "link": link,
            "cgroup": cgroup,
            "notify": notify,
            "grace": grace,
            "owner": os.getpid(),
        }
        try:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"{name} can't be started: {error.strerror}") from error
        kept = cls(name, 0, log, keeper)
        try:
            assert keeper.stdin is not None  # noqa: S101 - a pipe, as asked for above
            keeper.stdin.write(json.dumps(orders).encode() + b"\n")
            keeper.stdin.flush()
            kept.pid = int(kept._expect("started", 30))
        except BaseException:
            kept.stop()
            raise
        return kept

    def wait_ready(self, limit: float) -> None:
        """Wait until the program says that it is ready (only with `notify`)."""
        self._expect("ready", limit)

    def _expect(self, word: str, limit: float) -> str:
        """The rest of the keeper's line that begins with `word`."""
        deadline = time.monotonic() + limit
        assert self._keeper.stdout is not None  # noqa: S101
        pipe = self._keeper.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                line, newline, rest = self._said.partition(b"\n")
                if newline:
                    self._said = rest
                    said, _, value = line.decode("utf-8", "replace").partition(" ")
                    if said == word:
                        return value
                    if said == "ended":
                        raise self._failure(f"{self.name} ended with status {value}")
                    continue
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ToolTimeout(
                        f"{self.name} was not {word} after {limit:.0f} s", tail=self.last_lines(), log=str(self.log)
                    )
                data = os.read(pipe, 4096)
                if not data:
                    raise self._failure(f"{self.name} could not be {word}")
                self._said += data

    def _failure(self, what: str) -> ToolError:
        return ToolError(what, tail=self.last_lines() or self._complaints())

    def ended(self) -> bool:
        """Whether the program is no more."""
        return self._keeper.poll() is not None

    def last_lines(self, count: int = 8) -> list[str]:
        """The last lines that the program wrote."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def _complaints(self) -> list[str]:
        self.stop()
        return self._stderr.decode("utf-8", "replace").splitlines()[-3:]

    def stop(self) -> None:
        """End the program and all that it started, and wait until nothing of it is left; twice is no error."""
        if self._keeper.stdin is None or self._keeper.stdin.closed:
            return
        try:
            self._stderr = self._keeper.communicate(timeout=_STOP)[1] or b""
        except subprocess.TimeoutExpired:  # a process that even SIGKILL doesn't end hangs in the kernel
            self._keeper.kill()
            self._keeper.communicate()
            raise ToolTimeout(f"{self.name} could not be stopped within {_STOP} s", log=str(self.log)) from None
