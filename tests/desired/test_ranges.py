"""Ranges, exclusions and patterns of tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.ranges import Exclusion, Range, TagPattern
from reconciler.model.version import Version

numbers = st.lists(st.integers(0, 10**9), min_size=1, max_size=8).map(lambda parts: ".".join(map(str, parts)))


def test_a_range_holds_stable_versions_only() -> None:
    """`>=10.5` holds 10.5.0, not 10.4.9 and no pre-release, however high."""
    wanted = Range.parse(">=10.5,<11")
    held = [
        v for v in ("10.4.9", "10.5", "10.5.0", "10.11.23", "11.0.0", "10.9.0-rc1") if wanted.holds(Version.parse(v))
    ]
    assert held == ["10.5", "10.5.0", "10.11.23"]


@pytest.mark.parametrize("text", ["", " ", "10.5", ">x", ">=1 <2", "===1.0", ">=1" * 100])
def test_what_is_no_range_is_refused(text: str) -> None:
    """Anything that packaging doesn't read as specifiers is refused, and so is comparison by text."""
    with pytest.raises(ValueError, match="write"):
        Range.parse(text)


def test_an_exclusion_is_a_version_or_a_range() -> None:
    """`10.3.2` excludes that version alone, `10.3` also 10.3.0, `10.4.*` a whole line, `<9` all below."""
    assert Exclusion.parse("10.3").holds(Version.parse("10.3.0"))
    assert not Exclusion.parse("10.3").holds(Version.parse("10.3.1"))
    assert Exclusion.parse("10.4.*").holds(Version.parse("10.4.7"))
    assert not Exclusion.parse("10.4.*").holds(Version.parse("10.5.0"))
    assert Exclusion.parse("10.3.2").holds(Version.parse("10.3.2"))
    assert not Exclusion.parse("10.3.2").holds(Version.parse("10.3.20"))
    assert Exclusion.parse("<9").holds(Version.parse("8.9.9"))


@pytest.mark.parametrize(
    "pattern", ["v{version}", "{version}", "v{version}-limitless", "server/v{version}", "@a/b@{version}"]
)
@given(text=numbers)
def test_a_pattern_turns_versions_into_tags_and_back(pattern: str, text: str) -> None:
    """version(tag(v)) is v for every version."""
    version = Version.parse(text)
    read = TagPattern.parse(pattern)
    assert read.version(read.tag(version)) == version
    assert str(read) == pattern


def test_a_pattern_ignores_tags_of_another_kind() -> None:
    """What doesn't fit around `{version}`, or isn't a version inside, is no release."""
    pattern = TagPattern.parse("v{version}-limitless")
    tags = [
        "v10.5.0",
        "v10.5.0-limitless",
        "x10.5.0-limitless",
        "v-limitless",
        "vnext-limitless",
        "",
        "v10.5.0-rc1-limitless",
    ]
    assert [str(v) for tag in tags if (v := pattern.version(tag))] == ["10.5.0", "10.5.0-rc1"]


@pytest.mark.parametrize(
    "text",
    [
        "v",
        "{version}{version}",
        "v{version} x",
        "-{version}",
        "{version}\n",
        "v{version}$(x)",
        "a..{version}",
        "{version}.lock",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """`{version}` stands in it exactly once, and nothing around it that a ref can't hold."""
    with pytest.raises(ValueError, match="write"):
        TagPattern.parse(text)
