"""What programs say can be shown anywhere: no escape, no command, no secret, however it was written."""

from __future__ import annotations

import base64
import html
import json
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply.lines import HIDDEN, MAX_LINE, Redactor, harmless

SECRET = "s3cr&t<va/lue>+x"
REDACT = Redactor([SECRET])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\tb\0c\x9bd", "a bcd"),
        ("left\u202eright\u2066x", "leftrightx"),
        ("::set-output name=a::b", ": :set-output name=a::b"),
        ("  ::error::x", "  : :error::x"),
        ("\x1b[0m::add-mask::x", ": :add-mask::x"),
        ("a ::b:: in the middle", "a ::b:: in the middle"),
        ("x ##[group]y", "x ## [group]y"),
    ],
)
def test_harmless(line: str, shown: str) -> None:
    """Escapes go, commands are broken, the text stays."""
    assert harmless(line) == shown


@given(st.text())
def test_nothing_is_a_command_or_a_control(line: str) -> None:
    """Whatever is said, no control character comes out and nothing that a runner would obey."""
    shown = harmless(line)
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert not [char for char in shown if unicodedata.category(char) == "Cc"]
    assert len(shown) <= MAX_LINE + 1


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET, safe=""),
        html.escape(SECRET),
        json.dumps(SECRET)[1:-1],
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"name:{SECRET}:more".encode()).decode(),
        base64.urlsafe_b64encode(f"ab{SECRET}".encode()).decode(),
    ],
)
def test_a_secret_is_hidden_however_it_is_spelled(spelling: str) -> None:
    """Raw, URL-encoded, escaped, hex, and base64 at any offset (behaviours.md 21)."""
    shown = REDACT(f"before {spelling} after")
    assert HIDDEN in shown
    assert SECRET not in shown
    assert spelling not in shown


@given(st.text(max_size=20), st.text(min_size=6, max_size=30), st.text(max_size=20))
def test_base64_of_anything_around_a_secret(before: str, secret: str, after: str) -> None:
    """No neighbour makes a secret show in base64."""
    coded = base64.b64encode((before + secret + after).encode("utf-8", "replace")).decode()
    assert HIDDEN in Redactor([secret])(coded)


def test_short_secrets_hide_nothing() -> None:
    """An empty or very short one would hide half of every log."""
    assert Redactor(["", "abc"])("abc and more") == "abc and more"
