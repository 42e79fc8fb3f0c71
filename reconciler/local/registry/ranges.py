"""Parts of a file, as a Range header asks for them (RFC 9110, 14.1.2)."""

from __future__ import annotations

import re

from reconciler.local.registry.answer import Answer, Slice

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def ranged(whole: Slice, asked: str, headers: dict[str, str]) -> Answer:
    """The part of a file that a Range header asks for; all of it without one, or with several."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return Answer(200, headers, whole)
    last = whole.length - 1
    if found[1]:
        start, end = int(found[1]), min(last, int(found[2] or last))
    else:
        start, end = max(0, whole.length - int(found[2])), last
    if start > end:
        return Answer(416, {"Content-Range": f"bytes */{whole.length}"})
    part = Slice(whole.path, start, end - start + 1)
    return Answer(206, {**headers, "Content-Range": f"bytes {start}-{end}/{whole.length}"}, part)
