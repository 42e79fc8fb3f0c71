"""What readers see of a tag: for a while after a write, what it was before (protocols: GHCR's read-after-write lag)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.local.registry.manners import Lag
from reconciler.local.registry.store import Store
from reconciler.model.digest import Digest


@dataclass(slots=True)
class _Veil:
    """Until then, and for so many reads more, a tag reads as `shown`."""

    until: float
    reads: int
    shown: Digest | None


class Visible:
    """Tags as they are read over HTTP. A write straight to the store is seen at once."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._veils: dict[tuple[str, str], list[_Veil]] = {}

    def wrote(self, repository: str, tag: str, before: Digest | None, lag: Lag) -> None:
        """Take in that a tag was written just now, over `before`."""
        if lag.seconds or lag.reads:
            shown = None if lag.hides else before
            self._hide(repository, tag, _Veil(self._clock() + lag.seconds, lag.reads, shown))

    def stale(self, repository: str, tag: str, seconds: float) -> None:
        """Let a tag read for so many seconds as it was before its last write."""
        shown = self._store.before(repository, tag)
        self._hide(repository, tag, _Veil(self._clock() + seconds, 0, shown))

    def resolve(self, repository: str, tag: str) -> Digest | None:
        """What a reader of the tag gets; counts as a read."""
        if self._veils and (veil := self._veil(repository, tag)):
            veil.reads -= 1
            return veil.shown
        return self._store.resolve(repository, tag)

    def tags(self, repository: str) -> list[str]:
        """The tags that a reader of the list gets, the one written last at the end."""
        there = self._store.tags(repository)
        if not self._veils:
            return list(there)
        return [tag for tag in there if (veil := self._veil(repository, tag)) is None or veil.shown]

    def _hide(self, repository: str, tag: str, veil: _Veil) -> None:
        self._veils.setdefault((repository, tag), []).append(veil)

    def _veil(self, repository: str, tag: str) -> _Veil | None:
        veils = self._veils.get((repository, tag), [])
        now = self._clock()
        # the oldest write still unseen decides; the later ones are hidden behind it
        while veils and veils[0].until <= now and veils[0].reads <= 0:
            veils.pop(0)
        if veils:
            return veils[0]
        self._veils.pop((repository, tag), None)
        return None
