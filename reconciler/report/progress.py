"""How apply is told while it runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from reconciler.apply.results import Result
from reconciler.model.reference import TagRef
from reconciler.plan.changes import Change, words
from reconciler.report.escape import command_free, plain
from reconciler.report.outcome import mark, said, state_of

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


def _name(change: Change) -> str:
    return plain(f"{change.image}:{change.target.tag}")


class Lines:
    """One line for each step, with the seconds since the start: what a log of CI shows."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _line(self, text: str) -> None:
        self._say(command_free(f"{time.monotonic() - self._began:6.1f}s  {text}"))

    def started(self, change: Change) -> None:
        """Nothing: its first step says so."""

    def step(self, change: Change, text: str) -> None:
        """The next effect is about to happen."""
        self._line(f"{_name(change)}: {plain(text)}")

    def finished(self, result: Result) -> None:
        """It ended, one way or another."""
        first = plain((said(result).splitlines() or [""])[0])
        self._line(f"{mark(result)} {_name(result.change)}: {state_of(result)}: {first}")


class Live:
    """A line for each change in work that is drawn anew, and a bar over all; what has ended stays above."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._rich: RichProgress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._all = self._rich.add_task("apply", total=total)
        self._tasks: dict[TagRef, TaskID] = {}

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    def started(self, change: Change) -> None:
        """Work on it begins."""
        self._tasks[change.target] = self._rich.add_task(f"{_name(change)}: {words(change)}", total=1)

    def step(self, change: Change, text: str) -> None:
        """The next effect is about to happen."""
        if change.target in self._tasks:
            self._rich.update(self._tasks[change.target], description=f"{_name(change)}: {plain(text)}")

    def finished(self, result: Result) -> None:
        """It ended, one way or another."""
        task = self._tasks.pop(result.change.target, None)
        if task is not None:
            self._rich.remove_task(task)
        self._rich.advance(self._all)
        first = plain((said(result).splitlines() or [""])[0])
        self._console.print(f"{mark(result)} {_name(result.change)}: {state_of(result)}: {first}", soft_wrap=True)


@contextmanager
def progress(total: int, say: Callable[[str], None], *, terminal: bool) -> Iterator[Lines | Live]:
    """The progress to hand to apply."""
    with Live(total) if terminal else Lines(say) as shown:
        yield shown
