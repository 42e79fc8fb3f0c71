"""Programs for Linux as bytes, one architecture each: they print a text and end, and need nothing else."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping

_BASE = 0x400000
_HEADERS = 64 + 56


def elf(architecture: str, text: str) -> bytes:
    """An executable for `amd64` or `arm64` that writes `text` to stdout and ends with 0 (elf(5), syscall(2))."""
    data = text.encode()
    machine, code = {"amd64": (62, _amd64), "arm64": (183, _arm64)}[architecture]
    size = len(code(0, len(data)))
    body = code(_BASE + _HEADERS + size, len(data)) + data
    head = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        *(2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0),
    )
    whole = _HEADERS + len(body)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, whole, whole, 0x10000) + body


def _amd64(address: int, length: int) -> bytes:
    return (
        b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00"  # mov eax, 1 (write); mov edi, 1
        b"\x48\xbe"
        + struct.pack("<Q", address)  # movabs rsi, address
        + b"\xba"
        + struct.pack("<I", length)  # mov edx, length
        + b"\x0f\x05\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # syscall; mov eax, 60 (exit); xor edi, edi; syscall
    )


def _arm64(address: int, length: int) -> bytes:
    def move(register: int, value: int, shift: int = 0, keep: bool = False) -> int:
        return (0xF2800000 if keep else 0xD2800000) | shift << 21 | (value & 0xFFFF) << 5 | register

    words = [
        *(move(0, 1), move(1, address), move(1, address >> 16, 1, keep=True), move(2, length)),
        *(move(8, 64), 0xD4000001, move(0, 0), move(8, 93), 0xD4000001),  # write, exit
    ]
    return struct.pack(f"<{len(words)}I", *words)


def tarball(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar of executables; the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)
