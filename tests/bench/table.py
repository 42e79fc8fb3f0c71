"""Results as rows: a table for people, JSON for machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `goal` is what it is to be, in words; empty: it is only there to be compared with.

    `reached` is None where there is no goal. Nothing fails because of it: times on a shared machine prove nothing.
    """

    part: str
    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None
    data: Mapping[str, float] = dataclasses.field(default_factory=dict)


def at_most(part: str, what: str, value: float, limit: float, unit: str, digits: int = 2, **data: float) -> Row:
    """A figure that is to stay under a limit."""
    figure, goal = f"{value:.{digits}f} {unit}".strip(), f"at most {limit:g} {unit}".strip()
    return Row(part, what, figure, goal, value <= limit, {"value": value, "limit": limit, **data})


def at_least(part: str, what: str, value: float, limit: float, unit: str, digits: int = 1, **data: float) -> Row:
    """A figure that is to reach one."""
    figure, goal = f"{value:.{digits}f} {unit}".strip(), f"at least {limit:g} {unit}".strip()
    return Row(part, what, figure, goal, value >= limit, {"value": value, "limit": limit, **data})


def seen(part: str, what: str, figure: str, **data: float) -> Row:
    """A figure to compare others with."""
    return Row(part, what, figure, data=data)


_HEADS = ("part", "what", "figure", "goal", "")
_MARKS = {True: "reached", False: "NOT REACHED", None: ""}


def text(rows: Sequence[Row]) -> str:
    """Columns, aligned."""
    cells = [_HEADS, *((r.part, r.what, r.figure, r.goal, _MARKS[r.reached]) for r in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADS))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells) + "\n"


def as_json(rows: Iterable[Row], machine: Mapping[str, Any]) -> str:
    """All of it, and where it was measured."""
    return json.dumps({"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1) + "\n"
