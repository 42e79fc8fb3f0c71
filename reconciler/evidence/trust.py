"""A policy's trust material: loaded when something first needs it, and once; a failure is one for the whole run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from reconciler.errors import EvidenceError
from reconciler.model.signing import Identity, Policy, PublicKey

if TYPE_CHECKING:
    from sigstore.verify import Verifier

    from reconciler.evidence.keys import AcceptedKey

T = TypeVar("T")


class _Once(Generic[T]):
    """A value made at the first call, by one thread; the EvidenceError that making it raised is raised each time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: T | EvidenceError | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._make()
                except EvidenceError as error:
                    self._made = error
        if isinstance(self._made, EvidenceError):
            raise EvidenceError(self._made.what, where=self._made.where, todo=self._made.todo)
        return self._made


class Trust:
    """Whose proofs count, and what it takes to verify them.

    `verifier()` (for identities) and `keys()` raise EvidenceError where their material is out of reach or unusable.
    """

    def __init__(self, policy: Policy) -> None:
        self.identities = tuple(one for one in policy.accept if isinstance(one, Identity))
        self.public_keys = tuple(one for one in policy.accept if isinstance(one, PublicKey))
        self._trusted_root = policy.trusted_root
        self.verifier: Callable[[], Verifier] = _Once(self._load_verifier)
        self.keys: Callable[[], tuple[AcceptedKey, ...]] = _Once(self._load_keys)

    def _load_verifier(self) -> Verifier:
        from reconciler.evidence import keyless

        return keyless.load(self._trusted_root)

    def _load_keys(self) -> tuple[AcceptedKey, ...]:
        from reconciler.evidence import keys

        return keys.load(self.public_keys)
