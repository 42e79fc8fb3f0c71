"""Which requests a fault strikes.

registry.faults.add(Fault(Reset(), nth=7))                                  # the eighth request from now on
registry.faults.add(Fault(reply_html(), match=on(kind="token"), times=None))  # every token, until removed
registry.faults.clear()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.local.registry.actions import Action, Refuse, Stall
from reconciler.local.registry.call import Call
from reconciler.local.registry.route import Kind

Match = Callable[[Call], bool]


@dataclass(eq=False, slots=True)
class Fault:
    """An action, and when: of the requests that match (None: all), from number `nth` on (0 is the next), `times` times.

    `times=None`: every one from then on. `met` counts requests that matched, `struck` those that got the action.
    """

    action: Action
    match: Match | None = None
    nth: int = 0
    times: int | None = 1
    name: str = ""
    met: int = 0
    struck: int = 0

    def strikes(self, call: Call) -> bool:
        """Whether this call is one of them; counts it."""
        if self.match is not None and not self.match(call):
            return False
        number = self.met
        self.met += 1
        if number < self.nth or (self.times is not None and number >= self.nth + self.times):
            return False
        self.struck += 1
        return True

    def __str__(self) -> str:
        return self.name or type(self.action).__name__


def on(
    *,
    kind: Kind | str | None = None,
    method: str | None = None,
    repository: str | None = None,
    reference: str | None = None,
    agent: str = "",
) -> Match:
    """A match on what a request is; `agent` is a part of its User-Agent."""

    def match(call: Call) -> bool:
        route = call.route
        return (
            (kind is None or route.kind == kind)
            and (method is None or call.method == method)
            and (repository is None or route.repository == repository)
            and (reference is None or route.reference == reference)
            and agent in call.headers.get("User-Agent", "")
        )

    return match


class Faults:
    """The faults in force; the first that strikes a request decides."""

    def __init__(self, listen: Callable[[], None]) -> None:
        """`listen` makes the registry listen again, if it doesn't, and returns once it does."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._listen = listen

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault out, and let go on what it holds up."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        self.release(fault)

    def release(self, fault: Fault) -> None:
        """Let go on what the fault holds up: stalled answers, refused connections."""
        if isinstance(fault.action, Stall):
            fault.action.gate.open()
        if isinstance(fault.action, Refuse):
            self._listen()

    def clear(self) -> None:
        """Take all faults out: from here on the registry answers everything as it should."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            self.release(fault)

    def pick(self, call: Call) -> Fault | None:
        """The fault that strikes this call, or None; every fault in force counts the call."""
        if not self._faults:
            return None
        with self._lock:
            striking = [fault for fault in self._faults if fault.strikes(call)]
        return striking[0] if striking else None
