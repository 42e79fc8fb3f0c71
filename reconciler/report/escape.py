"""The one place where text that isn't ours becomes harmless for where it is shown (rule 8)."""

from __future__ import annotations

import re
import unicodedata

# what moves the cursor, starts a terminal sequence, reverses the direction of reading, or is half a character
_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# ASCII punctuation may be escaped by a backslash anywhere in CommonMark (2.4)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&\"':=^$@/])")
# characters that GitHub gives a meaning of its own, whatever is escaped: mentions, references, autolinks
_GITHUB = {"@": "&#64;", "#": "&#35;", "<": "&lt;", ">": "&gt;", "&": "&amp;", ":": "&#58;", "/": "&#47;", ".": "&#46;"}


def plain(text: str, limit: int = 2000) -> str:
    """`text` in one line that a terminal and a log can show: no control, format or line character is left."""
    cut = text[:limit]
    shown = "".join(
        " " if char in "\n\r\t\v\f\u2028\u2029" else "\ufffd" if unicodedata.category(char) in _HARMFUL else char
        for char in cut
    )
    shown = " ".join(shown.split())
    return shown + "…" if len(text) > limit else shown


def command_free(line: str) -> str:
    """`line` so that GitHub's runner doesn't take it as a command: those start with `::` or hold `##[`."""
    return re.sub(r"##\[", "## [", re.sub(r"^(\s*)::", r"\1: :", line))


def markdown(text: str, limit: int = 400) -> str:
    """`text` as Markdown that renders as just that text, in a table cell too: nothing in it is a command to GitHub."""
    # a backslash would escape what follows it for CommonMark, but not for GitHub's own passes over the rendered text
    return _MARKDOWN.sub(lambda match: _GITHUB.get(match[1]) or "\\" + match[1], plain(text, limit))


def code(text: str, limit: int = 400) -> str:
    """`text` as a code span in a table cell; what it holds is neither a mention nor a reference there."""
    shown = plain(text, limit).replace("|", "¦")
    ticks = max((len(run) for run in re.findall(r"`+", shown)), default=0) + 1
    space = " " if shown.startswith("`") or shown.endswith("`") or not shown else ""
    return f"{'`' * ticks}{space}{shown}{space}{'`' * ticks}"
