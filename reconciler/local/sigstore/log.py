"""Rekor's part: an append-only log with inclusion proofs, signed checkpoints and signed entry timestamps.

The entry's index in the log (`logIndex`) and in its tree (`inclusionProof.logIndex`) differ, as they do in a log that
was once sharded: whoever mixes them up finds out here. The first leaf is the log's own, because a proof without
hashes (a tree of one leaf) is dropped by protobuf's JSON and then refused by verifiers.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.errors import EvidenceError
from reconciler.local.sigstore.entries import Body
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.merkle import Tree, leaf_hash

ORIGIN = "rekor.local"
TREE_ID = 1193050959916656506
EARLIER_SHARDS = 4_163_431


@dataclass(frozen=True, slots=True)
class Proof:
    """That a leaf is in the tree of `size` leaves whose head the checkpoint signs."""

    index: int
    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the log hands it out: body, place, time (seconds since 1970), promise and proof."""

    body: Body
    uuid: str
    index: int
    integrated_time: int
    log_id: bytes
    promise: bytes
    proof: Proof

    @property
    def rekor(self) -> dict[str, Any]:
        """The `LogEntryAnon` of Rekor v1's API."""
        return {
            "body": _b64(self.body.content),
            "integratedTime": self.integrated_time,
            "logID": self.log_id.hex(),
            "logIndex": self.index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": self.proof.checkpoint,
                    "hashes": [value.hex() for value in self.proof.hashes],
                    "logIndex": self.proof.index,
                    "rootHash": self.proof.root.hex(),
                    "treeSize": self.proof.size,
                },
                "signedEntryTimestamp": _b64(self.promise),
            },
        }

    @property
    def bundled(self) -> dict[str, Any]:
        """The `TransparencyLogEntry` of a Sigstore bundle (protobuf JSON: 64-bit numbers are strings)."""
        return {
            "logIndex": str(self.index),
            "logId": {"keyId": _b64(self.log_id)},
            "kindVersion": {"kind": self.body.kind, "version": self.body.version},
            "integratedTime": str(self.integrated_time),
            "inclusionPromise": {"signedEntryTimestamp": _b64(self.promise)},
            "inclusionProof": {
                "logIndex": str(self.proof.index),
                "rootHash": _b64(self.proof.root),
                "treeSize": str(self.proof.size),
                "hashes": [_b64(value) for value in self.proof.hashes],
                "checkpoint": {"envelope": self.proof.checkpoint},
            },
            "canonicalizedBody": _b64(self.body.content),
        }

    @property
    def annotation(self) -> str:
        """The `dev.sigstore.cosign/bundle` annotation of cosign 2: the promise alone, no proof."""
        payload = {
            "body": _b64(self.body.content),
            "integratedTime": self.integrated_time,
            "logIndex": self.index,
            "logID": self.log_id.hex(),
        }
        return json.dumps({"SignedEntryTimestamp": _b64(self.promise), "Payload": payload}, separators=(",", ":"))


class Log:
    """A log with one key, which is also its identity. Any thread may use it: a mint and a server share one."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self._lock = threading.RLock()
        self._tree = Tree()
        self._kept: list[tuple[Body, int, bytes]] = []
        self._by_uuid: dict[str, int] = {}
        self.append(Body("genesis", "0.0.1", b"{}"), datetime.fromtimestamp(0).astimezone())

    def __len__(self) -> int:
        return len(self._tree)

    def append(self, body: Body, at: datetime) -> Entry:
        """Keep a body as of this moment. One that is there already is not kept twice: the first entry is returned."""
        uuid = _uuid(body)
        with self._lock:
            if uuid not in self._by_uuid:
                seconds = int(at.timestamp())
                index = self._tree.append(body.content)
                self._by_uuid[uuid] = index
                self._kept.append((body, seconds, self.key.sign(self._promised(body, seconds, index))))
            return self._at(self._by_uuid[uuid])

    def holds(self, body: Body) -> bool:
        return _uuid(body) in self._by_uuid

    def entry(self, uuid: str) -> Entry:
        """By its UUID, with or without the tree's id in front; EvidenceError where there is none."""
        index = self._by_uuid.get(uuid if len(uuid) == 80 else f"{TREE_ID:016x}{uuid}")
        if index is None:
            raise EvidenceError("no such entry", where=f"log entry {uuid}")
        return self._at(index)

    def entry_at(self, log_index: int) -> Entry:
        """By its index in the whole log; EvidenceError where there is none."""
        index = log_index - EARLIER_SHARDS
        if not 0 <= index < len(self):
            raise EvidenceError("no such entry", where=f"log index {log_index}")
        return self._at(index)

    def entries(self) -> list[Entry]:
        """All of them but the log's own first one."""
        return [self._at(index) for index in range(1, len(self))]

    def checkpoint(self) -> str:
        """The signed tree head: a note in the format of sumdb, signed as Rekor v1 does."""
        with self._lock:
            note = f"{ORIGIN} - {TREE_ID}\n{len(self)}\n{_b64(self._tree.root())}\n"
        return f"{note}\n\u2014 {ORIGIN} {_b64(self.key.id[:4] + self.key.sign(note.encode()))}\n"

    @property
    def root(self) -> bytes:
        """The tree head's hash."""
        return self._tree.root()

    def _at(self, index: int) -> Entry:
        with self._lock:
            body, seconds, promise = self._kept[index]
            proof = Proof(index, len(self), self.root, tuple(self._tree.proof(index)), self.checkpoint())
        return Entry(body, _uuid(body), EARLIER_SHARDS + index, seconds, self.key.id, promise, proof)

    def _promised(self, body: Body, seconds: int, index: int) -> bytes:
        """What the signed entry timestamp signs: canonical JSON of body, time, log and index."""
        promised = {
            "body": _b64(body.content),
            "integratedTime": seconds,
            "logID": self.key.id.hex(),
            "logIndex": EARLIER_SHARDS + index,
        }
        return json.dumps(promised, separators=(",", ":")).encode()


def _uuid(body: Body) -> str:
    return f"{TREE_ID:016x}{leaf_hash(body.content).hex()}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
