"""The doctor: each thing that is missing is one finding with what to do, and nothing is changed or raised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.commands import Printed, Settings, doctor
from reconciler.commands.doctor.finding import Check, Finding, Level, ok, run_all
from reconciler.errors import UsageError
from reconciler.local.registry import LocalRegistry, Manners, User
from reconciler.local.registry.access import Auth
from reconciler.local.sigstore.keys import Key
from reconciler.local.upstream import LocalUpstream
from reconciler.model.platform import Platform
from tests.support import images

REMOTE = """\
Name:   farm
Driver: remote

Nodes:
Name:      farm0
Endpoint:  tcp://farm:1234
Status:    running
Platforms: linux/amd64, linux/arm64, linux/amd64/v2
"""
DAY = 86_400


def program(folder: Path, name: str, text: str) -> None:
    """A program that is a shell script."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def docker(folder: Path, *, version: str = "28.0.1", buildx: str = "v0.29.1", inspect: str = REMOTE) -> None:
    """A docker that says these; an empty `buildx` has no such plugin."""
    (folder / "inspect.txt").write_text(inspect)
    no_plugin = 'echo "docker: unknown command: docker buildx" >&2; echo "Run docker --help" >&2; exit 1'
    says = f"echo github.com/docker/buildx {buildx} abc" if buildx else no_plugin
    program(
        folder,
        "docker",
        f'case "$1 $2" in\n"--version ") echo "Docker version {version}, build abc";;\n'
        f'"buildx version") {says};;\n"buildx inspect") {f"cat {folder}/inspect.txt" if buildx else no_plugin};;\n'
        "*) exit 9;;\nesac",
    )


def cosign(folder: Path, version: str = "v3.1.1") -> None:
    """A cosign of that version."""
    program(folder, "cosign", f'echo \'{{"gitVersion": "{version}"}}\'')


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with git, and docker and cosign as they should be."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "cat"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    docker(folder)
    cosign(folder)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LocalRegistry]:
    """A registry with GHCR's manners, where `me` may push and nothing is public."""
    auth = Auth(users=(User("me", "s3cret"),))
    with LocalRegistry(tmp_path / "registry", manners=Manners.ghcr(), auth=auth) as registry:
        yield registry


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[LocalUpstream]:
    """An upstream with one release."""
    with LocalUpstream(tmp_path / "upstream") as upstream:
        upstream.repository("acme/hello").release("v1.2.0", {"Dockerfile": "FROM scratch\n"})
        yield upstream


@pytest.fixture
def desired(tmp_path: Path, registry: LocalRegistry, upstream: LocalUpstream) -> Path:
    """A mirror of that upstream on that registry, signed with a key."""
    folder = tmp_path / "mirror" / "desired"
    folder.mkdir(parents=True)
    (folder / "cosign.pub").write_text(Key.generate().public_pem)
    (folder / "mirror.yaml").write_text(
        f"registry: {registry.host}\nnamespace: mirror\nsource: https://github.com/me/mirror\nplain-http: true\n"
        "signing: {key: {public: cosign.pub, private: env://SIGNING_KEY}}\n"
    )
    (folder / "hello.yaml").write_text(
        'app: hello\nupstream: {github: acme/hello, tag: "v{version}"}\nimages:\n  hello:\n'
        f"    source: {{git: {upstream.git_url('acme/hello')}}}\n"
    )
    return folder


Consult = Callable[..., list[Finding]]


@pytest.fixture
def consult(tmp_path: Path, programs: Path, desired: Path, upstream: LocalUpstream) -> Consult:
    """Asks the doctor, with all as it should be but what is given."""

    def ask(*, env: Mapping[str, str] | None = None, where: Path = desired, **options: str) -> list[Finding]:
        whole = {
            "PATH": str(programs),
            "HOME": str(tmp_path / "home"),
            "SIGNING_KEY": "a secret key",
            "RECONCILE_REGISTRY_USERNAME": "me",
            "RECONCILE_REGISTRY_PASSWORD": "s3cret",
            **upstream.env,
            **(env or {}),
        }
        printed = answer(where, whole, **options)
        assert "s3cret" not in printed.text
        assert "a secret key" not in printed.text
        content = json.loads(printed.text)
        found = [Finding(Level(f["level"]), f["what"], f["detail"], f["todo"]) for f in content["findings"]]
        failures = any(finding.level is Level.FAIL for finding in found)
        assert content["ok"] is not failures
        assert printed.status == (1 if failures else 0)
        return found

    return ask


def answer(where: Path, env: Mapping[str, str], *, format: str = "json", **options: str) -> Printed:  # noqa: A002
    """What the doctor prints."""
    settings = Settings(where, where.parent / "state", lambda _: None, env, allow_private=True)
    return doctor.run(settings, format=format, **options)  # type: ignore[arg-type]


def about(found: list[Finding], what: str) -> Finding:
    """The only finding about something."""
    (finding,) = (one for one in found if one.what == what)
    return finding


def bad(found: list[Finding]) -> list[str]:
    """What isn't ok."""
    return [finding.what for finding in found if finding.level is not Level.OK]


def test_all_is_well(consult: Consult, registry: LocalRegistry) -> None:
    """Programs, builder, platforms, signer, files, registry, upstream: each is named once, and nothing is written."""
    before = registry.store.snapshot()
    found = consult()
    assert bad(found) == []
    assert [finding.what for finding in found] == [
        "python",
        "git",
        "docker",
        "buildx",
        "builder",
        "linux/amd64",
        "linux/arm64",
        "cosign",
        "signer",
        "trust",
        "desired",
        "records",
        "credentials",
        "push",
        "pull",
        "upstream hello",
    ]
    assert "1.2.0" in about(found, "upstream hello").detail
    assert about(found, "credentials").detail.endswith("from RECONCILE_REGISTRY_PASSWORD")
    assert registry.store.snapshot() == before
    assert registry.requests.count(method="PUT") == 0


@pytest.mark.parametrize(
    ("name", "said", "what"),
    [
        ("docker", {"version": "20.10.5"}, "20.10.5 is older than 23.0"),
        ("buildx", {"buildx": "v0.9.1"}, "0.9.1 is older than 0.12"),
        ("buildx", {"buildx": ""}, "unknown command: docker buildx"),
        ("builder", {"inspect": "Name: default\nDriver: docker\n"}, "can't push by digest"),
        ("builder", {"inspect": "Name: x\nDriver: docker-container\nStatus: inactive\n"}, "isn't started"),
        ("builder", {"inspect": "Name: x\nDriver: remote\nError: connection refused\n"}, "connection refused"),
    ],
)
def test_what_docker_lacks(consult: Consult, programs: Path, name: str, said: dict[str, str], what: str) -> None:
    """Too old, not there, or a builder that can't do it: said with what to do."""
    docker(programs, **said)
    finding = about(consult(), name)
    assert finding.level is not Level.OK
    assert what in finding.detail
    assert finding.todo


def test_a_platform_that_the_builder_lacks(consult: Consult, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a node nor an emulator: how to get one is said."""
    monkeypatch.setattr("reconciler.commands.doctor.machine.emulated", lambda _: False)
    docker(programs, inspect=REMOTE.replace(", linux/arm64", ""))
    finding = about(consult(), "linux/arm64")
    assert finding.level is Level.FAIL
    assert "binfmt --install arm64" in finding.todo


def test_programs_that_are_not_there(consult: Consult, programs: Path) -> None:
    """Each is a finding of its own; the rest is looked at all the same."""
    for name in ("docker", "cosign", "git"):
        (programs / name).unlink()
    found = consult()
    for name in ("docker", "buildx", "builder", "cosign", "git"):
        assert about(found, name).level is Level.FAIL
    assert about(found, "push").level is Level.OK


def test_an_old_cosign(consult: Consult, programs: Path) -> None:
    """It takes 3.1."""
    cosign(programs, "v2.5.0")
    assert "v2.5.0" in about(consult(), "cosign").detail


def test_no_signer(consult: Consult) -> None:
    """The key's variable isn't set."""
    finding = about(consult(env={"SIGNING_KEY": ""}), "signer")
    assert (finding.level, finding.todo) == (Level.FAIL, "env://SIGNING_KEY isn't set")


def test_no_credentials(consult: Consult) -> None:
    """Reading works without; that nothing can be pushed is a failure, and a login is named."""
    found = consult(env={"RECONCILE_REGISTRY_PASSWORD": ""})
    assert about(found, "credentials").level is Level.WARN
    push = about(found, "push")
    assert push.level is Level.FAIL
    assert "docker login" in push.todo
    assert about(found, "pull").level is Level.WARN


def test_a_private_package_is_told_from_a_public_one(consult: Consult, registry: LocalRegistry) -> None:
    """We can read it and others can't: it says so; once it's public, all is well."""
    platform = Platform.parse("linux/amd64")
    images.built(registry.store, "mirror/hello", [platform], tag="latest")
    finding = about(consult(), "pull")
    assert finding.level is Level.WARN
    assert "nobody can pull it without credentials" in finding.detail
    assert "public" in finding.todo
    registry.access.public.add("mirror/*")
    assert about(consult(), "pull").detail == "hello: anyone can pull it"


def test_an_upstream_that_fails_is_that_app_s_finding(consult: Consult, desired: Path) -> None:
    """Another app's upstream is fine."""
    text = (desired / "hello.yaml").read_text()
    (desired / "other.yaml").write_text(text.replace("hello", "other").replace("acme/other", "acme/gone", 1))
    found = consult()
    assert about(found, "upstream other").level is Level.FAIL
    assert about(found, "upstream hello").level is Level.OK
    assert "hello, other: may be pushed to" in about(found, "push").detail


def test_every_mistake_in_desired_files(consult: Consult, desired: Path) -> None:
    """With file, line and column; the machine is looked at all the same."""
    (desired / "hello.yaml").write_text("app: hello\nupsteam: {}\nimages: {hello: {}}\n")
    found = consult()
    mistakes = [finding for finding in found if finding.what == "desired"]
    assert any("hello.yaml:2:1" in finding.detail for finding in mistakes)
    assert len(mistakes) >= 2
    assert about(found, "cosign").level is Level.OK


def test_without_a_desired_folder(consult: Consult, tmp_path: Path) -> None:
    """This machine alone is looked at, for the usual platforms; that is no failure."""
    found = consult(where=tmp_path / "nowhere")
    assert bad(found) == ["desired"]
    assert about(found, "linux/arm64").level is Level.OK


def test_a_broken_record(consult: Consult, desired: Path) -> None:
    """It names the file and what to do."""
    (desired.parent / "state").mkdir()
    (desired.parent / "state" / "hello.json").write_text("{")
    finding = about(consult(), "records")
    assert finding.level is Level.FAIL
    assert "hello.json" in finding.detail


def test_an_app_that_there_isnt_is_a_usage_error(desired: Path) -> None:
    """A mistyped name is told as such."""
    settings = Settings(desired, desired.parent, lambda _: None, {}, apps=("helo",), allow_private=True)
    with pytest.raises(UsageError, match="helo"):
        doctor.run(settings)


def test_a_job_without_permissions(consult: Consult) -> None:
    """On GitHub Actions: no id-token and no GITHUB_TOKEN; and both."""
    found = [finding for finding in consult(env={"GITHUB_ACTIONS": "true"}) if finding.what == "job"]
    assert [finding.level for finding in found] == [Level.FAIL, Level.WARN]
    assert "id-token: write" in found[0].todo
    token = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    whole = {"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": "local-token", **token}
    assert about(consult(env=whole), "job").level is Level.OK


@pytest.mark.parametrize(("days", "level"), [(3, Level.OK), (49, Level.OK), (51, Level.WARN), (400, Level.WARN)])
def test_schedules_that_github_is_about_to_stop(consult: Consult, desired: Path, days: int, level: Level) -> None:
    """The last commit is too old, and a workflow runs on a schedule."""
    commit(desired.parent, int(time.time()) - days * DAY - 60)
    workflows = desired.parent / ".github" / "workflows"
    assert all(finding.what != "schedules" for finding in consult())
    workflows.mkdir(parents=True)
    (workflows / "apply.yml").write_text("on:\n  schedule:\n    - cron: 17 */6 * * *\n")
    finding = about(consult(), "schedules")
    assert finding.level is level
    assert f"{days} days" in finding.detail


def commit(folder: Path, at: int) -> None:
    """A repository with one commit of that time."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "GIT_COMMITTER_DATE": f"{at} +0000",
    }
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(folder), *words], env=env, check=True)


def test_text_is_aligned_and_ends_in_a_verdict(
    desired: Path, programs: Path, upstream: LocalUpstream, tmp_path: Path
) -> None:
    """One line per finding, what to do below it."""
    env = {"PATH": str(programs), "HOME": str(tmp_path), **upstream.env}
    lines = answer(desired, env, format="text").text.splitlines()
    assert lines[0].startswith("ok    python ")
    at = lines[0].index("3.")
    assert [line for line in lines[:-2] if line[at - 2 : at] not in ("  ", "->")] == []
    assert next(line for line in lines if line.startswith("fail  signer")).strip()
    assert lines[-1].endswith("well.")


async def test_a_check_that_breaks_is_a_finding() -> None:
    """Whatever it raises; and the others' findings are there, in order."""

    async def breaks() -> list[Finding]:
        raise KeyError("surprise")

    async def works() -> list[Finding]:
        return [ok("this", "fine")]

    found = await run_all([Check("that", breaks), Check("this", works)])
    assert [(finding.level, finding.what) for finding in found] == [(Level.FAIL, "that"), (Level.OK, "this")]
    assert "surprise" in found[0].detail
