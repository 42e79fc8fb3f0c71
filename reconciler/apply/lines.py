"""What programs say, made harmless: no escape sequence, no runner command, no secret."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

# a line is for people: more of it helps nobody
MAX_LINE = 4096
SHORTEST_SECRET = 6
HIDDEN = "[hidden]"

# ECMA-48: CSI, OSC up to its end, and other two-character sequences
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# what is left of C0 and C1, and the marks that turn text around (Unicode TR36, bidirectional text)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# workflow commands of GitHub's runner: `::name::` after any white space, and the older `##[name]` anywhere
_COMMAND = re.compile(r"^(\s*:)(:)|(##)(\[)")


class Redactor:
    """Replaces known secrets, however they were encoded, by `[hidden]`; those under 6 characters aren't looked for."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        # longest first: one may be part of another
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _forms(secret: str) -> Iterable[str]:
    """The spellings in which a secret may turn up (behaviours.md 21)."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield html.escape(secret)
    yield json.dumps(secret)[1:-1]
    data = secret.encode()
    yield data.hex()
    for offset in range(3):
        # base64 of any text that holds it (`user:token`): cut off the characters that its neighbours share
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(b"\0" * offset + data).decode().rstrip("=")
            core = coded[(0, 2, 3)[offset] : len(coded) - (1 if (offset + len(data)) % 3 else 0)]
            if len(core) >= SHORTEST_SECRET:
                yield core


def harmless(line: str, redact: Redactor | None = None) -> str:
    """One line as it may be shown anywhere: without control characters, commands and secrets, at most 4 KiB."""
    line = _CONTROL.sub("", _ESCAPE.sub("", line)).replace("\t", " ")
    if redact is not None:
        line = redact(line)
    line = _COMMAND.sub(lambda match: f"{match[1] or match[3]} {match[2] or match[4]}", line)
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"
