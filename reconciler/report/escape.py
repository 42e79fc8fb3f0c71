"""The one place where text that isn't ours becomes harmless for where it is shown (rule 8): one function per target.

    plain        a line of a terminal or a log        log           many lines of them, which may come from a program
    markdown     prose in Markdown, in a table too    code          a code span in Markdown, in a table too
    html         text or an attribute in HTML         link          a link in Markdown, to where we say
    annotation   a message for GitHub's runner        annotation_property   a property of such a message

What is replaced: control, format, private and unassigned characters and halves of characters become U+FFFD, line breaks
and runs of white space one space, and what is over the limit an ellipsis. `##[` is parted, as GitHub's runner would
take it for a command anywhere in a line. In `markdown` a pair of backticks around whole words makes a code span.
Everything else is shown as it was given.
"""

from __future__ import annotations

import html as _html
import re
import unicodedata
from urllib.parse import urlsplit

# what moves the cursor, starts a terminal sequence, reverses the direction of reading, or is half a character
_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn"}
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

# What GitHub gives a meaning of its own after Markdown was rendered, when entities and backslashes are gone: mentions,
# references (#1, GH-1, CVE-…, any repository's own ABC-1), commits, emoji, formulas, links. Such a word is made a code
# span, where nothing of that happens and which shows and copies it as it is.
_SPECIAL = re.compile(
    r"[@#$]|:(?=\S)|//|\.[^\W\d_]|www\.|\w_|[0-9a-f]{7}|(?<![A-Za-z0-9])[A-Za-z]{2,}-\w*\d"
    r"|(?<![A-Za-z0-9])ghsa-",
    re.IGNORECASE,
)
# ASCII punctuation that CommonMark (2.4) gives a meaning in the middle of a line; entities where a backslash won't do
_PROSE = re.compile(r"[\\`*_\[\]~<>&|]")
_ENTITY = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "`": "&#96;"}
_NUMBERED = re.compile(r"\d{1,9}[.)](?!\S)")
# a code span that whoever wrote the text meant: around whole words, at most in brackets or before punctuation
_MEANT = re.compile(r"(?<!\S)(\(*)`([^`\s](?:[^`]*[^`\s])?)`([),.;:!?]*)(?!\S)")
_URL = re.compile(r"[A-Za-z0-9:/?#&=%._~+-]{1,500}", re.ASCII)


def plain(text: str, limit: int = 2000) -> str:
    """`text` in one line that a terminal and a log can show: no control, format or line character is left."""
    cut = text[:limit]
    # most text is harmless, and a plan has thousands of lines
    shown = " ".join((cut if cut.isprintable() else "".join(map(_shown, cut))).split())
    return shown + "…" if len(text) > limit else shown


def _shown(char: str) -> str:
    if char.isspace():
        return " "
    return "\ufffd" if unicodedata.category(char) in _HARMFUL else char


def log(text: str, limit: int = 20_000) -> str:
    """`text` as lines of a log: indented as they were, without terminal sequences, none a command to the runner."""
    lines = _ESCAPES.sub("", text[:limit]).replace("\r\n", "\n").split("\n")
    shown = "\n".join(command_free("".join(map(_shown, line)).rstrip()) for line in lines)
    return shown + "…" if len(text) > limit else shown


def command_free(line: str) -> str:
    """`line` so that GitHub's runner doesn't take it as a command: those start with `::` or hold `##[`."""
    return re.sub(r"^(\s*:):", r"\1 :", line).replace("##[", "## [")


def markdown(text: str, limit: int = 400) -> str:
    """`text` as Markdown that renders as just that text, in a table cell too: nothing in it is a command to GitHub."""
    shown = plain(text, limit)
    parts: list[str] = []
    at = 0
    for match in _MEANT.finditer(shown):
        parts += _words(shown[at : match.start()])
        parts.append(f"{match[1]}{code(match[2], limit)}{match[3]}")
        at = match.end()
    parts += _words(shown[at:])
    return _started(" ".join(parts))


def _words(text: str) -> list[str]:
    return list(map(_word, text.split()))


def _word(word: str) -> str:
    """`word` as prose, or as code what is special in it: not the punctuation of the sentence around it."""
    if _SPECIAL.search(word) is None:
        return _PROSE.sub(_prose, word)
    core = word.lstrip('("').rstrip(',;:.!?)"')
    if _SPECIAL.search(core) is None:
        core = word
    before, _, after = word.partition(core)
    return f"{before}{_spans(core)}{after}"


def _prose(match: re.Match[str]) -> str:
    return _ENTITY.get(match[0]) or "\\" + match[0]


def _started(text: str) -> str:
    """`text` so that at the start of a line it begins no list, rule or heading (CommonMark 4.1, 4.3, 5.2)."""
    if text[:1] in "-+=" and text:
        return "\\" + text
    match = _NUMBERED.match(text)
    return text if match is None else f"{text[: match.end() - 1]}\\{text[match.end() - 1 :]}"


def code(text: str, limit: int = 400) -> str:
    """`text` as a code span, in a table cell too; what it holds is neither a mention nor a reference there."""
    return _spans(plain(text, limit))


def _spans(text: str) -> str:
    """One code span, or several with an entity between for what would end a span (`) or a cell (|)."""
    return "".join(_span(part) for part in re.split(r"([`|])", text) if part)


def _span(part: str) -> str:
    if part in "`|":
        return _ENTITY[part]
    # one space is stripped from both ends where both have one (CommonMark 6.1)
    padding = " " if part[0] == part[-1] == " " and part.strip() else ""
    # Markdown may be printed in a job, and in a code span nothing can be written in another way
    return f"`{padding}{part.replace('##[', '## [')}{padding}`"


def html(text: str, limit: int = 2000) -> str:
    """`text` in HTML, between tags or in a quoted attribute."""
    return _html.escape(plain(text, limit), quote=True).replace("##[", "&#35;#[")


def html_code(text: str, limit: int = 400) -> str:
    """`text` as HTML within Markdown (a `<summary>`), where GitHub looks for mentions in all but code."""
    return f"<code>{html(text, limit)}</code>"


def link(text: str, url: str) -> str:
    """A link in Markdown from `text`, which is prose of ours; just the text where `url` is no plain https URL."""
    return f"[{text}]({url})" if is_link(url) else text


def is_link(url: str) -> bool:
    """Whether `url` may stand behind a link as it is: https (http on this machine), and no character of any syntax."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    allowed = parts.scheme == "https" or (parts.scheme == "http" and host in ("127.0.0.1", "localhost"))
    return allowed and bool(host) and _URL.fullmatch(url) is not None


def annotation(text: str, limit: int = 2000) -> str:
    """`text` as the message of a runner's command (toolkit: command.ts, escapeData)."""
    return plain(text, limit).replace("%", "%25")


def annotation_property(text: str, limit: int = 400) -> str:
    """`text` as a property of a runner's command (toolkit: command.ts, escapeProperty)."""
    return annotation(text, limit).replace(":", "%3A").replace(",", "%2C")
