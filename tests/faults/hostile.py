"""Values and bytes as an enemy would send them, and valid documents with one thing changed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

TEXTS = [
    "",
    "\0",
    "a\0b",
    "\r",
    "one\rtwo",
    "one\ntwo",
    "\ud800",
    "\u202e\u2066evil",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "--push",
    "-o",
    "../../etc/passwd",
    "/etc/passwd",
    "$(reboot)",
    "`reboot`",
    "a b; reboot",
    "::error::x",
    "##[error]x",
    "é" * 300,
    "x" * 3_000,
    "sha256:" + "0" * 64,
    "sha256:" + "0" * 63 + "\n",
    "9" * 4400,
    "2026-13-45T99:99:99Z",
    "NaN",
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**4000), 0.1, 1e308, float("inf"), float("nan")]


def nested(depth: int, kind: str = "[") -> Any:
    """Lists or objects within each other."""
    value: Any = None
    for _ in range(depth):
        value = [value] if kind == "[" else {"a": value}
    return value


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.integers(),
    st.text(max_size=20),
    st.sampled_from([nested(60), nested(60, "{")]),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

# what no document made of values can be
BYTES = [
    b"",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"[" + b"9" * 5_000 + b"]",
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"NaN",
    b"\0" * 100,
]


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from paths(one, (*at, number))


def changed(document: Any, choice: int, value: Any) -> Any:
    """The document with `value` at some place, or that place gone, or its text used as a key."""
    whole = copy.deepcopy(document)
    chance = random.Random(choice)
    path = chance.choice(list(paths(whole)))
    if not path:
        return value
    at = whole
    for part in path[:-1]:
        at = at[part]
    how = chance.randrange(8)
    if how == 0:
        del at[path[-1]]
    elif how == 1 and isinstance(at, dict):
        at[str(value)[:50]] = at.pop(path[-1])
    else:
        at[path[-1]] = value
    return whole


def dumped(value: Any) -> bytes:
    """As JSON, with whatever a careless writer lets through."""
    return json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")


choices = st.integers(0, 2**32 - 1)
raw = st.one_of(st.sampled_from(BYTES), st.binary(max_size=60), values.map(dumped))
