"""An apply that is killed between any two steps, and then run again: nothing is lost, nothing unfinished is seen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.results import Done
from reconciler.apply.runconfig import PREFIX
from reconciler.local.builder import Builder
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.tools import Tools
from tests.stack.mirror import AMD64, Mirror, Steps
from tests.stack.watching import watched

New = Callable[..., Mirror]


@pytest.fixture
def new(registry: CncfRegistry, base_images: BaseImages, builder: Builder, tools: Tools, tmp_path: Path) -> New:
    """Makes a mirror of its own on the registry that the tests share; one platform, for it is applied many times."""
    (tmp_path / "temporary").mkdir()

    def make(**fields: Any) -> Mirror:
        return Mirror.on(registry.host, base_images, builder, tools, tmp_path, platforms=(AMD64,), **fields)

    return make


def start(mirror: Mirror, kill_at: int = 0, kill_on: str = "") -> subprocess.Popen[str]:
    """An apply in a process of its own, with a folder of its own for temporary files."""
    settings = mirror.folder / "settings.json"
    settings.write_text(json.dumps(mirror.settings(kill_at, kill_on)), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stack.mirror", str(settings)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(mirror.folder / "temporary")},
    )


def left_behind(mirror: Mirror) -> list[str]:
    """Folders of runs, and processes that know of this mirror's folder."""
    folders = [path.name for path in (mirror.folder / "temporary").iterdir()]
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(mirror.folder).encode() in words:
            processes.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return [*folders, *processes]


def building(mirror: Mirror) -> list[int]:
    """The processes of buildx that build for this mirror."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if b"buildx\0build\0" in words and str(mirror.repository()).encode() in words:
            found.append(int(entry.name))
    return found


def until(holds: Callable[[], bool], limit: float = 60) -> None:
    """Waits for something that happens in another process."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_killed_before_any_step(new: New) -> None:
    """Killed before its n-th step, for every n, an apply is finished by the next, which builds nothing twice."""
    kills = 0
    while True:
        kills += 1
        mirror = new(versions=(f"1.{kills}.0",))
        tags = [mirror.tag(f"1.{kills}.0"), mirror.tag("latest")]
        with watched(tags, ["linux/amd64"]) as watcher:
            killed = start(mirror, kills)
            said = killed.communicate(timeout=300)[0].splitlines()
            if killed.returncode == 0:
                break
            assert killed.returncode == -signal.SIGKILL, said
            steps = Steps()
            outcome = await mirror.reconcile(steps)
            assert outcome.exit_code == 0, (kills, outcome)
        assert watcher.wrong == []
        # what was pushed and signed is taken up, and a tag that was written stays
        signed = any("push the index" in line for line in said)
        assert [line for line in steps.lines if "build" in line and signed] == [], (said, steps.lines)
        assert (await mirror.plan()).changes == ()
        assert (await mirror.plan(fresh=True)).changes == ()
    # build, sign, index, attest, verify, tag, record, and the pointer's three
    assert kills > 9, said
    assert left_behind(mirror) == []


async def test_killed_inside_a_build(new: New) -> None:
    """Killed while buildx works, apply takes it with it, and the next clears what it left and finishes."""
    mirror = new()
    mirror.dockerfile += "RUN sleep 345\n"
    running = start(mirror)
    until(lambda: building(mirror) != [])
    running.kill()
    running.communicate()
    until(lambda: building(mirror) == [])
    assert [name for name in left_behind(mirror) if name.startswith(PREFIX)]
    mirror.dockerfile = mirror.dockerfile.replace("345", "0")
    again = start(mirror)
    again.communicate(timeout=300)
    assert again.returncode == 0
    assert left_behind(mirror) == []


async def test_killed_buildx_is_a_failed_build(new: New) -> None:
    """Somebody kills buildx alone: that change fails and says so, the log is named, and the next run finishes."""
    mirror = new()
    killed: list[int] = []

    def at_build(_number: int, line: str) -> None:
        if "build" in line:
            strike()

    def strike() -> None:
        for pid in building(mirror):
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
        if not killed:
            asyncio.get_running_loop().call_later(0.01, strike)

    mirror.dockerfile += "RUN sleep 5\n"
    outcome = await mirror.reconcile(Steps(at_build))
    assert killed
    assert outcome.exit_code == 1
    assert "SIGKILL" in str(outcome.results[0])
    plan = await mirror.plan(retry=True)
    outcome = await mirror.apply(plan)
    assert [type(result) for result in outcome.results] == [Done, Done]
