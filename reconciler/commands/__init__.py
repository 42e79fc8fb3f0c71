"""One file per verb: a short recipe over the rooms. A command returns what is to be printed and the exit status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import ReconcileError

# requests in flight per host: at GHCR's usual 50 ms that is 38,400 a minute, and its limit is 44,000 (protocols 2.13)
CONCURRENCY = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command goes by. `say` narrates to stderr, one line at a time; `env` is the process's environment.

    `apps` narrows to these (empty: all). `allow_private`: upstreams and registries on this machine or network may be
    asked; only a flag can say so, never a file. `fresh` ignores what records say of the registry. `secrets` is where a
    run adds what it learns of: none of them is ever printed. `width`: the terminal's columns, 0 where stdout is none.
    """

    desired: Path
    state: Path
    say: Callable[[str], None]
    env: Mapping[str, str] = field(repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)
    apps: tuple[str, ...] = ()
    fresh: bool = False
    retry: bool = False
    allow_private: bool = False
    concurrency: int = CONCURRENCY
    verbose: int = 0
    colour: bool = False
    width: int = 0


@dataclass(frozen=True, slots=True)
class Printed:
    """What goes to stdout, the exit status (behaviours.md), and the error that is to be reported beside it."""

    text: str
    status: int = 0
    error: ReconcileError | None = None
