"""What programs say, made harmless: no escape sequence, no runner command, no secret."""

from __future__ import annotations

import re

from reconciler.redact import HIDDEN, Redactor

__all__ = ["HIDDEN", "MAX_LINE", "Redactor", "harmless"]

# a line is for people: more of it helps nobody
MAX_LINE = 4096

# ECMA-48: CSI, OSC up to its end, and other two-character sequences
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# what is left of C0 and C1, and the marks that turn text around (Unicode TR36, bidirectional text)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# workflow commands of GitHub's runner: `::name::` after any white space, and the older `##[name]` anywhere
_COMMAND = re.compile(r"^(\s*:)(:)|(##)(\[)")


def harmless(line: str, redact: Redactor | None = None) -> str:
    """One line as it may be shown anywhere: without control characters, commands and secrets, at most 4 KiB."""
    line = _CONTROL.sub("", _ESCAPE.sub("", line)).replace("\t", " ")
    if redact is not None:
        line = redact(line)
    line = _COMMAND.sub(lambda match: f"{match[1] or match[3]} {match[2] or match[4]}", line)
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"
