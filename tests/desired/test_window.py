"""Which releases must exist."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.window import select
from reconciler.model.evidence import Unknown
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked
from tests.desired.folder import APP, mattermost, one, outline, releases


def _members(folder: Path, app: str, found: list[str], blocked: tuple[str, ...] = ()) -> list[str]:
    desired, read = one(folder, app)
    hindrances = {("app", Version.parse(v)): Blocked("no binary") for v in blocked}
    return [str(r.version) for r in select(desired, read, releases(*found), hindrances).members]


def test_the_window_is_the_highest_stable_releases_by_number(tmp_path: Path) -> None:
    """Not the latest by date and not the last as text; a hyphen suffix is a pre-release."""
    found = ["9.9.9", "10.10.0", "10.9.0", "10.10.1-0", "10.10.0-rc1", "2.0.0"]
    assert _members(tmp_path, APP + "window: 3\n", found) == ["10.10.0", "10.9.0", "9.9.9"]


def test_the_window_of_outline_is_right(tmp_path: Path) -> None:
    """From all its tags, with 1.9.2-0, 1.2.0-3 and 1.0.0-test8 among them; what one may miss is explained."""
    desired, app = one(tmp_path)
    chosen = select(desired, app, outline(), {})
    assert [str(r.version) for r in chosen.members] == [
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
    assert chosen.considered == (
        "1.9.2-0: pre-release",
        "1.8.2-0: pre-release",
        "1.8.0-1: pre-release",
        "1.8.0-0: pre-release",
    )


def test_the_window_of_mattermost_is_right_and_its_extended_line_joins(tmp_path: Path) -> None:
    """The highest of a named range is wanted even where the window has passed it by."""
    app = APP + "window: 3\npointers: {esr: '>=10.5,<10.6'}\n"
    desired, read = one(tmp_path, app)
    chosen = select(desired, read, mattermost(), {})
    assert [str(r.version) for r in chosen.members] == ["11.10.0", "11.9.1", "11.8.5", "10.5.14"]


@pytest.mark.parametrize(
    ("filters", "members", "considered"),
    [
        ("versions: '>=2,<4'", ["3.0.0", "2.0.0"], ("4.0.0: outside of versions >=2,<4",)),
        ("exclude: [4.0.0, '<2']", ["3.0.0", "2.0.0"], ("4.0.0: excluded by 4.0.0",)),
    ],
)
def test_filters_apply_before_the_window_is_counted(
    tmp_path: Path, filters: str, members: list[str], considered: tuple[str, ...]
) -> None:
    """What they rule out takes no place in the window, is explained, and may be left by a pointer."""
    app = APP.replace('tag: "v{version}"', 'tag: "v{version}", ' + filters) + "window: 2\n"
    desired, read = one(tmp_path, app)
    chosen = select(desired, read, releases("1.0.0", "4.0.0", "3.0.0", "2.0.0"), {})
    assert [str(r.version) for r in chosen.members] == members
    assert chosen.considered == considered
    assert {str(v) for v in chosen.ruled_out} == {"1.0.0", "4.0.0"}


def test_blocked_releases_take_their_place_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    """With skip-blocked the window reaches further, and the blocked ones above its end still say why."""
    found = ["5.0.0", "4.0.0", "3.0.0", "2.0.0", "1.0.0"]
    assert _members(tmp_path, APP + "window: 2\n", found, ("5.0.0",)) == ["5.0.0", "4.0.0"]
    skipping = APP + "window: {count: 2, skip-blocked: true}\n"
    assert _members(tmp_path, skipping, found, ("5.0.0", "3.0.0")) == ["5.0.0", "4.0.0", "3.0.0", "2.0.0"]


def test_what_nobody_could_tell_makes_the_window_reach_no_further(tmp_path: Path) -> None:
    """A time-out is no answer: the window stays where it is."""
    desired, app = one(tmp_path, APP + "window: {count: 1, skip-blocked: true}\n")
    hindrances = {("app", Version.parse("2.0.0")): Unknown("timed out")}
    members = select(desired, app, releases("2.0.0", "1.0.0"), hindrances).members
    assert [str(r.version) for r in members] == ["2.0.0"]


def test_the_reach_past_blocked_releases_has_an_end(tmp_path: Path) -> None:
    """Three times the window is looked at; where none can be built, a plain window is left."""
    found = [f"{n}.0.0" for n in range(50, 0, -1)]
    skipping = APP + "window: {count: 3, skip-blocked: true}\n"
    assert _members(tmp_path, skipping, found, tuple(found)) == found[:3]
    assert _members(tmp_path, skipping, found, tuple(v for v in found if v != "45.0.0")) == found[:6]
    assert _members(tmp_path, skipping, found, tuple(v for v in found if v != "30.0.0")) == found[:3]


def test_adopted_versions_join_or_are_explained(tmp_path: Path) -> None:
    """A digest that the desired state names is wanted outside of the window too, if upstream has that release."""
    digest = "sha256:" + "a" * 64
    app = APP.replace("{}", f"{{adopt: {{1.0.0: '{digest}', 0.9.0: '{digest}'}}}}") + "window: 1\n"
    desired, read = one(tmp_path, app)
    chosen = select(desired, read, releases("3.0.0", "2.0.0", "1.0.0"), {})
    assert [str(r.version) for r in chosen.members] == ["3.0.0", "1.0.0"]
    assert chosen.considered == ("0.9.0: adopt names it, but upstream has no such release",)


def test_a_version_excluded_by_name_is_ruled_out_even_where_upstream_took_it_away(tmp_path: Path) -> None:
    """A withdrawn release is gone from the list, and a pointer must still be able to leave it."""
    app = APP.replace('tag: "v{version}"', 'tag: "v{version}", exclude: [9.9.9]')
    desired, read = one(tmp_path, app)
    assert Version.parse("9.9.9") in select(desired, read, releases("1.0.0"), {}).ruled_out


versions = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(0, 12), st.integers(0, 3), st.sampled_from(["", "", "", "-0", "-rc1"])
    ).map(lambda t: f"{t[0]}.{t[1]}.{t[2]}{t[3]}"),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=versions, seed=st.integers(0, 99), count=st.integers(1, 8), blocked=st.sets(st.integers(0, 40)))
def test_the_window_depends_on_nothing_but_the_set_of_releases(
    tmp_path: Path, found: list[str], seed: int, count: int, blocked: set[int]
) -> None:
    """Any order gives the same; members are the highest stable ones without holes, at least `count` if there are."""
    desired, app = one(tmp_path, APP + f"window: {{count: {count}, skip-blocked: true}}\n")
    hindrances = {("app", Version.parse(v)): Blocked("x") for at, v in enumerate(found) if at in blocked}
    chosen = select(desired, app, releases(*found), hindrances)
    shuffled = random.Random(seed).sample(found, len(found))
    assert select(desired, app, releases(*shuffled), hindrances) == chosen
    members = [r.version for r in chosen.members]
    assert members == sorted(set(members), reverse=True)
    assert all(v.stable for v in members)
    stable = sorted({Version.parse(v) for v in found if Version.parse(v).stable}, reverse=True)
    assert members == stable[: len(members)], "the window has no holes"
    assert len(members) >= min(count, len(stable))
    assert len(members) <= 3 * count
