"""NaCl's secretbox (XSalsa20 and Poly1305): cosign seals its private keys with it and `cryptography` hasn't got it.

Slow and not constant in time: for throw-away keys of this machine only. Source: Bernstein, "Extending the Salsa20
nonce".
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.poly1305 import Poly1305

_MASK = 0xFFFFFFFF
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


def _state(key: bytes, block: bytes) -> list[int]:
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", block)
    return [_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3]]


def _rounds(start: list[int]) -> list[int]:
    x = list(start)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            for target, left, right, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                total = (x[left] + x[right]) & _MASK
                x[target] ^= ((total << turn) | (total >> (32 - turn))) & _MASK
    return x


def _hsalsa20(key: bytes, block: bytes) -> bytes:
    x = _rounds(_state(key, block))
    return struct.pack("<8I", *(x[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))


def _stream(key: bytes, nonce: bytes, length: int) -> bytes:
    out = bytearray()
    counter = 0
    while len(out) < length:
        start = _state(key, nonce + struct.pack("<Q", counter))
        out += struct.pack("<16I", *((a + b) & _MASK for a, b in zip(_rounds(start), start, strict=True)))
        counter += 1
    return bytes(out[:length])


def seal(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    """`plain` under a key of 32 bytes and a nonce of 24 that is used once: the tag (16 bytes), then the ciphertext."""
    stream = _stream(_hsalsa20(key, nonce[:16]), nonce[16:], 32 + len(plain))
    sealed = bytes(a ^ b for a, b in zip(plain, stream[32:], strict=True))
    return Poly1305.generate_tag(stream[:32], sealed) + sealed
