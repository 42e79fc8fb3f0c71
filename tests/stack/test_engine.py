"""A private engine leaves nothing behind, however it ends, and two of them don't meet."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ToolError
from reconciler.local import binfmt
from reconciler.local import engine as engine_room
from reconciler.local.builder import private_builder
from reconciler.local.catalogue import Tool
from reconciler.local.engine import Engine, clear_stale
from reconciler.local.images import BaseImages
from reconciler.local.tools import Tools, obtain
from reconciler.model.platform import Platform
from tests.stack.running import run_tool

LONGEST = 60.0

OWNER = """
import sys
from pathlib import Path
from reconciler.local.engine import Engine, TOOLS
from reconciler.local.tools import obtain
with Engine(obtain(*TOOLS), base=Path(sys.argv[1])) as engine:
    print(engine.folder, engine.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder with a short path (sockets) for run folders."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="eng-") as name:
        yield Path(name)


def traces(folder: Path) -> list[str]:
    """What is left of an engine: its folder, processes that it started, mounts, its network bridge, its cgroups."""
    left = [str(folder)] if folder.exists() else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words and int(entry.name) != os.getpid():
                left.append(words.decode(errors="replace"))
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    left += [name for _, name in socket.if_nameindex() if name == f"rcl-{folder.name[-8:]}"]
    return left + [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{folder.name}")]


def state_of_machine() -> dict[str, object]:
    """What Docker engines like to leave on a machine."""
    run = {str(path) for name in ("docker", "containerd", "runc") for path in Path("/run", name).rglob("*")}
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    return {
        "run": run,
        "forward": forward,
        "etc": Path("/etc/docker").exists(),
        "lib": Path("/var/lib/docker").exists(),
    }


def gone(pid: int) -> int:
    """A file descriptor that becomes readable when the process ends."""
    return os.pidfd_open(pid)


def wait(descriptor: int) -> None:
    """Wait for what the descriptor stands for."""
    try:
        assert select.select([descriptor], [], [], LONGEST)[0], "it goes on and on"
    finally:
        os.close(descriptor)


def keeper_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_nothing_is_left_after_a_build(
    tools: Tools, builder: object, base_images: BaseImages, base: Path, tmp_path: Path
) -> None:
    """A second engine beside the session's runs builds; after its end nothing of it is there."""
    (tmp_path / "Dockerfile").write_text(f"FROM {base_images.busybox}\nRUN echo one > /one\n")
    before = state_of_machine()
    with Engine(tools, base=base) as engine, private_builder(tools, engine, name="second") as second:
        assert traces(engine.folder)
        env = second.environment()
        run_tool(*second.command("build", f"--output=type=tar,dest={tmp_path / 'out.tar'}"), tmp_path, env=env)
    assert (tmp_path / "out.tar").stat().st_size > 0
    assert traces(engine.folder) == []
    assert state_of_machine() == before


def test_running_containers_end_with_the_engine(tools: Tools, base_images: BaseImages, base: Path) -> None:
    """A container that somebody started on the engine ends with it, its shim too."""
    with Engine(tools, base=base) as engine:
        env = {"DOCKER_HOST": f"unix://{engine.socket}"}
        words = ("run", "--detach", "--network=none", base_images.busybox, "sleep", "1000")
        name = run_tool(tools[Tool.DOCKER], *words, env=env).stdout.strip()
        asked = ("inspect", "--format={{.State.Pid}}", name)
        pid = gone(int(run_tool(tools[Tool.DOCKER], *asked, env=env).stdout))
        assert select.select([pid], [], [], 0)[0] == []
    wait(pid)
    assert traces(engine.folder) == []


def test_an_error_inside_ends_the_engine(tools: Tools, base: Path) -> None:
    """Where the body raises, the engine ends all the same."""
    engine = Engine(tools, base=base)
    with pytest.raises(KeyboardInterrupt), engine:
        raise KeyboardInterrupt
    assert traces(engine.folder) == []


def start_owner(base: Path) -> tuple[subprocess.Popen[str], Path, int]:
    """A process of its own that owns an engine; the engine's folder and pid."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, base], stdin=-1, stdout=-1, text=True)
    assert owner.stdout is not None
    folder, pid = owner.stdout.readline().split()
    return owner, Path(folder), int(pid)


def close(owner: subprocess.Popen[str]) -> None:
    """Collect a process that ended."""
    owner.communicate(timeout=LONGEST)


def test_a_killed_owner_takes_the_engine_with_it(tools: Tools, base: Path) -> None:
    """kill -9 of the process that started it: the keeper ends the engine and clears everything away."""
    owner, folder, pid = start_owner(base)
    keeper = gone(keeper_of(pid))
    owner.kill()
    close(owner)
    wait(keeper)
    assert traces(folder) == []


def test_the_next_start_clears_after_a_killed_keeper(tools: Tools, base: Path) -> None:
    """kill -9 of owner and keeper: dockerd ends by itself, the next start removes what it left, and nothing live."""
    owner, folder, pid = start_owner(base)
    dockerd = gone(pid)
    os.kill(keeper_of(pid), signal.SIGKILL)
    owner.kill()
    close(owner)
    wait(dockerd)
    assert folder.exists()
    with Engine(tools, base=base) as live:
        assert traces(folder) == []
        clear_stale(base)
        assert live.folder.exists()
    assert list(base.iterdir()) == []


def test_without_root_it_says_what_to_do(tools: Tools, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this isn't root, the error names the way out, and nothing was made."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="--builder"), Engine(tools, base=base):
        raise AssertionError("it started")
    assert list(base.iterdir()) == []


def test_emulation_ends_with_its_last_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator serves all who asked for it, and after the last of them the machine is as it was before."""
    monkeypatch.setattr(binfmt, "_LOCKS", tmp_path)  # apart from the session's own users
    monkeypatch.setattr(binfmt, "_PREFIX", "stack-test-")
    armv7 = Platform.parse("linux/arm/v7")
    tools = obtain(*binfmt.tools_for([armv7]), Tool.BUSYBOX_ARM)

    def runs() -> bool:
        try:
            return run_tool(tools[Tool.BUSYBOX_ARM], "uname", "-m").stdout.startswith("armv")
        except OSError:
            return False

    before = (runs(), binfmt.FOLDER.is_mount())
    with binfmt.emulation([armv7], tools):
        with binfmt.emulation([armv7], tools):
            assert runs()
        assert runs()
    assert (runs(), binfmt.FOLDER.is_mount()) == before


def test_it_builds_without_overlay(
    tools: Tools, base_images: BaseImages, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that carries no overlay (a container's own, for one) builds copy files, and one is told so."""
    monkeypatch.setattr(engine_room, "overlay_works", lambda _: False)
    (tmp_path / "Dockerfile").write_text(f"FROM {base_images.busybox}\nRUN echo one > /one\n")
    said: list[str] = []
    with Engine(tools, base=base, say=said.append) as engine, private_builder(tools, engine) as builder:
        env = builder.environment()
        assert re.search(r"snapshotter: +native", run_tool(*builder.command("inspect"), env=env).stdout)
        run_tool(*builder.command("build", f"--output=type=tar,dest={tmp_path / 'out.tar'}"), tmp_path, env=env)
    assert (tmp_path / "out.tar").stat().st_size > 0
    assert len(said) == 1
    assert "slower" in said[0]
