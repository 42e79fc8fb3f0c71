"""What a first desired file is made of: addresses, spellings, Dockerfiles, text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.draft import address
from reconciler.draft.sketch import About, Seen, scalar, sketch
from reconciler.draft.spelling import spellings
from reconciler.draft.tree import find
from reconciler.errors import UsageError
from reconciler.model.upstream import GitHubReleases

DATA = Path(__file__).parents[1] / "data"
PIN = "@sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("https://github.com/outline/outline", "github outline/outline"),
        ("https://github.com/outline/outline.git", "github outline/outline"),
        ("https://github.com/outline/outline/releases/tag/v1.9.2", "github outline/outline"),
        ("github.com/outline/outline", "github outline/outline"),
        ("outline/outline", "github outline/outline"),
        (
            "https://framagit.org/framasoft/framateam/mostlymatter",
            "https://framagit.org/framasoft/framateam/mostlymatter",
        ),
        ("https://gitlab.com/a/b/-/tags", "https://gitlab.com/a/b"),
        ("codeberg.org/a/b", "https://codeberg.org/a/b"),
        ("https://git.example.org/a/b.git", "https://git.example.org/a/b.git"),
        ("ghcr.io/a/b:1.2.3", "image ghcr.io/a/b"),
        (f"localhost:5000/a/b{PIN}", "image localhost:5000/a/b"),
        ("docker://docker.io/a/b", "image docker.io/a/b"),
        ("https://hub.docker.com/r/a/b/tags", "image docker.io/a/b"),
        ("https://hub.docker.com/_/redis", "image docker.io/library/redis"),
    ],
)
def test_what_people_copy_names_something(text: str, named: str) -> None:
    """From a browser's address bar, a clone command, a docker pull."""
    assert str(address.read(text)) == named


@pytest.mark.parametrize(
    "text", ["", "http://github.com/a/b", "ftp://x/y", "a b", "https://", "https://u:p@x.org/y", "ghcr.io/A", "é"]
)
def test_what_names_nothing_is_a_usage_error(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(UsageError, match=r".") as caught:
        address.read(text)
    assert "https://github.com/owner/name" in caught.value.todo


def test_the_spelling_of_most_versions_comes_first() -> None:
    """Outline's real tags: pre-releases with a plain number after a hyphen are no spelling of their own."""
    tags = [line.split()[0] for line in (DATA / "outline-tags.txt").read_text(encoding="utf-8").splitlines()]
    found = spellings(tags)
    assert [str(one.pattern) for one in found] == ["v{version}", "{version}"]
    assert str(found[0].versions[0]) == "1.9.2"


def test_a_fork_spells_its_own_releases_beside_those_it_was_forked_from() -> None:
    """All are told; pre-releases of every usual kind are none."""
    tags = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.1.0-limitless", "v1.2.0-limitless", "app@2.0.0", "latest", "v1.3.0-rc1"]
    tags += ["v1.4.0beta2", "v1.4.0.dev1", "v1.5.0-alpha", "v1.6.0-0", "release", "x/../y1.0", "-1.0"]
    assert [(str(one.pattern), len(one.versions)) for one in spellings(tags)] == [
        ("v{version}", 3),
        ("v{version}-limitless", 2),
    ]
    assert [str(one.pattern) for one in spellings(["app@2.0.0", "latest"])] == ["app@{version}"]
    assert [str(one.pattern) for one in spellings(["r1", "r2", "r3"])] == ["r{version}"]


@given(st.lists(st.text(max_size=40)))
def test_no_tag_breaks_it(tags: list[str]) -> None:
    """Whatever upstream calls its tags, each pattern that is given is one that finds its versions again."""
    for one in spellings(tags):
        assert all(one.pattern.version(one.pattern.tag(version)) == version for version in one.versions)


def write(top: Path, **files: str) -> None:
    """A tree; `__` in a name stands for a folder."""
    for name, text in files.items():
        path = top / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_finds_the_dockerfile_that_makes_the_application(tmp_path: Path) -> None:
    """High up, plainly named, not for tests; and the folder that holds what it copies."""
    assert find(tmp_path) is None
    write(tmp_path, test__Dockerfile="FROM x\n", node_modules__a__Dockerfile="FROM y\n")
    dockerfile = f'FROM debian{PIN} AS b\nARG URL="https://x/1.0-amd64"\nCOPY --from=b /x /y\nCOPY passwd entry.sh /\n'
    write(tmp_path, server__build__Dockerfile=dockerfile, server__build__passwd="", **{"server__build__entry.sh": ""})
    found = find(tmp_path)
    assert found is not None
    assert (found.path, found.context, found.pinned) == ("server/build/Dockerfile", "server/build", True)
    assert found.arguments == (("URL", "https://x/1.0-amd64"),)
    assert found.others == ("test/Dockerfile",)
    write(tmp_path, passwd="", src__x="", **{"entry.sh": "", "build.Dockerfile": "FROM base\n"})
    write(tmp_path, server__build__Dockerfile=dockerfile + "COPY src/x /\n")
    found = find(tmp_path)
    assert found is not None
    assert found.path == "build.Dockerfile"
    (tmp_path / "build.Dockerfile").unlink()
    found = find(tmp_path)
    assert found is not None
    assert (found.path, found.context) == ("server/build/Dockerfile", ".")


def test_a_dockerfile_that_leads_out_is_no_dockerfile(tmp_path: Path) -> None:
    """A symlink to a file of this machine is neither read nor named."""
    write(tmp_path, secret="FROM secret\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/Dockerfile").symlink_to(tmp_path / "secret")
    assert find(tmp_path / "tree") is None


def yaml(text: str) -> Any:
    """As the product's YAML library reads it."""
    return YAML(typ="safe", pure=True).load(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=60))
def test_a_scalar_reads_back_as_it_was(text: str) -> None:
    """Quotes, colons, hashes, braces, words that YAML takes for something else."""
    assert yaml(f"- {scalar(text)}\n") == [text]


@pytest.mark.parametrize(
    "text", ["yes", "null", "1.10", "- a", "a: b", "a #b", "{a}", "'", '"', "@x", "`x`", "%", "~", ""]
)
def test_what_yaml_would_read_otherwise_is_quoted(text: str) -> None:
    """So that it stays text."""
    assert yaml(f"a: {scalar(text)}\n") == {"a": text}


def test_a_comment_stays_a_comment() -> None:
    """What upstream says can't end a line."""
    about = About("x\ny", 'd: "#', "MIT", "https://example.org")
    seen = Seen(
        "app", "https://x\nevil: true", GitHubReleases("a/b"), spellings(["v1.0.0", "evil\u2028: 1.0.0"]), about
    )
    text = sketch(seen)
    assert set(yaml(text)) == {"app", "title", "description", "licenses", "url", "upstream", "images"}
    assert json.loads(scalar("x\ny")) == "x\ny"
