"""A demo's folder goes with it, and what a killed one left goes with the next."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.local.demo.folder import PREFIX, clear_stale, room


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_temporary_room_is_gone_in_the_end(temporary: Path) -> None:
    """Also where the demo failed."""

    def interrupted() -> None:
        with room(None) as folder:
            (folder / "registry").mkdir()
            assert folder.parent == temporary
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(temporary.iterdir()) == []


def test_a_chosen_room_stays(tmp_path: Path) -> None:
    """`--folder` is made if need be, and left."""
    with room(tmp_path / "a" / "b") as folder:
        (folder / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_a_chosen_room_must_be_empty(tmp_path: Path) -> None:
    """Nothing of the user's is written over."""
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="isn't empty"), room(tmp_path):
        pass


def test_a_file_is_no_room(tmp_path: Path) -> None:
    """A mistake is said, not raised as an OSError."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be made"), room(tmp_path / "file"):
        pass


def test_the_rooms_of_dead_demos_are_cleared_and_no_others(temporary: Path) -> None:
    """A lock that nobody holds is a dead demo's; one that is held, or isn't there yet, a living one's."""
    dead, alive, young, other = (
        temporary / name for name in (f"{PREFIX}dead", f"{PREFIX}alive", f"{PREFIX}young", "x")
    )
    for folder in (dead, alive, young, other):
        folder.mkdir()
    for folder in (dead, alive, other):
        (folder / "lock").touch()
    with (alive / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_stale(temporary)
    assert sorted(path.name for path in temporary.iterdir()) == sorted(path.name for path in (alive, young, other))
