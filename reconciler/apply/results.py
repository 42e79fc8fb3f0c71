"""What became of each change, and of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from reconciler.model.digest import Digest
from reconciler.plan.changes import Change


@dataclass(frozen=True, slots=True)
class Done:
    """Made so: the digest that the tag names now, and what was done."""

    change: Change
    digest: Digest
    detail: str


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Written, and the registry took it, but a bounded time later it still reads otherwise (rule 7): not failed."""

    change: Change
    digest: Digest
    detail: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not made so, and why; `log` is the file with all that a program said. `interrupted`: by a signal."""

    change: Change
    reason: str
    log: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """Refused: the tag is no longer what the plan saw."""

    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """Left for the next run, and why."""

    change: Change
    reason: str


R = TypeVar("R")
Result = Done | Unconfirmed | Failed | Moved | NotTried


@dataclass(frozen=True, slots=True)
class Outcome:
    """All results, in the plan's order. `complete`: whether the plan was; `notes`: what else is to be said."""

    results: tuple[Result, ...]
    interrupted: bool = False
    complete: bool = True
    notes: tuple[str, ...] = ()

    def of(self, kind: type[R]) -> Sequence[R]:
        """The results of one kind."""
        return [result for result in self.results if isinstance(result, kind)]

    @property
    def exit_code(self) -> int:
        """130 before 1 before 3 before 0 (behaviours.md, exit status). What is left for the next run is no error."""
        if self.interrupted:
            return 130
        if not self.complete or self.of(Failed):
            return 1
        return 3 if self.of(Moved) else 0


class Progress(Protocol):
    """Told what happens as it happens; called on the event loop, so it must be quick."""

    def started(self, change: Change) -> None:
        """Work on it begins."""

    def step(self, change: Change, text: str) -> None:
        """The next effect is about to happen."""

    def finished(self, result: Result) -> None:
        """It ended, one way or another; called for every change of the plan."""


class Silent:
    """Progress that nobody looks at."""

    def started(self, change: Change) -> None:
        """Nothing."""

    def step(self, change: Change, text: str) -> None:
        """Nothing."""

    def finished(self, result: Result) -> None:
        """Nothing."""
