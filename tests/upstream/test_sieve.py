"""Which tags enter a window, and in which order."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.upstream import Filter
from reconciler.model.version import Version
from reconciler.upstream.sieve import Sieve

DATA = Path(__file__).parent.parent / "data"


def outline_tags() -> dict[str, str]:
    rows = (line.split() for line in (DATA / "outline-tags.txt").read_text().splitlines())
    return {row[0]: row[1] for row in rows}


def mattermost_versions() -> list[str]:
    return [one["version"] for one in json.loads((DATA / "mattermost-releases.json").read_text())["releases"]]


def test_outline_window() -> None:
    """Of Outline's real tags, hyphen suffixes never enter, and order is by number; commits come along."""
    tags = outline_tags()
    found = Sieve.of(Filter("v{version}")).candidates(tags)
    assert [str(r.version) for r in found[:10]] == [
        "1.9.2",
        "1.9.1",
        "1.9.0",
        "1.8.1",
        "1.8.0",
        "1.7.1",
        "1.7.0",
        "1.6.1",
        "1.6.0",
        "1.5.0",
    ]
    assert not any("-" in r.tag for r in found)
    assert all(r.commit == tags[r.tag] for r in found)
    # as text v0.9.0 would come after v0.10.0; and a tag without v isn't spelt as asked
    spelt = [r.tag for r in found]
    assert spelt[-3:] == ["v0.3.1", "v0.3.0", "v0.2.0"]
    assert spelt.index("v0.9.0") == spelt.index("v0.10.0") + 1
    assert "0.39.0" not in {r.tag for r in found}


def test_mattermost_window() -> None:
    """Of Mattermost's real versions the ten highest enter, whatever order they are listed in."""
    versions = mattermost_versions()
    tags = {f"v{v}": "" for v in reversed(versions)}
    found = [str(r.version) for r in Sieve.of(Filter("v{version}")).candidates(tags)]
    highest = "11.10.0 11.9.1 11.8.5 11.7.9 11.6.6 11.5.7 11.4.5 11.3.3 11.2.4 11.1.3"
    assert " ".join(found[:10]) == highest
    assert found == sorted(versions, key=lambda v: tuple(map(int, v.split("."))), reverse=True)


@pytest.mark.parametrize(
    ("versions", "exclude", "expected"),
    [
        ("", (), ["12.0.0", "11.0.1", "11.0.0", "10.5.0", "10.4.2", "10.3", "9.11.0"]),
        (">=10.5", (), ["12.0.0", "11.0.1", "11.0.0", "10.5.0"]),
        (">=10.4,<12", (), ["11.0.1", "11.0.0", "10.5.0", "10.4.2"]),
        ("~=10.4", (), ["10.5.0", "10.4.2"]),
        ("", ("11.0.1", "10.3.0"), ["12.0.0", "11.0.0", "10.5.0", "10.4.2", "9.11.0"]),
        ("", ("11.*", "<10"), ["12.0.0", "10.5.0", "10.4.2", "10.3"]),
        (">=10.5", ("12.0",), ["11.0.1", "11.0.0", "10.5.0"]),
    ],
)
def test_ranges_and_exclusions(versions: str, exclude: tuple[str, ...], expected: list[str]) -> None:
    """Ranges are packaging's; excluded are versions of the same rank, patterns and ranges."""
    tags = ["v9.11.0", "v10.3", "v10.4.2", "v10.5.0", "v11.0.0", "v11.0.1", "v12.0.0", "v12.0.0-rc1", "v11.0.0-1", "x"]
    found = Sieve.of(Filter("v{version}", versions, exclude)).candidates(dict.fromkeys(tags, ""))
    assert [str(r.version) for r in found] == expected


@pytest.mark.parametrize("given", [Filter(versions="10.5"), Filter(exclude=("next",)), Filter(exclude=("<x",))])
def test_nonsense_is_refused(given: Filter) -> None:
    """A range or a version that makes no sense is said so, not ignored."""
    with pytest.raises(ValueError, match="version"):
        Sieve.of(given)


def test_reasons() -> None:
    """Why a version doesn't count is said in words."""
    sieve = Sieve.of(Filter(versions=">=2", exclude=("3.1",)))
    assert sieve.rules_out(Version.parse("3.0-rc1")) == "3.0-rc1 is a pre-release"
    assert sieve.rules_out(Version.parse("1.0")) == "1.0 isn't in the range >=2"
    assert sieve.rules_out(Version.parse("3.1.0")) == "3.1.0 is excluded"
    assert sieve.rules_out(Version.parse("3.0")) == ""


@given(st.dictionaries(st.text(max_size=20) | st.from_regex(r"v\d{1,12}(\.\d{1,12}){0,9}(-\w*)?"), st.just("")))
def test_hostile_tags_never_raise(tags: dict[str, str]) -> None:
    """Whatever tags are called, the result is stable versions in falling order."""
    found = Sieve.of(Filter(versions=">=0", exclude=("1.*",))).candidates(tags)
    versions = [r.version for r in found]
    assert versions == sorted(versions, reverse=True)
    assert all(v.stable for v in versions)
