"""Every request that came, for tests that count them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.local.registry.route import Kind


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and what it got. No secret is in it: of credentials only their scheme.

    `number` counts from the start of the registry, `received` and `sent` are bytes of bodies (what was meant to be
    sent), `status` is 0 where there was no answer, `fault` names the one that struck.
    """

    number: int
    method: str
    path: str
    query: str
    host: str
    kind: Kind
    repository: str
    reference: str
    status: int
    user: str
    user_agent: str
    credentials: str
    received: int
    sent: int
    time: float
    fault: str = ""


class Log:
    """The requests since the start or the last `reset`, in the order in which they came.

    A request is in it before the first byte of its answer is sent: whoever has an answer finds its request here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._number = 0
        self._in_flight: set[int] = set()
        self._most = 0

    def arrive(self) -> int:
        """Count a request in; its number."""
        with self._lock:
            number, self._number = self._number, self._number + 1
            self._in_flight.add(number)
            self._most = max(self._most, len(self._in_flight))
            return number

    def leave(self, number: int) -> None:
        """Count a request out; again is no harm."""
        with self._lock:
            self._in_flight.discard(number)

    def add(self, seen: Seen) -> None:
        """Note what a request got."""
        with self._lock:
            self._seen.append(seen)

    def reset(self) -> None:
        """Forget all requests so far, and start the highest number in flight anew."""
        with self._lock:
            self._seen.clear()
            self._most = len(self._in_flight)

    @property
    def max_in_flight(self) -> int:
        """The highest number of requests that were in flight at once."""
        return self._most

    @property
    def in_flight(self) -> int:
        """How many are in flight now."""
        return len(self._in_flight)

    def __iter__(self) -> Iterator[Seen]:
        with self._lock:
            return iter(sorted(self._seen, key=lambda seen: seen.number))

    def __len__(self) -> int:
        return len(self._seen)

    def where(
        self,
        *,
        kind: Kind | str | None = None,
        method: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        status: int | None = None,
        also: Callable[[Seen], bool] | None = None,
    ) -> list[Seen]:
        """The requests that are all of this."""
        return [
            seen
            for seen in self
            if (kind is None or seen.kind == kind)
            and (method is None or seen.method == method)
            and (repository is None or seen.repository == repository)
            and (reference is None or seen.reference == reference)
            and (status is None or seen.status == status)
            and (also is None or also(seen))
        ]

    def count(
        self,
        *,
        kind: Kind | str | None = None,
        method: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        status: int | None = None,
        also: Callable[[Seen], bool] | None = None,
    ) -> int:
        """How many requests are all of this."""
        return len(
            self.where(kind=kind, method=method, repository=repository, reference=reference, status=status, also=also)
        )

    def tally(self) -> Counter[str]:
        """How many of each: `{"GET manifest": 20, "GET token": 1}`."""
        return Counter(f"{seen.method} {seen.kind}" for seen in self)

    def writes(self) -> list[Seen]:
        """The requests that may have changed something."""
        return self.where(also=lambda seen: seen.method not in ("GET", "HEAD"))
