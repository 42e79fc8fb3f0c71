"""`reconcile add`: a first desired file that loads, whatever upstream calls itself; nothing is overwritten."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from reconciler import cli
from reconciler.desired.loader import load
from reconciler.local.upstream import Reply
from tests.support.images import built
from tests.support.mirrors import LocalMirror, mirror
from tests.support.nouns import AMD64, ARM64, ARMV7

PIN = "@sha256:" + "a" * 64
DOCKERFILE = f"""\
FROM debian:12{PIN} AS builder
ARG PACKAGE="https://releases.example.org/1.2.0/app-1.2.0-linux-amd64.tar.gz"
RUN curl $PACKAGE | tar -x
FROM acme/base
COPY --from=builder /app /app
COPY passwd /etc/passwd
"""


RELEASES = {"0.9.0": "2024-01-11", "1.0.0": "2024-02-11", "1.1.0": "2024-03-11", "1.2.0": "2024-04-11"}


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror, and an upstream that isn't in it yet."""
    with mirror(tmp_path) as made:
        files = {"server/build/Dockerfile": DOCKERFILE, "server/build/passwd": "", "e2e/Dockerfile": "FROM x\n"}
        repository = made.upstream.repository("acme/App_One")
        for version, date in RELEASES.items():
            repository.release(f"v{version}", files, date=f"{date}T00:00:00Z")
        repository.release("v1.3.0-rc1", prerelease=True)
        repository.release("2.0.0", published=False)
        yield made


def add(m: LocalMirror, *words: str, terminal: str | None = None) -> tuple[int, str, str]:
    """Runs it; `terminal` is what a person there types, None where there is none."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.StringIO(terminal or "")
    env = {"HOME": str(m.folder), "PATH": os.environ["PATH"], **m.upstream.env}
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "stdin", stdin),
        mock.patch.object(stdin, "isatty", return_value=terminal is not None),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = cli.main(["add", "--desired", str(m.desired), "--allow-private", *words])
    return status, out.getvalue(), err.getvalue()


def test_writes_what_can_be_seen_and_says_what_to_check(m: LocalMirror) -> None:
    """Source, tags, versions, Dockerfile, context and pins; the whole file, as a person gets it."""
    about = {
        "name": "App One",
        "description": "Does things",
        "license": {"spdx_id": "MIT"},
        "homepage": "https://app.example.org",
    }
    m.upstream.fail(r"GET /api/v3/repos/acme/App_One$", Reply.of(200, about))
    status, out, err = add(m, f"{m.upstream.url}/acme/App_One")
    assert (status, err) == (0, "")
    assert out == (
        f"Wrote {m.desired}/app_one.yaml: look at what its comments say.\n"
        "How a release would be built: reconcile explain app_one\n"
    )
    assert (
        (m.desired / "app_one.yaml").read_text()
        == f"""\
# Written by `reconcile add {m.upstream.url}/acme/App_One`: check what comments say, then remove them.
app: app_one
title: App One
description: Does things
licenses: MIT # check: an SPDX expression for what is in the image
url: "https://app.example.org"

upstream:
  github: acme/App_One
  tag: "v{{version}}" # 4 versions, up to 1.2.0
  versions: ">=0.9.0" # check: what is lower is never mirrored

# Without these the defaults in mirror.yaml hold:
# window: 10
# platforms: [linux/amd64, linux/arm64]
# pointers: [latest, major]

images:
  app_one:
    context: server/build
    dockerfile: server/build/Dockerfile
    # check: there are others: e2e/Dockerfile
    unpin: true # a digest after FROM is often that of one platform; check, and remove it where it isn't
    # check: it is built on debian:12{PIN}: for every platform?
    # check: it is built on acme/base: for every platform?
    # what isn't is built before, as an image of its own, and takes its place: bases: {{name/in-from: image}}
    # check: args: {{PACKAGE: …}} with {{version}} and {{arch}}, as it is now: https://releases.example.org/1.2.0/app-1.2.0-linux-amd64.tar.gz
    # what it downloads must be there before, and stay the same: requires: [URL], checksums: [{{url: URL}}]
    # check: a command that shows that the program runs, on every platform:
    # smoke:
    #   command: [/path/to/program, --version]
    #   output: "{{version}}"
"""
    )
    app = load(m.desired, allow_local=True).app("app_one")
    assert (app.upstream.github, str(app.upstream.tag)) == ("acme/App_One", "v{version}")
    clone = str(m.upstream.root / "acme/App_One.git")
    status, out, err = m.run("explain", "app_one:1.2.0", "--from", clone)
    assert status == 0, out + err
    assert "+ FROM debian:12 AS builder" in out


def test_overwrites_nothing_and_asks_nothing_of_anybody_then(m: LocalMirror) -> None:
    """Neither a file nor what a symlink names."""
    (m.desired / "app_one.yaml").symlink_to("/nonexistent")
    status, out, err = add(m, "acme/App_One")
    assert (status, out) == (64, "")
    assert "app_one.yaml: it is there already, and nothing is overwritten" in err
    assert m.upstream.requests == []
    (m.desired / "app_one.yaml").unlink()
    assert add(m, "acme/App_One", "--name", "other")[0] == 0
    assert "  other:\n" in (m.desired / "other.yaml").read_text()


def test_asks_a_person_and_nobody_else(m: LocalMirror) -> None:
    """At a terminal the file is shown first, and only a yes writes it; --yes asks nothing there."""
    for typed in ("n\n", "", "what?\n"):
        status, out, err = add(m, "acme/App_One", terminal=typed)
        assert (status, out) == (0, "Nothing was written.\n")
        assert 'tag: "v{version}"' in err
        assert err.endswith(f"Write {m.desired}/app_one.yaml? [y/N]\n")
        assert not (m.desired / "app_one.yaml").exists()
    status, out, err = add(m, "acme/App_One", "--yes", terminal="n\n")
    assert (status, err) == (0, "")
    assert (m.desired / "app_one.yaml").exists()
    assert add(m, "acme/App_One", "--name", "two", terminal="y\n")[0] == 0
    assert (m.desired / "two.yaml").exists()


def test_a_gitlab_is_known_by_its_api(m: LocalMirror) -> None:
    """Any host may be one; others are plain git."""
    m.upstream.repository("group/sub/tool").release("v1.0.0", {"Dockerfile": "FROM scratch\n"})
    elsewhere = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_API_URL": "https://api.github.example"}
    with mock.patch.object(type(m.upstream), "env", elsewhere):
        status, _, err = add(m, f"{m.upstream.url}/group/sub/tool")
        assert status == 0, err
        assert f'gitlab: "{m.upstream.host}/group/sub/tool"' in (m.desired / "tool.yaml").read_text()
        m.upstream.fail("GET /api/v4/", Reply(404), times=100)
        assert add(m, f"{m.upstream.url}/group/sub/tool.git", "--name", "plain")[0] == 0
    assert f'git: "{m.upstream.url}/group/sub/tool.git"' in (m.desired / "plain.yaml").read_text()


def test_an_image_becomes_a_dockerfile_that_takes_it(m: LocalMirror) -> None:
    """With the platforms that it has; its folder is part of what must be free."""
    for version in ("1.0.0", "1.1.0"):
        built(m.registry.store, "acme/tool", [AMD64, ARM64, ARMV7], text=version, tag=f"v{version}")
    status, _, err = add(m, f"{m.registry.host}/acme/tool:v1.0.0")
    assert (status, err) == (0, "")
    text = (m.desired / "tool.yaml").read_text()
    assert f"# check: upstream publishes {m.registry.host}/acme/tool:v1.1.0 itself, for linux/amd64, linux/arm" in text
    assert "# platforms: [linux/amd64, linux/arm/v7, linux/arm64]" in text
    assert (
        m.desired / "tool/Dockerfile"
    ).read_text() == f"ARG VERSION\nFROM {m.registry.host}/acme/tool:v${{VERSION}}\n"
    (m.desired / "tool.yaml").unlink()
    assert add(m, f"{m.registry.host}/acme/tool")[0] == 64
    assert load(m.desired, allow_local=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: b\nevil: true",
        "]}{[",
        "x # y",
        "\u202e\u200b\x1b[31m",
        "'\"\\",
        "- &a *a",
        "日本語 🎉",
        "!!python/x",
        "{version}",
        "%YAML 9",
    ],
)
def test_hostile_words_load_as_they_are_or_not_at_all(m: LocalMirror, text: str) -> None:
    """What upstream says of itself changes no other field."""
    about = {"name": text, "description": text, "license": {"spdx_id": text}, "homepage": f"https://x/{text}"}
    m.upstream.fail(r"GET /api/v3/repos/acme/App_One$", Reply.of(200, about))
    status, _, err = add(m, "acme/App_One")
    assert status == 0, err
    app = load(m.desired, allow_local=True).app("app_one")
    assert list(app.images) == ["app_one"]
    assert app.licenses is None


def test_nothing_is_written_beside_a_desired_state_with_mistakes(m: LocalMirror) -> None:
    """All of them are said as plan says them."""
    (m.desired / "broken.yaml").write_text("app: other\n")
    status, out, err = add(m, "acme/App_One")
    assert (status, out) == (1, "")
    assert f"{m.desired.as_posix()}/broken.yaml:1:1" in err
    assert not (m.desired / "app_one.yaml").exists()


def test_what_has_no_releases_is_said(m: LocalMirror) -> None:
    """No repository, no tags that name versions, no name for a file."""
    m.upstream.repository("acme/empty").release("nightly", {"Dockerfile": "FROM scratch\n"})
    for words, said in (
        (["acme/empty"], "none of its tags names a version"),
        (["acme/nowhere"], "isn't there or isn't public"),
        (["acme/App_One", "--name", "mirror"], "can't be the name of an app"),
        (["http://example.org/x"], "isn't https"),
    ):
        status, out, err = add(m, *words)
        assert status in (1, 64)
        assert out == ""
        assert said in err
