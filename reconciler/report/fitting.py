"""What fits where only so much may be written: whole rows only, and every block that is opened is closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

Measure = Callable[[str], int]


def characters(text: str) -> int:
    """Length in UTF-16 units: never less than what anyone else may count as characters."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def size(text: str) -> int:
    """Length in bytes of UTF-8."""
    return len(text.encode())


@dataclass(frozen=True, slots=True)
class Block:
    """Rows between lines that open and close them. `rows` makes them one at a time: most of a large plan never are.

    `noun`: what the rows are, in the plural. `count`: how many. `rank`: lower ones are filled first. `share`: of all
    the room, what this block takes at most.
    """

    noun: str
    count: int
    opening: tuple[str, ...]
    rows: Callable[[], Iterable[str]] = field(repr=False)
    closing: tuple[str, ...] = ()
    rank: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """Lines that fit, and of each noun that was cut how many are left out of how many."""

    lines: tuple[str, ...]
    cut: tuple[tuple[str, int, int], ...]


def fit(blocks: Sequence[Block], room: int | None, measure: Measure) -> Fitted:
    """As many rows as `room` allows (None: all of them), in the order of the blocks."""
    left = room
    filled: dict[int, list[str]] = {}
    missing: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for number, block in sorted(enumerate(blocks), key=lambda pair: pair[1].rank):
        total[block.noun] += block.count
        if left is None or room is None:
            filled[number] = list(block.rows())
            continue
        allowed = min(left, int(room * block.share))
        rows, used = _rows(block, allowed, measure)
        missing[block.noun] += block.count - len(rows)
        if rows:
            filled[number] = rows
            left -= used
    lines: list[str] = []
    for number, block in enumerate(blocks):
        if number in filled:
            lines += [*block.opening, *filled[number], *block.closing]
    return Fitted(tuple(lines), tuple((noun, missing[noun], total[noun]) for noun in total if missing[noun]))


def _rows(block: Block, allowed: int, measure: Measure) -> tuple[list[str], int]:
    used = sum(measure(line) + 1 for line in (*block.opening, *block.closing))
    rows: list[str] = []
    if used >= allowed:
        return rows, 0
    for row in block.rows():
        wide = measure(row) + 1
        if used + wide > allowed:
            break
        rows.append(row)
        used += wide
    return rows, used
