"""The Merkle tree of a transparency log (RFC 6962 section 2.1), appended to and proven in O(log n)."""

from __future__ import annotations

import hashlib


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Leaves that are only ever added. `_levels[k]` holds the hashes of the complete subtrees of 2**k leaves."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, data: bytes) -> int:
        """Add a leaf; its index."""
        index = len(self)
        self._levels[0].append(leaf_hash(data))
        level = 0
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(_node(*self._levels[level][-2:]))
            level += 1
        return index

    def root(self) -> bytes:
        """The tree head; the tree isn't empty."""
        return self._hash(0, len(self))

    def proof(self, index: int) -> list[bytes]:
        """The audit path of one leaf in the tree as it is now, from the leaf's sibling upwards."""
        return self._path(index, 0, len(self))

    def _hash(self, low: int, high: int) -> bytes:
        size = high - low
        if size & (size - 1) == 0:
            return self._levels[size.bit_length() - 1][low // size]
        split = low + _split(size)
        return _node(self._hash(low, split), self._hash(split, high))

    def _path(self, index: int, low: int, high: int) -> list[bytes]:
        if high - low == 1:
            return []
        split = low + _split(high - low)
        if index < split:
            return [*self._path(index, low, split), self._hash(split, high)]
        return [*self._path(index, split, high), self._hash(low, split)]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return int(1 << ((size - 1).bit_length() - 1))
