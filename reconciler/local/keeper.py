"""Runs one program and sees to it that nothing of it outlives its owner: not a process, a mount, a link or a file.

This is a program of its own (`python -I -S keeper.py`), started by `kept.py`. It reads its orders from the first line
of stdin, says `started`, `ready` and `ended` on stdout, and clears everything away when stdin ends, when its owner is
gone (kill -9 included) or when the program ends. Only the standard library: it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 1 << 12, 1 << 14, 1 << 19, 2
_CGROUPS = Path("/sys/fs/cgroup")
# linux/sockios.h
_SIOCSIFFLAGS, _SIOCBRADDBR, _SIOCBRDELBR = 0x8914, 0x89A0, 0x89A1


@dataclass(frozen=True, slots=True)
class Orders:
    """What to run and what to clear away: one JSON object.

    `folder` is removed in the end (empty: none is); `private` names entries of /run that the program gets for itself,
    in a mount namespace of its own (where there are any), so that whatever it mounts goes with its last process;
    `link` is a network bridge that lives as long as the program; `cgroup` is the name of a cgroup that goes with it;
    `notify` waits for the program's READY=1 (sd_notify(3)) before `ready` is said; `grace` is in seconds.
    """

    argv: list[str]
    env: dict[str, str]
    log: str
    folder: str = ""
    private: list[str] = field(default_factory=list)
    link: str = ""
    cgroup: str = ""
    notify: bool = False
    grace: float = 10.0
    owner: int = field(default_factory=os.getppid)


def main() -> int:
    """Keep one program."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_stop.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lock = _hold(orders.folder)
    try:
        if orders.link:
            bridge(orders.link, add=True)
        status = _keep(orders, wake, asked_to_stop)
    finally:
        end_all(orders.grace)
        if orders.link:
            bridge(orders.link, add=False)
        if orders.cgroup:
            remove_cgroup(orders.cgroup)
        if orders.folder:
            clear(Path(orders.folder))
        if lock is not None:
            lock.close()
    _say(f"ended {status}")
    return 0


def _hold(folder: str) -> TextIO | None:
    """The lock that tells a live folder from one whose keeper was killed."""
    if not folder:
        return None
    lock = Path(folder, "lock").open("w", encoding="utf-8")  # noqa: SIM115 - held until the folder is gone
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _keep(orders: Orders, wake: int, asked_to_stop: list[int]) -> int:
    """Run the program until it ends or its owner wants or needs it no more; its status, or 0."""
    selector = selectors.DefaultSelector()
    env, notify = dict(orders.env), None
    if orders.notify:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.bind("")  # an abstract name of the kernel's choice: no file to clear away
        env["NOTIFY_SOCKET"] = "@" + notify.getsockname()[1:].decode("ascii")
        selector.register(notify, selectors.EVENT_READ)
    with Path(orders.log).open("ab") as log:
        child = subprocess.Popen(
            orders.argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: _prepare(orders.private),
        )
    _say(f"started {child.pid}")
    with suppress(ProcessLookupError):  # gone already: its stdin pipe says the same
        selector.register(os.pidfd_open(orders.owner), selectors.EVENT_READ)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == wake:
                os.read(wake, 512)
            elif notify is not None and key.fileobj is notify:
                if _is_ready(notify, child.pid):
                    _say("ready")
            else:
                return 0
        if asked_to_stop:
            return 0
        if (status := reap(child.pid)) is not None:
            return status


def _prepare(private: list[str]) -> None:
    """In the child: die with the keeper, and mount where nobody else sees it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if private:
        _check(_LIBC.unshare(_CLONE_NEWNS))
        _mount("none", "/", flags=_MS_REC | _MS_SLAVE)
        _hide_in_run(private)


def _hide_in_run(private: list[str]) -> None:
    """A /run that has all the real one has, but for `private`: containerd and runc know no other place for state."""
    real = os.open("/run", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _mount("tmpfs", "/run", kind="tmpfs")
    for entry in os.scandir(f"/proc/self/fd/{real}"):
        here = Path("/run", entry.name)
        if entry.name in private:
            continue
        if entry.is_symlink():
            here.symlink_to(Path(entry.path).readlink())
            continue
        if entry.is_dir():
            here.mkdir()
        else:
            here.touch()
        with suppress(OSError):  # something that went away while we looked
            _mount(entry.path, str(here), flags=_MS_BIND | _MS_REC)
    os.close(real)


def _mount(source: str, target: str, *, kind: str | None = None, flags: int = 0) -> None:
    _check(_LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, flags, None))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "no mount namespace of its own")


def _is_ready(notify: socket.socket, pid: int) -> bool:
    """Whether this datagram is READY=1 by the program itself and not by one of its children."""
    data, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(12))
    senders = [struct.unpack("iii", value[:12])[0] for _, kind, value in ancillary if kind == socket.SCM_CREDENTIALS]
    return pid in senders and b"READY=1" in data.split(b"\n")


def reap(pid: int) -> int | None:
    """Collect every child that ended; the status of `pid` if it is among them."""
    status = None
    with suppress(ChildProcessError):
        while (done := os.waitpid(-1, os.WNOHANG))[0]:
            if done[0] == pid:
                status = os.waitstatus_to_exitcode(done[1])
    return status


def end_all(grace: float) -> None:
    """End all children, of which orphaned grandchildren are some (we are their subreaper), politely at first."""
    deadline = time.monotonic() + grace
    polite = _children()
    for pid in polite:
        _kill(pid, signal.SIGTERM)
    while _any_alive(polite) and time.monotonic() < deadline:
        with suppress(InterruptedError):
            _wait_child(polite, deadline)
    while pids := _children():
        for pid in pids:
            _kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)
        reap(0)


def _wait_child(pids: list[int], deadline: float) -> None:
    """Wait until a child ends or the time is up; not at all where those that are waited for have ended already.

    An orphan of theirs, ours by now, was never asked to end: nobody waits for it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        reap(0)
        if _any_alive(pids):
            signal.sigtimedwait({signal.SIGCHLD}, max(0.0, deadline - time.monotonic()))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    reap(0)


def _children() -> list[int]:
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]
    except OSError:  # a kernel without that file
        return [pid for pid, parent in _parents().items() if parent == os.getpid()]


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _any_alive(pids: list[int]) -> bool:
    return not set(pids).isdisjoint(_children())


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def bridge(name: str, *, add: bool) -> None:
    """Make or remove a network bridge; removing one that isn't there is no error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if add:
            fcntl.ioctl(control, _SIOCBRADDBR, name.encode() + b"\0")
        else:
            with suppress(OSError):
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), 0))  # down
                fcntl.ioctl(control, _SIOCBRDELBR, name.encode() + b"\0")


def remove_cgroup(name: str) -> None:
    """Remove a cgroup, whose processes are gone, from every hierarchy: version 1 has one for each controller."""
    for top in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        folders = [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()


def mounts_under(folder: Path) -> list[str]:
    """The mount points in `folder`, innermost first (proc(5), mountinfo)."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    points = [line.split(" ")[4].encode("utf-8", "surrogateescape") for line in lines]
    plain = [_octal(point) for point in points]
    return [point for point in reversed(plain) if point.startswith(f"{folder}/")]


def _octal(point: bytes) -> str:
    for escaped, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        point = point.replace(escaped, char)
    return os.fsdecode(point)


def clear(folder: Path) -> None:
    """Remove `folder` and all in it, but never through a mount."""
    for point in mounts_under(folder):
        _LIBC.umount2(os.fsencode(point), _MNT_DETACH)
    if not mounts_under(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # the owner may be gone
        print(line, flush=True)  # noqa: T201 - stdout is the pipe to kept.py


if __name__ == "__main__":
    sys.exit(main())
