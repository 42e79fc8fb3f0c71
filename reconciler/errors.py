"""Every error that reconcile raises, in one tree; the name says what happened to the user.

    ReconcileError                 1   something went wrong: what, where, what to do
    ├── UsageError                64   the command line asks for something that isn't there
    ├── DesiredError               1   desired files are wrong (all problems of all files)
    ├── RecordError                1   a record can't be read or written
    ├── UpstreamError              1   upstream can't be asked, or its answer makes no sense
    ├── RegistryError              1   the registry gave no definite answer: unknown, never absent
    │   ├── Denied                 1   401 or 403
    │   ├── RateLimited            1   429, or a 403 that speaks of a rate limit
    │   ├── Unreachable            1   refused, reset, timed out, name not resolved, TLS
    │   ├── Malformed              1   an answer that doesn't parse or doesn't match its digest
    │   ├── TooLarge               1   a body over the cap
    │   └── Conflict               1   412: someone else wrote first
    ├── EvidenceError              1   trust material is out of reach or unusable
    ├── BuildError                 1   a release can't be built as the desired state says
    ├── ToolError                  1   a program failed: name, status, last lines, log file
    │   ├── ToolMissing            1   it isn't there, or it's too old
    │   └── ToolTimeout            1   it took longer than its limit
    ├── GitHubError                1   GitHub's API refused or failed
    ├── Refused                    3   reconcile could, but must not
    │   ├── PlanMismatch           3   the plan is not the one that was expected
    │   ├── Tripwire               3   more would change than is safe without being told so
    │   └── Moved                  3   a tag is no longer what the plan saw
    └── Interrupted              130   SIGINT or SIGTERM

`str(error)` is one or more plain lines: `where: what` and, after a newline, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ReconcileError(Exception):
    """The root: `what` happened, `where` (file:line:column, host and image), and what `todo` about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what = what
        self.where = where
        self.todo = todo
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}\n  {self.todo}" if self.todo else line

    @property
    def reason(self) -> str:
        """The same in one line, for a table cell."""
        return f"{self.where}: {self.what}" if self.where else self.what


class UsageError(ReconcileError):
    """The command line asks for something that isn't there."""

    exit_code = 64


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a desired file: where, the field's path, what is wrong, what to write."""

    file: str
    line: int
    column: int
    path: str
    what: str
    todo: str = ""

    def __str__(self) -> str:
        path = f" {self.path}:" if self.path else ""
        todo = f" ({self.todo})" if self.todo else ""
        return f"{self.file}:{self.line}:{self.column}:{path} {self.what}{todo}"


class DesiredError(ReconcileError):
    """Desired files are wrong; carries every problem of every file, sorted by place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        super().__init__(f"{count} mistake{'s' if count != 1 else ''} in the desired state")

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems), f"{self.what}; nothing was asked or done"])


class RecordError(ReconcileError):
    """A record can't be read or written."""


class UpstreamError(ReconcileError):
    """Upstream can't be asked, or its answer makes no sense."""


class RegistryError(ReconcileError):
    """The registry gave no definite answer: what was asked for is unknown, never absent (rule 1)."""

    def __init__(self, what: str, *, where: str = "", todo: str = "", status: int | None = None) -> None:
        self.status = status
        super().__init__(what, where=where, todo=todo)


class Denied(RegistryError):
    """401 or 403: it may be there or not, we may not know."""


class RateLimited(RegistryError):
    """429, or a 403 that speaks of a rate limit, still so after every retry."""


class Unreachable(RegistryError):
    """Refused, reset, timed out, name not resolved, TLS."""


class Malformed(RegistryError):
    """An answer that doesn't parse, or whose bytes don't match their digest."""


class TooLarge(RegistryError):
    """A body over the cap."""


class Conflict(RegistryError):
    """412: someone else wrote first."""


class EvidenceError(ReconcileError):
    """Trust material (trusted root, public key) is out of reach or unusable."""


class BuildError(ReconcileError):
    """A release can't be built as the desired state says: an edit that doesn't match, a checksum, a base."""


class ToolError(ReconcileError):
    """A program failed: its name and status, its last lines, and the file with all it said."""

    def __init__(self, what: str, *, where: str = "", todo: str = "", tail: Sequence[str] = (), log: str = "") -> None:
        self.tail = tuple(tail)
        self.log = log
        super().__init__(what, where=where, todo=todo)

    def __str__(self) -> str:
        lines = [super().__str__(), *(f"  | {line}" for line in self.tail)]
        return "\n".join([*lines, f"  all of it: {self.log}"] if self.log else lines)


class ToolMissing(ToolError):
    """A program isn't there, or it's too old."""


class ToolTimeout(ToolError):
    """A program took longer than its limit."""


class GitHubError(ReconcileError):
    """GitHub's API refused or failed."""

    def __init__(self, what: str, *, where: str = "", todo: str = "", status: int | None = None) -> None:
        self.status = status
        super().__init__(what, where=where, todo=todo)


class Refused(ReconcileError):
    """reconcile could, but must not."""

    exit_code = 3


class PlanMismatch(Refused):
    """The plan is not the one that was expected."""


class Tripwire(Refused):
    """More would change than is safe without being told so."""


class Moved(Refused):
    """A tag is no longer what the plan saw (rule 7)."""


class Interrupted(ReconcileError):
    """SIGINT or SIGTERM."""

    exit_code = 130
