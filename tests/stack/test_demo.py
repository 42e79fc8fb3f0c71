"""The demo as a user runs it: its story ends well, every command that it prints works, and nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools

LIMIT = 300.0
QUIET = "Nothing to do"


class Demo:
    """A running demo and what it said on stdout so far."""

    def __init__(self, process: subprocess.Popen[bytes], temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        self.said = ""

    def until(self, text: str) -> str:
        """Read on until it says `text`, or fail with all that it said."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + LIMIT
        while text not in self.said:
            assert select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0], self.said
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, f"it ended without saying {text!r}:\n{self.said}\n{self.errors}"
            self.said += more.decode()
        return self.said

    def ended(self) -> int:
        """Its status, once it ended."""
        rest, _ = self.process.communicate(timeout=LIMIT)
        self.said += rest.decode()
        return self.process.returncode

    @property
    def errors(self) -> str:
        """What it said on stderr."""
        return (self.temporary.parent / "stderr").read_text(errors="replace")

    def left(self) -> list[str]:
        """Its files, and the processes that it started."""
        left = [str(path) for path in self.temporary.rglob("*")]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if str(self.temporary).encode() in words:
                    left.append(words.decode(errors="replace")[:200])
        return left


@contextmanager
def demo(tmp_path: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Demo]:
    """`reconcile demo` with a folder of its own for temporary files, short enough for sockets."""
    temporary = tmp_path / "t"
    temporary.mkdir(exist_ok=True)
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", "from reconciler.cli import run; run()", "demo", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(temporary), **(env or {})},
        )
        try:
            yield Demo(process, temporary)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's, also below a worker's."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


def shell(line: str, file: Path) -> subprocess.CompletedProcess[str]:
    """A command of the demo, in a shell that has read the demo's file."""
    clean = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        ["sh", "-c", f'. "{file}" && {line}'], env=clean, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def test_the_story_and_every_command_that_it_prints(short: Path, tools: Tools) -> None:
    """Plan, apply, plan; crane, cosign, docker and reconcile agree on the result; Ctrl-C ends it, and all is gone."""
    assert tools[Tool.CRANE]
    with demo(short, "--keep") as told:
        told.until("Ctrl-C")
        said = told.until("--identity-token=sigstore/token.jwt\n\n")
        first, second = said.split("$ reconcile apply")
        for version in ("1.2.0", "1.1.0", "1.0.1"):
            assert re.search(rf"\+ publish +hello:{version} ", first)
        assert not re.search(r"\+ .*(rc\.1|0\.9\.0)", first)
        assert re.search(r"> move pointer +hello:latest .*1\.2\.0", first)
        assert "8 of 8 changes done." in second
        assert QUIET in second.split("$ reconcile plan")[1]
        assert "8 tags when it was put: all were whole and signed" in second

        file = next(told.temporary.glob("*/env.sh"))
        lines = [line.strip() for line in said.partition("Ctrl-C")[2].splitlines() if line.startswith("  ")]
        printed = [line for line in lines if not line.startswith(("#", ". "))]
        assert {line.split()[0] for line in printed} == {"crane", "cosign", "docker", "reconcile"}
        answers = {line: shell(line, file) for line in printed}
        failed = {line: done.stderr for line, done in answers.items() if done.returncode != 0}
        assert not failed
        by = {line.split(" --platform=")[-1].split()[0]: done.stdout for line, done in answers.items()}
        assert by["linux/amd64"] == "hello 1.2.0 on x86_64\n"
        assert by["linux/arm64"] == "hello 1.2.0 on aarch64\n"
        index = json.loads(next(done.stdout for line, done in answers.items() if line.startswith("crane manifest")))
        platforms = {child["platform"]["architecture"] for child in index["manifests"]}
        assert platforms == {"amd64", "arm64", "unknown"}
        assert QUIET in answers["reconcile plan --allow-private"].stdout

        told.process.send_signal(signal.SIGINT)
        told.process.send_signal(signal.SIGHUP)
        assert told.ended() == 0, told.errors
        assert told.left() == []


def test_a_kill_in_the_middle_of_apply_leaves_nothing(short: Path) -> None:
    """SIGTERM while builds run, and a terminal that closes then: interrupted, and no file or process is left."""
    with demo(short) as told:
        told.until("$ reconcile apply")
        deadline = time.monotonic() + LIMIT
        while ": build linux/" not in told.errors:
            assert told.process.poll() is None, told.errors
            assert time.monotonic() < deadline
            select.select([], [], [], 0.05)
        told.process.terminate()
        told.process.send_signal(signal.SIGHUP)
        assert told.ended() == 130, told.errors
        assert told.left() == []


def test_an_own_builder_and_a_folder_that_stays(short: Path, builder: Builder) -> None:
    """`--builder` starts no engine; `--folder` leaves desired state, records and images."""
    there = short / "there"
    env = dict(builder.environment())
    with demo(short, f"--builder={builder.name}", f"--folder={there}", env=env) as told:
        assert told.ended() == 0, told.errors
    assert "your own" in told.said
    assert told.said.count(QUIET) == 1
    assert not list(told.temporary.glob("reconcile-*"))
    record = json.loads((there / "state" / "hello.json").read_text())
    (hello,) = (image for name, image in record["images"].items() if name.endswith("/hello"))
    assert set(hello["tags"]) == {"1.2.0", "1.1.0", "1.0.1"}
    assert {path.name for path in there.iterdir()} >= {"desired", "state", "registry", "upstream", "logs"}
