"""The changes a recipe makes to its source: exact or none at all, pure functions over text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from reconciler.errors import BuildError
from reconciler.model.recipe import Edit

# `FROM [--flag…] image@sha256:… [AS name]`, which Dockerfiles write in any case; a pin names one architecture's image
_PIN = re.compile(r"^(\s*FROM\s+(?:--\S+\s+)*[^\s@]+)@sha256:[0-9a-f]{64}", re.IGNORECASE | re.MULTILINE)
_SHOWN = 120
_COMPARED = 300
# a line counts as near if so much of the text stands in it, in pieces of so many characters at least
_ALIKE = 0.6
_PIECE = 3


def unpin(dockerfile: str) -> str:
    """The Dockerfile with `@sha256:…` dropped from its FROM lines."""
    return _PIN.sub(r"\1", dockerfile)


def apply(edit: Edit, text: str, where: str, upstream: str | None = None) -> str:
    """`text` with one edit made; BuildError where it doesn't match exactly as often as it says.

    `where` names the release, for the error, and `upstream` is the file as upstream has it, where edits changed it
    before: people look for a line there. A regular expression's replacement may use its groups (`\\1`).
    """
    if edit.regex:
        try:
            pattern = re.compile(edit.find, re.MULTILINE)
            found = [match.start() for match in pattern.finditer(text)]
            changed = pattern.sub(edit.replace, text)
        except (re.error, IndexError) as error:
            raise BuildError(f"the edit's regular expression can't be used: {error}", where=where) from None
    else:
        found = [match.start() for match in re.finditer(re.escape(edit.find), text)]
        changed = text.replace(edit.find, edit.replace)
    if len(found) == edit.count:
        return changed
    lines = [text.count("\n", 0, start) + 1 for start in found]
    near = "" if found else _nearest(edit, text if upstream is None else upstream)
    raise BuildError(
        f"an edit of {edit.file} must match {_times(edit.count)}, and matches {_times(len(found))}"
        f"{_at(edit.file, lines)}: {edit.find[:_SHOWN]!r}{near}",
        where=where,
        todo=f"look at {edit.file} in that release's source, and change `edits` in the desired file",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _at(file: str, lines: Sequence[int]) -> str:
    return f" (at {', '.join(f'{file}:{line}' for line in lines[:5])})" if lines else ""


def _nearest(edit: Edit, text: str) -> str:
    """The line that comes nearest to what isn't there: upstream has often changed a word of it."""
    wanted = next((line.strip()[:_COMPARED] for line in edit.find.splitlines() if line.strip()), "")
    words = set(re.findall(r"\w{2,}", wanted))
    best, at, shown = 0.0, 0, ""
    for number, line in enumerate(text.splitlines()[:5000], start=1):
        # most lines have no word in common, and comparing them takes long
        stripped = line.strip()[:_COMPARED]
        if words and not any(word in stripped for word in words):
            continue
        found = _likeness(wanted, stripped)
        if found > best:
            best, at, shown = found, number, stripped
    return f"; nearest is {edit.file}:{at}, {shown[:_SHOWN]!r}" if best >= _ALIKE else ""


def _likeness(wanted: str, line: str) -> float:
    """How much of `wanted` stands in a line, in its order, in pieces that aren't there by chance: 0 to 1."""
    blocks = difflib.SequenceMatcher(None, wanted, line, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= _PIECE) / (len(wanted) or 1)
