"""Markdown as GitHub shows it: CommonMark with its extensions, and then what GitHub looks for in the text.

GitHub renders Markdown first and then goes over the text that is not in code or a link: there it makes mentions,
references, commits, emoji and formulas, whatever was escaped before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_RENDERER = MarkdownIt("gfm-like", {"html": True})

_FOUND = {
    "mention": re.compile(r"(?<![\w`/])@[A-Za-z0-9]"),
    "issue": re.compile(r"(?<![\w&])#\d|\bGH-\d|\w/[\w.-]+#\d", re.IGNORECASE),
    "own reference": re.compile(r"\b[A-Za-z]{2,}-\d+\b|\bCVE-\d|\bGHSA-", re.IGNORECASE),
    "commit": re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{7,64}(?![0-9A-Za-z])"),
    "emoji": re.compile(r":[A-Za-z0-9_+-]+:"),
    "formula": re.compile(r"\$"),
    "link": re.compile(r"(?:https?|ftp)://|\bwww\.\w", re.IGNORECASE),
}
_IGNORED = {"code", "pre", "a", "script", "style"}
_VOID = {"img", "br", "hr", "input", "meta"}


@dataclass
class Page(HTMLParser):
    """The elements of a rendered page, its text, and what GitHub would have found in it."""

    tags: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._run = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._settle()
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._settle()
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_comment(self, data: str) -> None:
        self._settle()
        self.comments.append(data.strip())

    def handle_data(self, data: str) -> None:
        self._run += data
        self.text += data
        if self.cells and ("td" in self.open or "th" in self.open):
            self.cells[-1][-1] += data

    def _settle(self) -> None:
        """Looks through the text node that ends here."""
        if not _IGNORED & set(self.open):
            self.found += [name for name, pattern in _FOUND.items() if pattern.search(self._run)]
        self._run = ""

    def finish(self) -> None:
        self.close()
        self._settle()
        self.unbalanced += self.open


def html(markdown: str) -> str:
    """What the Markdown renders to."""
    return str(_RENDERER.render(markdown))


def rendered(markdown: str) -> Page:
    """The page that GitHub would show."""
    page = Page()
    page.feed(html(markdown))
    page.finish()
    return page
