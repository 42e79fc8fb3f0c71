"""`reconcile explain`: why a release counts, and how it would be built; nothing is built, nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.support.mirrors import LocalMirror, mirror

PIN = "@sha256:" + "a" * 64
DOCKERFILE = f"FROM debian:12{PIN} AS builder\nARG PACKAGE=x\nRUN curl $PACKAGE | tar -x\nFROM builder\n"


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror whose app has everything that a recipe can have."""
    with mirror(tmp_path) as made:
        repository = made.upstream.repository("acme/hello")
        for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
            files = {"build/Dockerfile": DOCKERFILE, "Dockerfile.base": "FROM scratch\n", "src/x": f"x {version}\n"}
            repository.release(f"v{version}", files, date=f"2024-01-1{version[2]}T00:00:00Z")
        repository.release("v1.4.0-rc1", date="2024-02-01T00:00:00Z")
        url = made.upstream.file("1.3.0-amd64", "x").replace("1.3.0-amd64", "{version}-{arch}")
        made.write(
            "hello",
            dedent(f"""\
            app: hello
            upstream: {{git: "{made.upstream.git_url("acme/hello")}", tag: "v{{version}}", exclude: ["1.2.0"]}}
            window: 1
            pointers: {{old: "<1.1"}}
            images:
              base: {{dockerfile: Dockerfile.base}}
              hello:
                context: build
                unpin: true
                edits:
                  - {{file: build/Dockerfile, find: "| tar -x", replace: "| tar -xz"}}
                  - {{file: src/x, regex: "^x (.*)$", replace: 'y \\1'}}
                bases: {{debian: base}}
                args: {{PACKAGE: "{url}"}}
                requires: ["{url}"]
                checksums: [{{url: "{url}"}}]
                smoke: {{command: [hello, --version], output: "{{version}}"}}
            """),
        )
        yield made


def explained(m: LocalMirror, *words: str) -> tuple[int, dict[str, Any]]:
    """The status, and what it says as JSON of the one app."""
    status, out, _ = m.run("explain", "--format", "json", *words)
    return status, json.loads(out)["apps"][0]


def test_says_why_each_release_is_in_or_out(m: LocalMirror) -> None:
    """The highest, what a range brings in, what is excluded, a pre-release, what is lower."""
    status, app = explained(m, "hello")
    assert status == 0
    assert [(r["version"], r["in_window"], r["reason"]) for r in app["releases"]] == [
        ("1.4.0-rc1", False, "1.4.0-rc1 is a pre-release"),
        ("1.3.0", True, "the highest"),
        ("1.2.0", False, "excluded by 1.2.0"),
        ("1.1.0", False, "lower than the highest"),
        ("1.0.0", True, "the highest of old (<1.1)"),
    ]
    held = f"hello: upstream isn't ready for linux/arm64: {m.upstream.url}/files/1.3.0-arm64 answers 404"
    assert app["releases"][1]["held"] == [held]
    _, out, _ = m.run("explain", "hello")
    assert f"       held back: {held}\n" in out
    assert out.endswith("How one is built: reconcile explain hello:1.3.0\n")


def test_shows_how_a_version_would_be_built(m: LocalMirror) -> None:
    """The Dockerfile as buildx gets it, what it is built on, and every command, by the code that apply runs."""
    status, app = explained(m, "hello:1.3.0")
    assert status == 0
    base, hello = app["images"]
    assert [base["image"], base["rendered"]] == ["base", "FROM scratch\n"]
    assert hello["rendered"] == DOCKERFILE.replace(PIN, "").replace("tar -x", "tar -xz")
    assert hello["edited"] == ["build/Dockerfile", "src/x"]
    assert hello["built_on"] == [{"name": "debian:12", "written": "debian:12", "ours": base["target"]}]
    assert hello["source"]["commit"] == m.commit("1.3.0")
    assert [asked["lacks"] for asked in hello["requires"]] == ["", f"{m.upstream.url}/files/1.3.0-arm64 answers 404"]
    amd64, arm64, *proofs = hello["commands"]
    assert amd64["env"] == {"SOURCE_DATE_EPOCH": "1705104000"}
    assert amd64["argv"][:3] == ["docker", "buildx", "build"]
    assert f"--build-arg=PACKAGE={m.upstream.url}/files/1.3.0-arm64" in arm64["argv"]
    named = base["target"].rpartition(":")[0]
    assert f"--build-context=debian=docker-image://{named}@<digest of base:1.3.0>" in amd64["argv"]
    assert amd64["argv"][-3:] == ["--progress=plain", "--", "source/build"]
    assert [command["what"] for command in proofs] == [
        "sign the image for linux/amd64",
        "sign the image for linux/arm64",
        "sign the index",
        "attest mirror",
        *(f"attest {kind} for linux/{arch}" for arch in ("amd64", "arm64") for kind in ("sbom", "provenance")),
    ]
    assert all(command["argv"][0] == "cosign" for command in proofs)
    _, out, _ = m.run("explain", "hello:1.3.0")
    for line in (
        f"    - FROM debian:12{PIN} AS builder\n    + FROM debian:12 AS builder\n",
        "  src/x, what the recipe changes:\n    @@ -1 +1 @@\n    -x 1.3.0\n    +y 1.3.0\n",
        f"  download    {m.upstream.url}/files/1.3.0-arm64: is recorded when it is first built from\n",
    ):
        assert line in out


def test_asks_no_registry_and_writes_nothing(m: LocalMirror) -> None:
    """It only looks at the upstream."""
    before = sorted(m.folder.rglob("*"))
    m.run("explain", "hello", "hello:1.3.0", env={"RECONCILE_CACHE": "/nonexistent"})
    assert not list(m.registry.requests)
    assert [path for path in sorted(m.folder.rglob("*")) if path not in before] == []


def test_takes_a_clone_in_the_place_of_the_upstream(m: LocalMirror) -> None:
    """With --from nothing is asked of any network, and the result is the same but for what only a network knows."""
    _, online = explained(m, "hello:1.0.0")
    asked = len(m.upstream.requests)
    status, offline = explained(m, "hello:1.0.0", "--from", str(m.upstream.root / "acme/hello.git"))
    assert status == 0
    assert len(m.upstream.requests) == asked
    for image in (*online["images"], *offline["images"]):
        image["requires"] = []
        # a git upstream tells no date over the network
        image["commands"] = image["recipe"] = None
    assert online["images"] == offline["images"]


def test_takes_a_folder_for_the_version_that_it_is_said_to_be(m: LocalMirror) -> None:
    """A folder has no releases of its own."""
    folder = m.folder / "checkout"
    (folder / "build").mkdir(parents=True)
    (folder / "src").mkdir()
    (folder / "build/Dockerfile").write_text(DOCKERFILE)
    (folder / "Dockerfile.base").write_text("FROM scratch\n")
    (folder / "src/x").write_text("x\n")
    status, _, err = m.run("explain", "hello", "--from", str(folder))
    assert status == 64
    assert "has no releases" in err
    status, app = explained(m, "hello:9.9.9", "--from", str(folder))
    assert status == 1
    assert "an edit of src/x must match once, and matches 0 times" in app["images"][1]["failed"]["what"]
    (folder / "src/x").write_text("x 9\n")
    status, app = explained(m, "hello:9.9.9", "--from", str(folder))
    assert (status, app["images"][1]["rendered"]) == (0, DOCKERFILE.replace(PIN, "").replace("tar -x", "tar -xz"))


def test_what_cant_be_built_is_said_with_status_1(m: LocalMirror) -> None:
    """An edit that doesn't match any more names file, line and release."""
    changed = DOCKERFILE.replace("| tar -x", "| tar xv")
    m.upstream.repository("acme/hello").release("v1.3.0", {"build/Dockerfile": changed, "Dockerfile.base": "FROM x\n"})
    status, out, _ = m.run("explain", "hello:1.3.0")
    assert status == 1
    assert "  ! hello:1.3.0: an edit of build/Dockerfile must match once, and matches 0 times" in out
    assert "nearest is build/Dockerfile:3, 'RUN curl $PACKAGE | tar xv'" in out


def test_what_there_isnt_is_a_usage_error(m: LocalMirror) -> None:
    """With what there is instead."""
    for words, said in (
        (["hello:7.0.0"], "upstream has no release 7.0.0, spelled v7.0.0"),
        (["hello:x"], "'x' is no version"),
        (["hallo"], "did you mean hello?"),
        (["hello:1.0.0", "--from", "/nonexistent"], "this is no folder"),
    ):
        status, out, err = m.run("explain", *words)
        assert (status, out) == (64, "")
        assert said in err


def test_hostile_text_stays_text(m: LocalMirror) -> None:
    """Neither a Dockerfile's terminal sequences nor a line for the runner get through."""
    hostile = DOCKERFILE + "# \x1b[31mred\u202e\n::set-output name=x::y\n"
    files = {"build/Dockerfile": hostile, "Dockerfile.base": "FROM scratch\n", "src/x": "x 1\n"}
    m.upstream.repository("acme/hello").release("v1.3.0", files)
    _, out, _ = m.run("explain", "hello:1.3.0")
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert not [line for line in out.splitlines() if line.strip().startswith("::")]
