"""A kept program ends with its owner, and takes everything it started with it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.errors import ToolError, ToolTimeout
from reconciler.local.kept import Kept

ENV = {"PATH": "/usr/bin:/bin"}
LONGEST = 30.0

# starts a grandchild that leaves its session and outlives its parent, says both pids, then waits
FAMILY = "setsid sleep 1000 & echo $$ $! >&2; exec sleep 1000"

OWNER = """
import sys
from pathlib import Path
from reconciler.local.kept import Kept
folder = Path(sys.argv[1])
kept = Kept.start(["sh", "-c", sys.argv[2]], log=folder.parent / "log", env={"PATH": "/usr/bin:/bin"}, folder=folder)
print(kept.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def until(log: Path, count: int) -> list[str]:
    """The words of a log, waited for until there are so many."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        words = log.read_text().split() if log.exists() else []
        if len(words) >= count:
            return words
        os.sched_yield()
    raise AssertionError("it never said so")


def family(log: Path) -> list[int]:
    """The pids that FAMILY wrote."""
    return [int(word) for word in until(log, 2)]


def test_stop_ends_the_whole_family(tmp_path: Path) -> None:
    """After `stop` neither the program nor a grandchild in a session of its own runs, and the folder is gone."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "data").write_text("x")
    kept = Kept.start(["sh", "-c", FAMILY], log=tmp_path / "log", env=ENV, folder=folder)
    pids = family(tmp_path / "log")
    assert kept.pid == pids[0]
    assert all(map(alive, pids))
    assert not kept.ended()
    kept.stop()
    kept.stop()
    assert not any(map(alive, pids))
    assert kept.ended()
    assert not folder.exists()


def test_a_deaf_program_is_killed(tmp_path: Path) -> None:
    """A program that ignores SIGTERM ends after its grace."""
    deaf = "trap '' TERM; echo deaf; while :; do sleep 1000; done"
    kept = Kept.start(["sh", "-c", deaf], log=tmp_path / "log", env=ENV, grace=0.1)
    until(tmp_path / "log", 1)
    kept.stop()
    assert not alive(kept.pid)


def test_a_killed_owner(tmp_path: Path) -> None:
    """kill -9 of the owner ends all, and clears the folder."""
    (tmp_path / "run").mkdir()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path / "run", FAMILY], stdin=-1, stdout=-1, text=True)
    assert owner.stdout is not None
    owner.stdout.readline()
    pids = family(tmp_path / "log")
    keeper = os.pidfd_open(int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1]))
    owner.kill()
    owner.communicate()
    try:
        assert select.select([keeper], [], [], LONGEST)[0]
    finally:
        os.close(keeper)
    assert not any(map(alive, pids))
    assert not (tmp_path / "run").exists()


def test_ready_is_what_the_program_says_itself(tmp_path: Path) -> None:
    """READY=1 of the program counts, one of its child doesn't."""
    send = (
        "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1))"
    )
    child = f'import subprocess,sys\nsubprocess.run([sys.executable,"-c",{send!r}])\nprint("said", flush=True)\n'
    wait = "import time; time.sleep(1000)"
    kept = Kept.start([sys.executable, "-c", child + wait], log=tmp_path / "log", env=ENV, notify=True)
    try:
        until(tmp_path / "log", 1)
        with pytest.raises(ToolTimeout, match="not ready after 0 s"):
            kept.wait_ready(0.2)
    finally:
        kept.stop()
    kept = Kept.start([sys.executable, "-c", f"{send}\n{wait}"], log=tmp_path / "log", env=ENV, notify=True)
    try:
        kept.wait_ready(LONGEST)
    finally:
        kept.stop()


def test_a_program_that_ends_is_an_error_with_its_last_lines(tmp_path: Path) -> None:
    """Waiting for one that ends tells its status and what it said."""
    kept = Kept.start(["sh", "-c", "echo no such luck; exit 7"], log=tmp_path / "log", env=ENV, notify=True)
    with pytest.raises(ToolError, match="sh ended with status 7") as caught:
        kept.wait_ready(LONGEST)
    assert caught.value.tail == ("no such luck",)
    kept.stop()


def test_a_program_that_isnt_there(tmp_path: Path) -> None:
    """A program that can't be started is an error of ours."""
    with pytest.raises(ToolError, match="nothing-here could not be started") as caught:
        Kept.start([tmp_path / "nothing-here"], log=tmp_path / "log", env=ENV)
    assert any("No such file" in line for line in caught.value.tail)


def test_secrets_of_the_owner_stay_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept program sees what it is given and proxies, nothing else of the owner's environment."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test")
    kept = Kept.start(["sh", "-c", "env; exit 1"], log=tmp_path / "log", env=ENV, notify=True)
    with pytest.raises(ToolError):
        kept.wait_ready(LONGEST)
    kept.stop()
    text = (tmp_path / "log").read_text()
    assert "HTTPS_PROXY=http://proxy.test" in text
    assert "secret" not in text


LATE = """
import subprocess, sys, time
from reconciler.local import keeper
orphan = subprocess.Popen(["sleep", "1000"])
ended = subprocess.Popen(["true"], stdout=subprocess.PIPE)
ended.stdout.read()
deadline = time.monotonic() + float(sys.argv[1])
while keeper._any_alive([ended.pid]):
    keeper._wait_child([ended.pid], deadline)
print(time.monotonic() < deadline, flush=True)
orphan.kill()
"""


def test_nobody_waits_for_an_orphan() -> None:
    """Once the program has ended, what it left behind is ended too, without the grace that it was never offered."""
    done = subprocess.run([sys.executable, "-c", LATE, str(LONGEST)], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
