from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registry.headers import Challenge, challenges, next_link

WORD = st.text("abcXYZ019-_.~", min_size=1, max_size=8)
QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


def test_a_registrys_challenge_is_read() -> None:
    """Realm, service and scope come out of the header that GHCR and distribution send (protocols 2.2)."""
    value = 'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull,push"'
    assert challenges([value]) == (
        Challenge(
            "bearer", {"realm": "https://ghcr.io/token", "service": "ghcr.io", "scope": "repository:a/b:pull,push"}
        ),
    )


def test_several_challenges_in_one_header_or_in_two_are_told_apart() -> None:
    """A comma between challenges isn't taken for one between parameters (RFC 9110 11.6.1)."""
    expected = (Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b", "service": "c"}))
    assert challenges(['Basic realm="a", Bearer realm="b" , service=c']) == expected
    assert challenges(['Basic realm="a"', 'Bearer realm="b",service=c']) == expected
    assert challenges(["Negotiate dGVzdA==, NTLM"]) == (Challenge("negotiate"), Challenge("ntlm"))


@pytest.mark.parametrize(
    "value",
    [
        'Bearer realm="x',
        'Bearer realm="a",realm="b"',
        "Bearer a b",
        'Bearer realm="x"y="z"',
        "=",
        "Bearer\x00 a=b",
        "Bé",
    ],
)
def test_what_isnt_the_grammar_is_refused(value: str) -> None:
    """A garbled challenge is an error, never a guess."""
    with pytest.raises(ValueError, match="WWW-Authenticate"):
        challenges([value])


@given(st.lists(st.tuples(WORD, st.dictionaries(WORD.map(str.lower), QUOTED, min_size=1, max_size=4)), max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(written: list[tuple[str, dict[str, str]]]) -> None:
    """Any schemes, parameter names and quoted values survive."""

    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(f"{s} " + ", ".join(f"{k}={quote(v)}" for k, v in p.items()) for s, p in written)
    assert challenges([header]) == tuple(Challenge(s.lower(), p) for s, p in written)


@given(st.lists(st.text(max_size=200), max_size=3))
def test_nothing_but_valueerror_comes_out_of_any_header(values: list[str]) -> None:
    """Whatever a registry sends, the readers either understand or refuse it."""
    for read in (challenges, next_link):
        try:
            read(values)
        except ValueError:
            continue


@pytest.mark.parametrize("evil", ["<a>" + ';""' * 5000, "<a>" + ";a" * 8000, "<a>" + "; a=b" * 3000, "<" * 16000])
def test_a_hostile_link_is_refused_without_backtracking(evil: str) -> None:
    """Readers stay linear: the test would never end otherwise."""
    with pytest.raises(ValueError, match="Link"):
        next_link([evil + ';"'])


def test_the_next_page_is_found() -> None:
    """`next` is found among other relations, in one header or several, with and without quotes; else there is none."""
    assert next_link(['</v2/a/tags/list?n=1&last=b>; rel="next"']) == "/v2/a/tags/list?n=1&last=b"
    assert next_link(['<a>; rel=prev, <b>; title="x, y"; rel="foo next"']) == "b"
    assert next_link(["<a>; rel=prev", "<b>; rel=next"]) == "b"
    assert next_link(['<a>; rel="nextish"', "<b>; rel=nextdoor, <c>; rel=next-door"]) == ""
    assert next_link([]) == ""


@pytest.mark.parametrize("value", ["/v2/a", "<a b>; rel=next", '<a>; rel="next'])
def test_a_garbled_link_isnt_the_end_of_a_list(value: str) -> None:
    """A page that can't be found is an error: the rest of the list would be missing."""
    with pytest.raises(ValueError, match="Link"):
        next_link([value])
