"""Running programs of foreign architectures, as RUN steps for foreign platforms need it (binfmt_misc and QEMU).

    with emulation([Platform.parse("linux/arm64")], tools):   # as root
        …

What the machine has stays as it is: a platform that it can run already is left alone. An emulator that we register is
shared by all runs on this machine (binfmt_misc is one per kernel) and unregistered by the last of them to end. After a
kill -9 it stays registered until the next run ends.

Registered with the flags F (opened now, so that it works in containers), P (keeps argv[0]) and C (credentials of the
program): kernel documentation, admin-guide/binfmt-misc.
"""

from __future__ import annotations

import fcntl
import os
import platform as machine
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from reconciler.errors import ToolError
from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools
from reconciler.model.platform import Platform

FOLDER = Path("/proc/sys/fs/binfmt_misc")
_LOCKS = Path("/run/lock")
_PREFIX = "reconcile-"
_IGNORED = b"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Emulator:
    """The program that runs an architecture's, and the head of an ELF file of that architecture."""

    tool: Tool
    magic: bytes

    @property
    def name(self) -> str:
        """What we call it in binfmt_misc."""
        return f"{_PREFIX}{self.tool.removesuffix('-static')}"


def _elf(word: int, code: int) -> bytes:
    """The first 20 bytes of a little-endian executable (elf(5)); `word` is 1 for 32 bits, 2 for 64."""
    return b"\x7fELF" + bytes((word, 1, 1)) + bytes(9) + b"\x02\x00" + code.to_bytes(2, "little")


EMULATORS = {
    "amd64": Emulator(Tool.QEMU_AMD64, _elf(2, 62)),
    "arm64": Emulator(Tool.QEMU_ARM64, _elf(2, 183)),
    "arm": Emulator(Tool.QEMU_ARM, _elf(1, 40)),
}
_NATIVE = {"x86_64": ("amd64", "386"), "aarch64": ("arm64",), "armv7l": ("arm",)}


def needed(platforms: Iterable[Platform]) -> tuple[Emulator, ...]:
    """The emulators without which this machine can't run programs of `platforms`; ToolError where there is none."""
    found: dict[str, Emulator] = {}
    for platform in platforms:
        if runs(platform):
            continue
        if platform.architecture not in EMULATORS:
            raise ToolError(
                f"this machine can't run programs for {platform}, and no emulator for it is known here",
                todo="name a builder that has such a node (docker buildx ls) with --builder",
            )
        found[platform.architecture] = EMULATORS[platform.architecture]
    return tuple(found.values())


def tools_for(platforms: Iterable[Platform]) -> tuple[Tool, ...]:
    """What `obtain` must bring for `emulation` of these."""
    return tuple(emulator.tool for emulator in needed(platforms))


def runs(platform: Platform) -> bool:
    """Whether this machine runs programs of `platform`, natively or by an emulator that somebody else registered."""
    if platform.architecture in _NATIVE.get(machine.machine(), ()):
        return True
    emulator = EMULATORS.get(platform.architecture)
    return emulator is not None and any(
        not entry.name.startswith(_PREFIX) and _serves(entry, emulator) for entry in _entries()
    )


def _entries() -> list[Path]:
    try:
        return [entry for entry in FOLDER.iterdir() if entry.name not in ("register", "status")]
    except OSError:
        return []


def _serves(entry: Path, emulator: Emulator) -> bool:
    """Whether an enabled entry takes the emulator's programs inside containers too (flag F)."""
    try:
        lines = entry.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    said = dict(line.split(" ", 1) for line in lines if " " in line)
    flags = next((line.removeprefix("flags: ") for line in lines if line.startswith("flags:")), "")
    return lines[:1] == ["enabled"] and "F" in flags and said.get("magic") == emulator.magic.hex()


@contextmanager
def emulation(platforms: Iterable[Platform], tools: Tools) -> Iterator[None]:
    """Make this machine run programs of all `platforms` inside `with`; does nothing where it already can."""
    emulators = needed(platforms)
    if not emulators:
        yield
        return
    if os.geteuid() != 0:
        raise ToolError(
            f"registering {emulators[0].tool} needs root",
            todo="install qemu-user-static (Debian registers it then), or run as root",
        )
    with _wording():
        users = (_LOCKS / "reconcile-binfmt.users").open("a+", encoding="ascii")
    with users:
        try:
            with _wording(), _gate():
                fcntl.flock(users, fcntl.LOCK_SH)
                for emulator in emulators:
                    _register(emulator, tools[emulator.tool], users)
            yield
        finally:
            with _wording(), _gate():
                _leave(users)


@contextmanager
def _wording() -> Iterator[None]:
    """Say what an OSError here is about."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"binfmt_misc: {error.strerror}", where=str(error.filename or FOLDER)) from error


@contextmanager
def _gate() -> Iterator[None]:
    """One process at a time registers or unregisters."""
    with (_LOCKS / "reconcile-binfmt.gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _register(emulator: Emulator, program: Path, users: TextIO) -> None:
    if not (FOLDER / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(FOLDER)], capture_output=True, check=False)
        users.write("mounted\n")  # so that the last user knows it
        users.flush()
    if (FOLDER / emulator.name).exists():
        return
    magic = "".join(f"\\x{byte:02x}" for byte in emulator.magic)
    mask = "".join(f"\\x{byte:02x}" for byte in _IGNORED)
    (FOLDER / "register").write_text(f":{emulator.name}:M:0:{magic}:{mask}:{program}:FPC", encoding="ascii")


def _leave(users: TextIO) -> None:
    """Undo everything, if nobody else uses it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    for entry in _entries():
        if entry.name.startswith(_PREFIX):
            entry.write_text("-1", encoding="ascii")
    users.seek(0)
    mounted = bool(users.read())
    users.truncate(0)
    if mounted and not _entries():
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["umount", str(FOLDER)], capture_output=True, timeout=30, check=False)
