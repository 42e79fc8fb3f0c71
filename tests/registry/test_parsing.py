from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Malformed
from reconciler.registry import parsing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"9" * 10_000,
        b"[NaN]",
        b"-Infinity",
        b'"\\ud800"',
        b'{"\\uDfff": 1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_hostile_json_is_malformed_and_nothing_worse(data: bytes) -> None:
    """Depth, huge numbers, lone surrogates, other encodings: our own error, with its place."""
    with pytest.raises(Malformed, match=r"JSON") as caught:
        parsing.load(data, "ghcr.io/a/b:1")
    assert caught.value.where == "ghcr.io/a/b:1"


def test_a_pair_of_surrogates_is_a_character() -> None:
    """Only lone ones are refused: an emoji may be written as two escapes."""
    assert parsing.load(b'"\\ud83d\\ude00"', "x") == "\U0001f600"


@given(st.binary(max_size=500) | JSON.map(lambda v: json.dumps(v).encode()))
def test_whatever_comes_out_can_be_written_again(data: bytes) -> None:
    """A value that was accepted is JSON and UTF-8, or it is Malformed."""
    try:
        value = parsing.load(data, "x")
    except Malformed:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")


def test_access_is_typed() -> None:
    """A field of another type than expected is Malformed; a missing one is empty, but for sizes."""
    value = {"a": 1, "b": ["x"], "c": {"k": 1}, "d": True, "e": None, "f": -1, "g": 2**60}
    assert parsing.text(value, "e", "x") == parsing.text(value, "missing", "x") == ""
    assert parsing.items(value, "b", "x") == ["x"]
    assert parsing.size(value, "a", "x") == 1
    for read, key in (
        (parsing.text, "a"),
        (parsing.items, "a"),
        (parsing.texts, "b"),
        (parsing.texts, "c"),
        (parsing.size, "d"),
        (parsing.size, "f"),
        (parsing.size, "g"),
        (parsing.size, "missing"),
    ):
        with pytest.raises(Malformed):
            read(value, key, "x")
    with pytest.raises(Malformed):
        parsing.load_object(b"[]", "x")
