"""The folder of a run: one host's credential in it, the user's builders behind it, and gone when the run is."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reconciler.apply.runconfig import PREFIX, RunConfig, clear_stale, logs_folder
from reconciler.errors import ToolError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user who is logged in to two registries, with a builder and a plugin."""
    docker = tmp_path / "home" / ".docker"
    (docker / "buildx" / "instances").mkdir(parents=True)
    (docker / "cli-plugins").mkdir()
    config = {
        "auths": {"ghcr.io": {"auth": "b3RoZXI6b3RoZXI="}, "other.example": {"auth": "c2VjcmV0"}},
        "credHelpers": {"ghcr.io": "desktop"},
        "credsStore": "desktop",
        "currentContext": "far",
        "HttpHeaders": {"X-Secret": "1"},
    }
    (docker / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path / "home"


def test_holds_one_credential_and_finds_the_users_builders(home: Path, tmp_path: Path) -> None:
    """Only the mirror's own, 0600; plugins, contexts and builders are the user's; nothing else of the config."""
    with RunConfig("ghcr.io", username="me", password="pw", environ={"HOME": str(home)}, base=tmp_path) as config:
        content = json.loads((config.docker / "config.json").read_text(encoding="utf-8"))
        assert content == {
            "currentContext": "far",
            "auths": {"ghcr.io": {"auth": base64.b64encode(b"me:pw").decode()}},
        }
        assert stat.S_IMODE((config.docker / "config.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(config.folder.stat().st_mode) == 0o700
        assert (config.docker / "buildx").resolve() == home / ".docker" / "buildx"
        assert (config.docker / "cli-plugins").resolve() == home / ".docker" / "cli-plugins"
        assert config.scratch.is_dir()
    assert not config.folder.exists()
    assert (home / ".docker" / "buildx" / "instances").is_dir()


def test_tokens_hub_and_nothing(home: Path, tmp_path: Path) -> None:
    """An identity token, Docker Hub's own name, and no credential at all."""
    environ = {"HOME": "/nowhere", "DOCKER_CONFIG": str(home / ".docker"), "BUILDX_CONFIG": str(tmp_path)}
    with RunConfig("docker.io", identity_token="it", environ=environ, base=tmp_path) as config:
        auths = json.loads((config.docker / "config.json").read_text(encoding="utf-8"))["auths"]
        assert auths["https://index.docker.io/v1/"]["identitytoken"] == "it"
        assert (config.docker / "buildx").resolve() == tmp_path
    with RunConfig("ghcr.io", environ={"HOME": "/nowhere"}, base=tmp_path) as config:
        assert json.loads((config.docker / "config.json").read_text(encoding="utf-8")) == {"auths": {}}


HOLD = """
import os, signal, sys
from pathlib import Path
from reconciler.apply.runconfig import RunConfig
with RunConfig('ghcr.io', username='u', password='p', environ={}, base=Path(sys.argv[1])) as config:
    print(config.folder, flush=True)
    sys.stdin.read()
"""


def test_a_dead_runs_folder_is_cleared_and_a_living_ones_stays(tmp_path: Path) -> None:
    """kill -9 leaves a credential on disk until the next run begins; a run that goes on keeps its own."""
    hold = [sys.executable, "-c", HOLD, str(tmp_path)]
    dead, living = (subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2))
    assert dead.stdout
    assert living.stdout
    folders = [Path(process.stdout.readline().strip()) for process in (dead, living) if process.stdout]
    dead.kill()
    dead.communicate()
    assert folders[0].is_dir()
    with RunConfig("ghcr.io", environ={}, base=tmp_path):
        assert not folders[0].exists()
        assert folders[1].is_dir()
    living.communicate()
    assert not list(tmp_path.glob(f"{PREFIX}*"))


KILLED = """
import os, signal, sys
from reconciler.apply.runconfig import logs_folder
with logs_folder(lambda: False) as folder:
    (folder / "build.log").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_logs_of_a_killed_run_are_cleared_and_those_that_are_named_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an error names stays for good; what nobody was told of goes with its run, or with the next one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with logs_folder(lambda: True) as named, logs_folder(lambda: False) as other:
        subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        assert len(list(tmp_path.iterdir())) == 3
        clear_stale(tmp_path)
        assert {*tmp_path.iterdir()} == {named, other}
    clear_stale(tmp_path)
    assert [*tmp_path.iterdir()] == [named]
    assert [*named.iterdir()] == []


def test_a_link_isnt_followed(tmp_path: Path) -> None:
    """Somebody's link with our name removes nothing behind it."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "lock").touch()
    (tmp_path / f"{PREFIX}evil").symlink_to(tmp_path / "precious")
    clear_stale(tmp_path)
    assert (tmp_path / "precious" / "lock").exists()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Said with what to do, and nothing left open."""
    with pytest.raises(ToolError, match="can't be made"), RunConfig("ghcr.io", environ={}, base=tmp_path / "none"):
        pass
