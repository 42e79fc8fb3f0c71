"""A private Docker engine (dockerd with its own containerd and BuildKit) that leaves nothing behind.

    with Engine(tools) as engine:          # root only; ready in a second or two
        engine.socket                      # its API: DOCKER_HOST=unix://{socket}

It has its own run folder (data, sockets, logs), its own mount namespace and its own network bridge without any firewall
rule, so that no other engine on the machine notices it. All of it ends with this process, kill -9 included; what a
keeper that was itself killed has left is cleared by the next start.

A RUN step has no way out through that bridge: build with `--allow network.host --network=host` for one that needs it.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.errors import ToolError
from reconciler.local import keeper
from reconciler.local.catalogue import ENGINE
from reconciler.local.kept import Kept
from reconciler.local.tools import Tools

TOOLS = ENGINE
"""What `obtain` must have brought."""

_PREFIX = "reconcile-engine-"
_MARK = "RECONCILE_ENGINE"
_LONGEST_SOCKET = 107  # unix(7): sun_path
_LAST_SOCKET = Path("exec/containerd/containerd.sock.ttrpc")  # the longest path of those that dockerd makes
_START = 60.0
_IN_RUN = ("containerd", "docker", "runc")


class Engine:
    """A context manager: the engine runs inside `with`, as root; two at once don't meet."""

    def __init__(self, tools: Tools, *, base: Path | None = None, say: Callable[[str], None] = lambda _: None) -> None:
        """`base` is where the run folder is made (default: the system's folder for temporary files, if it's short)."""
        self._tools = tools
        self._base = (base or _temporary()).absolute()
        self._say = say
        self._kept: Kept | None = None
        self.folder = self._base / f"{_PREFIX}{secrets.token_hex(4)}"

    @property
    def socket(self) -> Path:
        """The unix socket of its API."""
        return self.folder / "docker.sock"

    @property
    def log(self) -> Path:
        """What dockerd says; it goes when the engine stops."""
        return self.folder / "dockerd.log"

    @property
    def pid(self) -> int:
        """dockerd's process id."""
        if self._kept is None:
            raise ToolError("the engine isn't running", todo="enter it with `with`")
        return self._kept.pid

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise ToolError(
                "a private Docker engine needs root",
                todo="run as root, or name a builder that you have (docker buildx ls) with --builder",
            )
        if len(str(self.folder / _LAST_SOCKET)) > _LONGEST_SOCKET:
            raise ToolError(
                "the path is too long for a socket", where=str(self.folder), todo="set TMPDIR to a short one"
            )
        clear_stale(self._base)
        try:
            self.folder.mkdir(mode=0o700, parents=True)
            config = self._configure()
        except OSError as error:
            raise ToolError(f"the engine's folder can't be made: {error.strerror}", where=str(self.folder)) from error
        self._kept = Kept.start(
            [self._tools.paths[ENGINE[0]], "--config-file", config],
            log=self.log,
            env={"PATH": self._tools.search_path, "HOME": str(self.folder), _MARK: str(self.folder)},
            folder=self.folder,
            private=_IN_RUN,
            link=_link(self.folder),
            cgroup=self.folder.name,
            notify=True,
        )
        try:
            self._kept.wait_ready(_START)
            _ping(self.socket)
        except BaseException:
            self._kept.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is not None:
            self._kept.stop()
            self._kept = None

    def _configure(self) -> Path:
        snapshotter = "overlayfs" if overlay_works(self.folder) else "native"
        if snapshotter == "native":
            self._say(f"no overlay file system in {self._base}: builds copy files, and are slower")
        settings = {
            "hosts": [f"unix://{self.socket}"],
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "dockerd.pid"),
            "features": {"containerd-snapshotter": True},  # multi-platform images need it
            "storage-driver": snapshotter,
            "bridge": _link(self.folder),  # "none" would make RUN steps fail
            "iptables": False,
            "ip6tables": False,
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "group": "root",
            "cgroup-parent": f"/{self.folder.name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "log-level": "warn",
            "shutdown-timeout": 3,
        }
        config = self.folder / "daemon.json"
        config.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        return config


def _link(folder: Path) -> str:
    """The name of its network bridge (at most 15 characters)."""
    return f"rcl-{folder.name.removeprefix(_PREFIX)}"


def _ping(path: Path) -> None:
    """Ask the engine's API whether it answers; ToolError where it doesn't."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.settimeout(10)
            sock.connect(str(path))
            connection.sock = sock
            connection.request("GET", "/_ping")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException) as error:
            raise ToolError("the engine says it's ready but doesn't answer", where=str(path)) from error
        finally:
            connection.close()
    raise ToolError("the engine says it's ready but refuses a ping", where=str(path))


def overlay_works(folder: Path) -> bool:
    """Whether an overlay can be mounted on the file system of `folder` (not on another overlay, for one)."""
    with tempfile.TemporaryDirectory(prefix="overlay-", dir=folder) as name:
        parts = {part: Path(name, part) for part in ("lower", "upper", "work", "merged")}
        for path in parts.values():
            path.mkdir()
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        try:
            done = subprocess.run(
                ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, str(parts["merged"])],
                capture_output=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def _temporary() -> Path:
    """The system's folder for temporary files; /tmp where that is too deep down for a socket."""
    usual = Path(tempfile.gettempdir())
    too_long = len(str(usual / f"{_PREFIX}12345678" / _LAST_SOCKET)) > _LONGEST_SOCKET
    return Path("/tmp") if too_long and os.access("/tmp", os.W_OK) else usual  # noqa: S108 - a folder of 0700 in it


def clear_stale(base: Path) -> None:
    """Clear away engines whose keeper was killed: their processes, network bridge and folder."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its keeper lives
            for pid in _marked(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            keeper.bridge(_link(folder), add=False)
            keeper.remove_cgroup(folder.name)
            keeper.clear(folder)


def _marked(folder: Path) -> list[int]:
    """The processes that an engine in `folder` started: they have inherited its mark."""
    mark = f"{_MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
