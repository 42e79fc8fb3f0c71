"""Versions: by number, never as text or by date."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.version import Version

NUMBERS = st.lists(st.integers(0, 9999), min_size=1, max_size=5)


def test_order() -> None:
    """Numbers first; a suffix of any kind is below the version without it (SemVer 11)."""
    ascending = [
        "0.82.1-31",
        "0.82.1",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0-test8",
        "1.0.0",
        "1.9.2-0",
        "1.9.2",
        "1.10.0",
        "10.3",
        "10.3.0",
        "10.3.1-rc1",
        "10.3.1rc2",
        "10.3.1",
    ]
    versions = [Version.parse(text) for text in ascending]
    assert [str(version) for version in sorted(versions, reverse=True)] == ascending[::-1]


@pytest.mark.parametrize("text", ["1.9.2-0", "1.0.0-test8", "1.2.0-3", "1.0rc1", "1.0.0+build", "1.0.0.beta", "1.0_1"])
def test_anything_after_the_numbers_is_unstable(text: str) -> None:
    """`packaging` alone would read 1.9.2-0 as a post-release, above 1.9.2."""
    assert not Version.parse(text).stable


@pytest.mark.parametrize(
    "text",
    ["", "v1.0", "1.", ".1", "1..2", "latest", "1.0 ", "1.0\n", "١.0", "1" * 11, "1.0-", "-1", "1/2", "1.0-$(x)"],
)
def test_what_is_no_version(text: str) -> None:
    """It must start with dotted numbers, and hold nothing that a tag can't."""
    with pytest.raises(ValueError, match="is no version"):
        Version.parse(text)


def test_parts() -> None:
    """What major and minor pointers are called."""
    assert (Version.parse("10.3.1").major, Version.parse("10.3.1").minor) == ("10", "10.3")
    assert Version.parse("7").minor == "7"


@given(NUMBERS, NUMBERS)
def test_numbers_compare_as_numbers(a: list[int], b: list[int]) -> None:
    """Whatever their text looks like; trailing zeros change nothing but the tie."""
    x, y = (Version.parse(".".join(map(str, numbers))) for numbers in (a, b))
    width = max(len(a), len(b))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (a, b)]
    if padded[0] != padded[1]:
        assert (x < y) == (padded[0] < padded[1])


@given(st.lists(st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,3}([-.+]?[a-z0-9]{1,4})?\Z"), min_size=2, max_size=6))
def test_order_is_total(texts: list[str]) -> None:
    """Sorting is the same from any start, and equal means the same text."""
    versions = [Version.parse(text) for text in texts]
    backwards = versions[::-1]
    assert sorted(versions) == sorted(backwards)
    assert all((a == b) == (str(a) == str(b)) for a in versions for b in versions)


@given(st.text(max_size=200))
def test_gives_back_what_was_read(text: str) -> None:
    """Nothing but ValueError comes out, and `str` is what was read."""
    try:
        version = Version.parse(text)
    except ValueError:
        return
    assert str(version) == text
