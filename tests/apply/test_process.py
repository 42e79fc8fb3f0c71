"""Programs are bounded in time and output and end with all they started; what they said is kept and harmless."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from reconciler.apply import process
from reconciler.apply.lines import Redactor
from reconciler.apply.process import run
from reconciler.errors import ToolError, ToolMissing, ToolTimeout

ENV = {"PATH": os.environ["PATH"]}
LONG = 60.0


def python(code: str) -> list[str]:
    """A program."""
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Whether it runs (a zombie doesn't)."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False


async def gone(pid: int) -> bool:
    """Whether it ends in good time."""
    for _ in range(500):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_output_and_log(tmp_path: Path) -> None:
    """What is captured comes back as it is; the rest goes to the log, made harmless."""
    code = "import sys; print('out'); print('\\x1b[1m::error::tok-123456', file=sys.stderr)"
    log = tmp_path / "logs" / "a.log"
    done = await run(
        python(code), name="x", env=ENV, limit=LONG, log=log, capture=True, redact=Redactor(["tok-123456"])
    )
    assert done.output == b"out\n"
    assert log.read_text(encoding="utf-8") == ": :error::[hidden]\n"
    assert done.tail == (": :error::[hidden]",)
    assert done.log == str(log)


async def test_both_streams_go_to_the_log(tmp_path: Path) -> None:
    """Without capture nothing comes back; a line that is redrawn counts each time, one without an end counts."""
    code = r"import sys; sys.stdout.write('a\r50%\r100%\r\nlast'); sys.stdout.flush()"
    done = await run(python(code), name="x", env=ENV, limit=LONG, log=tmp_path / "log")
    assert done.output == b""
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == ["a", "50%", "100%", "last"]


async def test_a_failure_says_how_and_shows_the_end(tmp_path: Path) -> None:
    """Status, last lines, log file."""
    code = "import sys\nfor i in range(50): print(i)\nsys.exit(7)"
    with pytest.raises(ToolError) as caught:
        await run(python(code), name="the tool", env=ENV, limit=LONG, log=tmp_path / "log")
    assert "the tool failed (status 7)" in caught.value.what
    assert caught.value.tail[-1] == "49"
    assert len(caught.value.tail) == process.TAIL_LINES
    assert caught.value.log == str(tmp_path / "log")
    with pytest.raises(ToolError, match="SIGKILL"):
        await run(python("import os; os.kill(os.getpid(), 9)"), name="x", env=ENV, limit=LONG)


async def test_what_isnt_there() -> None:
    """A program that isn't on PATH is missing, not failed."""
    with pytest.raises(ToolMissing, match="no-such-program is not on this machine"):
        await run(["no-such-program"], name="x", env=ENV, limit=LONG)


async def test_sees_its_own_environment_and_no_input() -> None:
    """Nothing of this process's environment, and an end of file on stdin."""
    code = "import os, sys; print(sorted(os.environ)); print(repr(sys.stdin.read()))"
    done = await run([*python(code)], name="x", env={"PATH": ENV["PATH"], "ONLY": "1"}, limit=LONG, capture=True)
    names, read = done.output.decode().splitlines()
    assert "ONLY" in names
    assert "HOME" not in names
    assert read == "''"


SPAWN = """
import subprocess, sys, time, signal
{more}
code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'
child = subprocess.Popen([sys.executable, '-c', code])
open(sys.argv[1], 'w').write(str(child.pid))
time.sleep({seconds})
"""


async def spawned(tmp_path: Path) -> int:
    """The process that the program started, once it says so."""
    for _ in range(3000):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((tmp_path / "pid").read_text(encoding="ascii"))
        await asyncio.sleep(0.01)
    raise AssertionError("it never said its process id")


async def test_out_of_time_ends_the_whole_group(tmp_path: Path) -> None:
    """A time limit kills what was started by what was started, whatever it does with SIGTERM."""
    code = SPAWN.format(more="", seconds=600)
    with pytest.raises(ToolTimeout, match="took longer than 1 s"):
        await run([*python(code), str(tmp_path / "pid")], name="x", env=ENV, limit=1.0)
    assert await gone(await spawned(tmp_path))


async def test_cancelled_ends_the_whole_group(tmp_path: Path) -> None:
    """A change that is interrupted leaves no process."""
    code = SPAWN.format(more="", seconds=600)
    task = asyncio.create_task(run([*python(code), str(tmp_path / "pid")], name="x", env=ENV, limit=LONG))
    pid = await spawned(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)


async def test_ignoring_sigterm_doesnt_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't end by itself in its grace is killed."""
    monkeypatch.setattr(process, "GRACE", 0.2)
    code = SPAWN.format(more="signal.signal(15, signal.SIG_IGN)", seconds=600)
    with pytest.raises(ToolTimeout):
        await run([*python(code), str(tmp_path / "pid")], name="x", env=ENV, limit=1.0)
    assert await gone(await spawned(tmp_path))


async def test_what_it_leaves_behind_doesnt_hold_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that outlives its parent and keeps the pipes open is ended too."""
    monkeypatch.setattr(process, "_DRAIN", 0.2)
    code = SPAWN.format(more="", seconds=0)
    await run([*python(code), str(tmp_path / "pid")], name="x", env=ENV, limit=LONG, log=tmp_path / "log")
    assert await gone(await spawned(tmp_path))


async def test_too_much_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, whatever a program writes."""
    monkeypatch.setattr(process, "MAX_OUTPUT", 1000)
    with pytest.raises(ToolError, match="more than 1000 bytes"):
        await run(python("print('x' * 5000)"), name="x", env=ENV, limit=LONG, capture=True)


async def test_a_log_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log has a size, says that it was cut, and the last lines are still known."""
    monkeypatch.setattr(process, "MAX_LOG", 100)
    done = await run(python("for i in range(999): print(i)"), name="x", env=ENV, limit=LONG, log=tmp_path / "log")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "(the rest was cut)"
    assert len(lines) < 60
    assert done.tail[-1] == "998"


PARENT = """
import asyncio, os, sys
from {room}.process import run
code = 'import sys, os, time; open(sys.argv[1], "w").write(str(os.getpid())); time.sleep(600)'
asyncio.run(run([sys.executable, '-c', code, sys.argv[1]], env=dict(os.environ), {limits}))
"""
LIMITS = {"reconciler.apply": "name='x', limit=600", "reconciler.upstream": "seconds=600, cap=1"}


@pytest.mark.parametrize("room", LIMITS)
@pytest.mark.parametrize("launcher", ["setpriv", "own"])
async def test_dies_with_its_parent(tmp_path: Path, launcher: str, room: str) -> None:
    """kill -9 of the one that runs it takes the program with it, with and without setpriv(1); git, too."""
    hide = "import shutil; shutil.which = lambda name, **_: None if name == 'setpriv' else sys.executable\n"
    parent_code = PARENT.format(room=room, limits=LIMITS[room])
    code = parent_code if launcher == "setpriv" else "import sys\n" + hide + parent_code
    parent = await asyncio.create_subprocess_exec(*python(code), str(tmp_path / "pid"))
    pid = await spawned(tmp_path)
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    assert await gone(pid)


async def test_cancelled_at_any_moment_it_is_gone(tmp_path: Path) -> None:
    """However soon it is cancelled after its start, the program is ended and waited for."""
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"
    for turns in range(30):
        job = asyncio.create_task(run(python(code), name="x", env=ENV, limit=LONG))
        for _ in range(turns):
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    started = (tmp_path / "pid").read_text().split() if (tmp_path / "pid").exists() else []
    assert not [pid for pid in map(int, started) if alive(pid)]
