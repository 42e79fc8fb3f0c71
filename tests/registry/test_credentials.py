from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from reconciler.errors import ToolError, ToolMissing, ToolTimeout
from reconciler.registry import helper
from reconciler.registry.credential import Credential, Use
from reconciler.registry.credentials import Credentials


def home(tmp_path: Path, config: object) -> dict[str, str]:
    folder = tmp_path / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.defpath}"}


def program(tmp_path: Path, name: str, script: str) -> None:
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


SAYS = """printf '%s' "$*" > "$0.argv"; read -r host; printf '{"Username":"me","Secret":"from-%s"}' "$host" """


def test_dockers_own_config_is_read(tmp_path: Path) -> None:
    """What `docker login` wrote is used, for its host only."""
    found = Credentials.load(home(tmp_path, {"auths": {"ghcr.io": {"username": "me", "password": "pw"}}}))
    assert (found.for_host("ghcr.io") or pytest.fail("none")).basic == "Basic bWU6cHc="
    assert found.for_host("example.org") is None


def test_docker_config_names_another_folder(tmp_path: Path) -> None:
    """DOCKER_CONFIG replaces ~/.docker, it doesn't add to it."""
    environ = home(tmp_path, {"auths": {"a.org": {"username": "me", "password": "pw"}}})
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"auths": {"b.org": {"username": "me", "password": "pw"}}}))
    found = Credentials.load(environ | {"DOCKER_CONFIG": str(other)})
    assert found.for_host("a.org") is None
    assert found.for_host("b.org") is not None


def test_podmans_auth_json_is_read_after_dockers(tmp_path: Path) -> None:
    """Where docker's config has nothing for a host, podman's may."""
    environ = home(tmp_path, {"auths": {"a.org": {"username": "docker", "password": "pw"}}})
    podman = tmp_path / "auth.json"
    entry = {"username": "podman", "password": "pw"}
    podman.write_text(json.dumps({"auths": {"a.org": entry, "b.org": entry}}))
    found = Credentials.load(environ | {"REGISTRY_AUTH_FILE": str(podman)})
    assert (found.for_host("a.org") or pytest.fail("none")).username == "docker"
    assert (found.for_host("b.org") or pytest.fail("none")).username == "podman"


def test_a_helper_is_asked_by_stdin(tmp_path: Path) -> None:
    """Host and secret are in no argument; the helper for a host comes before the store, the store before `auths`."""
    program(tmp_path, "one", SAYS)
    program(tmp_path, "two", SAYS)
    config = {
        "auths": {"b.org": {"username": "plain", "password": "pw"}},
        "credHelpers": {"a.org": "one"},
        "credsStore": "two",
    }
    found = Credentials.load(home(tmp_path, config))
    assert found.for_host("a.org") == Credential("me", "from-a.org", Use.PASSWORD, "docker-credential-one")
    assert found.for_host("b.org") == Credential("me", "from-b.org", Use.PASSWORD, "docker-credential-two")
    assert (tmp_path / "bin" / "docker-credential-one.argv").read_text() == "get"
    assert found.for_host("docker.io") == Credential(
        "me", "from-https://index.docker.io/v1/", Use.PASSWORD, "docker-credential-two"
    )
    assert "from-a.org" in found.secrets()


def test_a_helper_is_asked_once_a_run(tmp_path: Path) -> None:
    """Also by several threads at once."""
    program(tmp_path, "one", 'echo x >> "$0.count"; ' + SAYS)
    found = Credentials.load(home(tmp_path, {"credsStore": "one"}))
    threads = [threading.Thread(target=found.for_host, args=("a.org",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "bin" / "docker-credential-one.count").read_text() == "x\n"


def test_a_helper_that_has_nothing_lets_the_config_speak(tmp_path: Path) -> None:
    """Its way to say so is a text on stdout and status 1 (docker-credential-helpers)."""
    program(tmp_path, "one", "echo 'credentials not found in native keychain'; exit 1")
    config = {"auths": {"a.org": {"username": "me", "password": "pw"}}, "credsStore": "one"}
    found = Credentials.load(home(tmp_path, config))
    assert (found.for_host("a.org") or pytest.fail("none")).secret == "pw"
    assert found.notes == ()


def test_a_helper_that_fails_is_noted(tmp_path: Path) -> None:
    """No credential, and a line that a later "denied" can show; nothing of what the helper printed."""
    program(tmp_path, "one", "echo hunter2; exit 3")
    found = Credentials.load(home(tmp_path, {"credsStore": "one"}))
    assert found.for_host("a.org") is None
    assert found.notes == ("a.org: docker-credential-one get ended with status 3",)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("cat /dev/zero", ToolError),
        ("cat >/dev/null; echo '[]'", ToolError),
        ("""cat >/dev/null; printf '{"Username":1,"Secret":"x"}'""", ToolError),
        ("exec <&-; exit 1", ToolError),
        ("sleep 60 & sleep 60", ToolTimeout),
        ("exec >&-; sleep 60", ToolTimeout),
    ],
)
def test_a_helper_is_bounded(tmp_path: Path, script: str, kind: type[ToolError]) -> None:
    """One that floods, lies or hangs ends as our own error, and its children end with it."""
    program(tmp_path, "bad", script)
    with pytest.raises(ToolError) as caught:
        helper.get("bad", "a.org", environ={"PATH": f"{tmp_path / 'bin'}:{os.defpath}"}, limit=0.4)
    assert type(caught.value) is kind


def test_a_helper_that_isnt_there_is_missing(tmp_path: Path) -> None:
    """It's looked for on the PATH of the environment, and never in the folder that we are in."""
    with pytest.raises(ToolMissing):
        helper.get("nowhere", "a.org", environ={"PATH": str(tmp_path)})


def test_the_environment_speaks_for_the_mirrors_host_and_ghcr(tmp_path: Path) -> None:
    """RECONCILE_REGISTRY_* are for the mirror's host alone and come first; GITHUB_TOKEN is for ghcr.io alone."""
    environ = {
        "HOME": str(tmp_path),
        "RECONCILE_REGISTRY_USERNAME": "bot",
        "RECONCILE_REGISTRY_PASSWORD": "pw",
        "GITHUB_TOKEN": "gh",
        "GITHUB_ACTOR": "octocat",
    }
    found = Credentials.load(environ, mirror="registry.example.org")
    assert (found.for_host("registry.example.org") or pytest.fail("none")).username == "bot"
    assert found.for_host("ghcr.io") == Credential("octocat", "gh", Use.PASSWORD, "GITHUB_TOKEN")
    for host in ("example.org", "ghcr.io.example.org", "registry.example.org:5000"):
        assert found.for_host(host) is None
    assert found.secrets() == {"pw", "gh"}
    ghcr = Credentials.load(environ, mirror="ghcr.io")
    assert (ghcr.for_host("ghcr.io") or pytest.fail("none")).username == "bot"


def test_a_token_without_an_actor_still_has_a_name(tmp_path: Path) -> None:
    """Basic with an empty name is refused by some proxies; GHCR looks at the token alone (protocols 2.4)."""
    found = Credentials.load({"HOME": str(tmp_path), "GITHUB_TOKEN": "gh"}).for_host("ghcr.io")
    assert found is not None
    assert found.username


def test_nothing_shows_a_secret() -> None:
    """Neither repr nor str of a credential, or of all of them."""
    one = Credential("me", "hunter2", source="a test")
    every = Credentials(fixed={"a.org": one}, environ={"GITHUB_TOKEN": "hunter2"})
    for shown in (repr(one), str(one), f"{one}", repr(every), str(every)):
        assert "hunter2" not in shown
    assert every.secrets() == {"hunter2"}


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "large", "loop", "no home"])
def test_a_file_that_cant_be_read_stops_nothing(tmp_path: Path, kind: str) -> None:
    """No file, a folder, a pipe without a writer, a huge one, a symlink to itself: no credential, at most a note."""
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b" " * (1024 * 1024 + 1))
        case "loop":
            path.symlink_to(path)
    found = Credentials.load({} if kind == "no home" else {"HOME": str(tmp_path)})
    assert found.for_host("ghcr.io") is None
    assert len(found.notes) == (0 if kind in ("missing", "no home") else 1)
