"""What a machine may be like: a full disk, no home, an odd clock and locale, closed streams, an impatient user."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import pytest

from reconciler import record
from reconciler.apply.results import Failed
from reconciler.local.registry import Fault
from reconciler.local.registry.actions import Stall
from tests.faults.test_apply_faults import nothing, trials
from tests.support.mirrors import LocalMirror, mirror

RUN = "from reconciler.cli import run; run()"


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror with something to do, whose names aren't ASCII."""
    with mirror(tmp_path) as made:
        made.released("1.0.0", "1.1.0")
        made.publish("1.0.0")
        yield made


def argv(m: LocalMirror, verb: str, *flags: str) -> list[str]:
    """One command, as a user runs it."""
    places = [f"--desired={m.desired}", f"--state={m.state}", "--allow-private"]
    return [sys.executable, "-c", RUN, verb, *places, *flags]


def environment(m: LocalMirror, **more: str) -> dict[str, str]:
    """What a process needs, and no more: no home, no locale, no time zone."""
    return {"PATH": os.environ["PATH"], **m.upstream.env, **more}


def run(m: LocalMirror, verb: str, *flags: str, env: Mapping[str, str] | None = None) -> tuple[int, bytes, bytes]:
    """Its status, stdout and stderr."""
    done = subprocess.run(
        argv(m, verb, *flags), capture_output=True, check=False, env=environment(m, **(env or {})), timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "TZ": "Pacific/Chatham",
            "HOME": "/nowhere/at/all",
        },
        {"PYTHONIOENCODING": "ascii:strict", "TZ": "\x01:/etc", "HOME": "", "TMPDIR": "", "COLUMNS": "0"},
    ],
)
def test_odd_surroundings_change_nothing(m: LocalMirror, env: dict[str, str]) -> None:
    """The same plan with the same hash, status 2, nothing on stderr; no home is needed."""
    usual = json.loads(m.run("plan", "--format=json")[1])
    status, out, err = run(m, "plan", "--detailed-exitcode", env=env)
    assert (status, err) == (2, b"")
    assert usual["hash"].encode() in out


def test_whoever_has_seen_enough(m: LocalMirror) -> None:
    """`| head`: no complaint, and the plan's own status."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            argv(m, "plan", "--detailed-exitcode"),
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(m),
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (2, b"")


@pytest.mark.parametrize("closed", [">&-", "<&- 2>&-"])
def test_closed_streams(m: LocalMirror, closed: str) -> None:
    """The plan's own status; what is still open shows what it should."""
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *argv(m, "plan", "--detailed-exitcode")]
    done = subprocess.run(shell, capture_output=True, check=False, env=environment(m), timeout=60)
    assert done.returncode == 2
    assert done.stderr == b""
    assert (b"sha256:" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_a_full_disk_under_stdout(m: LocalMirror) -> None:
    """A plan that nobody can read is an error."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            argv(m, "plan"), stdout=full, stderr=subprocess.PIPE, check=False, env=environment(m), timeout=60
        )
    assert done.returncode == 1
    assert b"stdout: it can't be written: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_an_impatient_user(m: LocalMirror, signals: list[signal.Signals]) -> None:
    """Ctrl-C, once or twice, while the registry doesn't answer: status 130, one line, no traceback, at once."""
    stall = Stall()
    m.registry.faults.add(Fault(stall, times=None))
    running = subprocess.Popen(
        argv(m, "plan"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(m), start_new_session=True
    )
    assert stall.gate.arrived(60)
    for one in signals:
        running.send_signal(one)
    out, err = running.communicate(timeout=30)
    m.registry.faults.clear()
    assert (running.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert err.count(b"\n") <= 1


def failing(code: int, at: str) -> mock._patch[mock.MagicMock]:
    """The disk does that at some moment of the writing of a file."""
    error = OSError(code, os.strerror(code))
    return (
        mock.patch("os.fsync", side_effect=error)
        if at == "fsync"
        else mock.patch("tempfile.mkstemp", side_effect=error)
    )


@pytest.mark.parametrize("at", ["mkstemp", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_record(m: LocalMirror, code: int, at: str) -> None:
    """Said clearly with its file, status 1; what was there stays, and nothing half-written with it."""
    m.point("latest", m.publish("1.1.0").digest)
    assert m.run("apply")[0] == 0
    before = (m.state / "hello.json").read_bytes()
    m.released("1.2.0")
    m.publish("1.2.0")
    with failing(code, at):
        status, _, err = m.run("apply")
    assert status == 1
    assert f"hello.json: the record can't be written: {os.strerror(code)}" in err
    assert "Traceback" not in err
    assert {path.name: path.read_bytes() for path in m.state.iterdir()} == {"hello.json": before}


class Disk:
    """Takes so many records, and then is full."""

    def __init__(self, room: int) -> None:
        self.left = room
        self._write = record.replace_file

    def __call__(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Writes, while there is room."""
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(path, data, mode)


async def test_a_disk_that_fills_up_during_an_apply(tmp_path: Path) -> None:
    """Whichever record is the first that can't be written: its change fails and says why, no tag is lost by it."""
    async with trials(tmp_path) as it:
        for room in range(8):
            async with it.world(nothing) as world:
                disk = Disk(room)
                plan = await world.plan()
                with mock.patch.object(record, "replace_file", disk):
                    outcome = await world.apply(plan)
                if disk.left >= 0:
                    assert outcome.exit_code == 0
                    break
                assert outcome.exit_code == 1
                assert any("No space left on device" in one.reason for one in outcome.of(Failed)), room
                tagged = world.visible()
                async with world.anew():
                    assert (await world.reconcile()).exit_code == 0, room
                    assert (await world.plan(fresh=True)).changes == ()
                assert world.blemishes() == []
                assert tagged.items() <= world.visible().items()
        assert room == 4, "two platforms, the tag, the pointer"


async def test_a_clock_that_is_off(tmp_path: Path) -> None:
    """An hour, or ten years, forth or back, between two runs: nothing is built again, nothing is lost."""
    async with trials(tmp_path) as it, it.world(nothing) as world:
        assert (await world.reconcile()).exit_code == 0
        built = list(world.builds.made)
        for years in (10, -20):
            world.now = world.now.replace(year=world.now.year + years)
            assert (await world.reconcile()).results == ()
            assert (await world.plan(fresh=True)).changes == ()
        assert world.builds.made == built


def test_a_state_folder_that_is_none(m: LocalMirror) -> None:
    """A file in its place is said clearly; plan needs none."""
    m.state.write_text("")
    assert m.run("plan")[0] == 1
    status, out, err = m.run("apply", "--format=json")
    assert status == 1
    assert "Traceback" not in out + err
    assert str(m.state) in out + err
