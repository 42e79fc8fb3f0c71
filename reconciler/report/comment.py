"""Which comment is ours, and whether it already says what we would say (behaviours.md 19): pure decisions."""

from __future__ import annotations

import re

from reconciler.report.fitting import characters
from reconciler.report.markdown import COMMENT, MARKER

_RUN = re.compile(r"(/actions/runs/)\d+")


def is_ours(author: str, body: str, login: str) -> bool:
    """Whether a comment is the one to edit: by us, and with the marker as its last line. Anyone can write a marker."""
    return author.casefold() == login.casefold() and _normal(body).endswith(f"\n{MARKER}")


def says_the_same(body: str, other: str) -> bool:
    """Whether two comments differ in nothing but the run that they link to: an earlier run of it is as good."""
    return _RUN.sub(r"\1", _normal(body)) == _RUN.sub(r"\1", _normal(other))


def _normal(body: str) -> str:
    # GitHub's own editor saves CRLF
    return body.replace("\r\n", "\n").rstrip()


def marked(body: str) -> str:
    """`body` with the marker as its last line."""
    text = body.rstrip()
    return text + "\n" if _normal(text).endswith(f"\n{MARKER}") else f"{text}\n\n{MARKER}\n"


def too_long(body: str) -> bool:
    """Whether GitHub wouldn't take it."""
    return COMMENT.limit is not None and characters(body) > COMMENT.limit


def superseded(url: str) -> str:
    """What is left of a second comment of ours, which two runs at once may have made."""
    return f"**reconcile plan:** superseded, see {url}.\n" if url else "**reconcile plan:** superseded.\n"
