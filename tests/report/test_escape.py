"""Hostile text stays text, wherever it is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.report.escape import (
    annotation,
    annotation_property,
    code,
    command_free,
    html,
    html_code,
    is_link,
    link,
    log,
    markdown,
    plain,
)
from tests.report.github import rendered

HOSTILE = [
    "|",
    "||",
    "\\|",
    "\\",
    "`",
    "``",
    "`````",
    "```\nfence",
    "~~~",
    "~~gone~~",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\t",
    " ",
    "<img src=x onerror=alert(1)>",
    "![x](https://example.com/x.png)",
    "[x](https://example.com)",
    "[x]: https://example.com",
    "</details>",
    "<!-- reconcile:plan -->",
    "<!--",
    "-->",
    "&lt;b&gt;",
    "&amp;",
    "&#64;user",
    "@user",
    "@org/team",
    "(@user)",
    "`@user",
    "#1",
    "GH-1",
    "gh-1",
    "JIRA-12",
    "CVE-2024-12345",
    "GHSA-aaaa-bbbb-cccc",
    "owner/repo#1",
    "owner/repo@c0ffee0",
    "c0ffee0000000000000000000000000000000000",
    "deadbeef",
    "1234567",
    "https://example.com/x",
    "http://example.com",
    "www.example.com",
    "ftp://example.com",
    "example.com",
    "mallory@example.com",
    "mailto:mallory@example.com",
    ":smile:",
    ":+1:",
    "(:smile:)",
    "$x$",
    "$`x`$",
    "$$",
    "**bold**",
    "__bold__",
    "_it_",
    "*it*",
    "snake_case_name",
    "# heading",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "1) item",
    "---",
    "===",
    "> quote",
    "> [!NOTE]",
    "[ ] task",
    "[^1]",
    "\u202eright to left",
    "\u200b",
    "\x00",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\ud800",
    "\x85",
    "\u2028",
    "::error::x",
    "##[error]x",
    "é漢👩‍👩‍👧",
    "word",
    "1.2.0",
    "sha256:1a2b3c4d5e6f",
    "write `adopt: {}` there",
]

hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), max_size=8).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda between: between.join(parts))
)
# characters close together are what finds the seams
dense = st.text(alphabet="`|\\ @#:$_*~<>![]()-=.&a1f/w\n", max_size=24)
any_text = st.one_of(hostile, dense, st.text(max_size=60))

SEAMS = [
    "`a`",
    "(`a`).",
    "`a``b`",
    "`a` `b`",
    "``a``",
    "`a`@b",
    "@b`a`",
    "`a`:smile:",
    "`|`",
    "a` |b`",
    "`` ` ``",
    "` `",
]


def meant(text: str) -> str:
    """`text` as it should be seen in Markdown: a pair of backticks around whole words has become a code span."""
    return parted(re.sub(r"(?<!\S)(\(*)`([^`\s](?:[^`]*[^`\s])?)`([),.;:!?]*)(?!\S)", r"\1\2\3", plain(text, 10_000)))


def parted(text: str) -> str:
    """`text` without the older spelling of a runner's command, as it would be one wherever it stands."""
    return text.replace("##[", "## [")


def check_inert(source: str) -> None:
    """Nothing in the page is more than text."""
    page = rendered(source)
    assert page.found == []
    assert page.links == []
    assert page.comments == []
    assert set(page.tags) <= {"p", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "h3"}
    assert page.unbalanced == []


def same(shown: str, given_: str) -> bool:
    """Whether the text is the same but for white space, which HTML doesn't tell apart."""
    return shown.split() == given_.split()


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("&#64;user", "mention"),
        ("\\#1", "issue"),
        ("GH-1", "issue"),
        ("CVE-2024-1", "own reference"),
        ("deadbeef", "commit"),
        ("&#58;smile&#58;", "emoji"),
        ("\\$x$", "formula"),
        ("https&#58;//a.example", "link"),
    ],
)
def test_the_page_shows_what_would_be_found(source: str, what: str) -> None:
    """The check itself works: entities and backslashes don't hide anything from GitHub, a code span does."""
    assert what in rendered(source).found
    assert rendered(f"`{source}`").found == []
    assert rendered("see <b>www.example.com</b>").links == ["http://www.example.com"]


@given(any_text, any_text)
@example("@user", "`")
def test_a_table_keeps_its_columns(first: str, second: str) -> None:
    """Whatever the cells hold, the row has as many as before, each shows its text, and nothing else results."""
    source = f"| a | b | c |\n|---|---|---|\n| {markdown(first)} | {code(second)} | end |\n"
    check_inert(source)
    page = rendered(source)
    assert [len(row) for row in page.cells] == [3, 3]
    shown = page.cells[1]
    assert same(shown[0], meant(first[:400] + "…" if len(first) > 400 else first))
    assert same(shown[1], parted(plain(second, 400)))
    assert shown[2] == "end"


@given(any_text, st.sampled_from(["", "before ", "- ", "### "]))
def test_prose_is_only_prose(text: str, before: str) -> None:
    """At the start of a line, in it, in a list and in a heading: one block, with the text and nothing more."""
    source = f"first\n\n{before}{markdown(text, 10_000)}\n\n```\nfence\n```\n"
    page = rendered(source)
    assert page.found == page.links == page.comments == page.unbalanced == []
    assert [tag for tag in page.tags if tag != "code"] == {
        "": ["p", "p", "pre"] if plain(text) else ["p", "pre"],
        "before ": ["p", "p", "pre"],
        "- ": ["p", "ul", "li", "pre"],
        "### ": ["p", "h3", "pre"],
    }[before]
    wanted = f"first {before.strip(' -#')} {meant(text)} fence"
    assert same(page.text, wanted)


@given(any_text)
@example("---")
@example("===")
def test_a_line_below_a_paragraph_stays_in_it(text: str) -> None:
    """It is neither a rule nor does it make the line above a heading or a table's head."""
    page = rendered(f"above &#124; it\n{markdown(text)}\n")
    assert [tag for tag in page.tags if tag != "code"] == ["p"]
    assert page.found == []


@pytest.mark.parametrize("text", [*HOSTILE, *SEAMS, *(f"{a}{b}" for a in SEAMS for b in ("@user", "`", "|", ":x:"))])
def test_known_tricks(text: str) -> None:
    """Each of them alone, in a cell and as a list item."""
    check_inert(f"| a |\n|---|\n| {markdown(text)} |\n")
    check_inert(f"- {markdown(text)}\n")
    check_inert(f"| a |\n|---|\n| {code(text)} |\n")


@given(any_text)
def test_code_in_a_summary(text: str) -> None:
    """HTML within Markdown holds the text, and closes what it opens."""
    page = rendered(f"<details><summary>{html_code(text)}: 1 change</summary>\n\nfolded\n\n</details>\n")
    assert page.tags == ["details", "summary", "code", "p"]
    assert page.found == page.comments == page.links == page.unbalanced == []
    assert same(page.text, f"{plain(text, 400)}: 1 change folded")


@given(any_text)
def test_plain_is_one_harmless_line(text: str) -> None:
    """No control or format character is left, nothing breaks the line, and it can be written as UTF-8."""
    shown = plain(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert plain(shown) == shown


def test_plain_keeps_what_people_read() -> None:
    """Letters of any script, emoji and combining marks stay."""
    assert plain("é 漢字 👍🏽 ñ") == "é 漢字 👍🏽 ñ"
    assert plain("a\r\nb\x1b[31m\u202e") == "a b\ufffd[31m\ufffd"
    assert plain("x" * 2001) == "x" * 2000 + "…"


@given(any_text)
@example("\r::error::x")
@example("\x85::error::x")
@example("\u2028 ::error::x")
@example("\x1b[0m::error::x")
def test_log_lines_are_no_commands(text: str) -> None:
    """However the runner splits them: no line starts with `::`, none holds `##[`, none moves the cursor."""
    for line in re.split(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", log(text)):
        assert not line.strip().startswith("::")
        assert "##[" not in line
        assert line.isprintable()


def test_log_keeps_indentation_and_lines() -> None:
    """An error's second line stays where it was."""
    assert log("a: b\n  do this\n\x1b[1m  | x\x1b[0m") == "a: b\n  do this\n  | x"


@given(any_text)
def test_command_free_is_idempotent(text: str) -> None:
    """What is harmless stays as it is."""
    once = command_free(plain(text))
    assert command_free(once) == once
    assert not once.lstrip().startswith("::")
    assert "##[" not in once


@given(any_text)
def test_html_is_text(text: str) -> None:
    """Between tags and in an attribute it opens and closes nothing."""
    shown = html(text)
    assert not set("<>\"'") & set(shown)
    page = rendered(f'<p title="{shown}">{shown}</p>')
    assert page.tags == ["p"]
    assert same(page.text, plain(text))


@given(any_text)
def test_annotations_are_one_command(text: str) -> None:
    """The message ends at the line's end, a property at its comma or colons; unescaped it is what was given."""
    message, value = annotation(text), annotation_property(text)
    assert "\n" not in message
    assert "\r" not in message
    assert not set(":,") & set(value)

    def back(escaped: str) -> str:
        return escaped.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")

    assert back(value) == plain(text, 400)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "http://example.com/",
        "https://",
        "https://a.example/x)y",
        "https://a.example/<b>",
        "https://a.example/`",
        "https://a.example/a b",
        "https://[",
        "//a.example",
    ],
)
def test_only_plain_links_are_made(url: str) -> None:
    """What could end the link or lead elsewhere leaves just its text."""
    assert not is_link(url)
    assert link("the run", url) == "the run"


def test_a_link_leads_where_we_say() -> None:
    """The page has that link and no other."""
    url = "https://github.example/o/r/actions/runs/1"
    assert rendered(link("the run", url)).links == [url]
