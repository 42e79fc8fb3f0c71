"""What the doctor found: aligned lines for a terminal, JSON for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from reconciler.report.escape import command_free, plain
from reconciler.report.wording import count

FORMAT_VERSION = 1
_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}

Row = tuple[str, str, str, str]
"""Level (`ok`, `warn`, `fail`), what, detail, what to do."""


def text(rows: Sequence[Row], *, colour: bool = False) -> str:
    """One line each, what to do below it, a verdict at the end."""
    wide = max((len(plain(what)) for _, what, _, _ in rows), default=0)
    lines = []
    for level, what, detail, todo in rows:
        mark = f"\x1b[{_COLOURS[level]}m{level:4}\x1b[0m" if colour else f"{level:4}"
        lines.append(f"{mark}  {command_free(f'{plain(what):{wide}}  {plain(detail)}')}".rstrip())
        if todo:
            lines += [f"{'':{wide + 8}}-> {command_free(plain(line))}" for line in todo.splitlines()]
    return "\n".join([*lines, "", verdict(rows), ""])


def verdict(rows: Sequence[Row]) -> str:
    """The findings in one sentence."""
    levels = Counter(level for level, _, _, _ in rows)
    if not levels["fail"] and not levels["warn"]:
        return f"All is well: {count(levels['ok'], 'thing')} looked at."
    parts = [f"{count(levels['fail'], 'thing')} to mend" * bool(levels["fail"])]
    parts.append(f"{count(levels['warn'], 'thing')} to know" * bool(levels["warn"]))
    sentence = ", ".join(filter(None, parts)) + f"; {levels['ok']} well."
    return sentence[0].upper() + sentence[1:]


def as_json(rows: Sequence[Row]) -> str:
    """The same for machines."""
    content = {
        "format_version": FORMAT_VERSION,
        "ok": all(level != "fail" for level, _, _, _ in rows),
        "findings": [
            {"level": level, "what": what, "detail": detail, "todo": todo} for level, what, detail, todo in rows
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
