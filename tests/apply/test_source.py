"""Contexts: fetched once, edited in a copy, never reaching out of the source."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.apply.source import Sources
from reconciler.desired.files import folder_digest
from reconciler.errors import BuildError, UpstreamError
from reconciler.model.recipe import Edit, FolderSource, GitSource, Recipe

GIT = GitSource("https://git.example/x.git", "v1", "c" * 40)
RECIPE = Recipe(GIT)


class Upstream:
    """Puts a small tree wherever it is asked to."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def __call__(self, source: GitSource, target: Path) -> int:
        """A Dockerfile, a file, a program, and a link to the outside."""
        self.fetched.append(source.commit)
        await asyncio.sleep(0)
        if source.ref == "gone":
            raise UpstreamError("it isn't there", where=source.url)
        (target / "server").mkdir(parents=True)
        (target / "Dockerfile").write_text("FROM a@sha256:" + "0" * 64 + "\nRUN x\n", encoding="utf-8")
        (target / "server" / "run.sh").write_text("#!/bin/sh\nold\n", encoding="utf-8")
        (target / "server" / "run.sh").chmod(0o755)
        (target / "out").symlink_to("/etc")
        (target / "Outfile").symlink_to("/etc/passwd")
        (target / "binary").write_bytes(b"\xff\xfe")
        return 1_700_000_000


@pytest.fixture
async def sources(tmp_path: Path) -> AsyncIterator[tuple[Sources, Upstream]]:
    """On an upstream, with a desired folder beside."""
    (tmp_path / "desired" / "app").mkdir(parents=True)
    (tmp_path / "desired" / "app" / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (tmp_path / "scratch").mkdir()
    numbers = itertools.count()
    upstream = Upstream()
    sources = Sources(upstream, tmp_path / "desired", lambda name: tmp_path / "scratch" / f"{next(numbers)}-{name}")
    yield sources, upstream
    await sources.close()


def read(path: Path) -> str:
    """A file's text."""
    return path.read_text(encoding="utf-8")


async def test_fetched_once_whoever_asks(sources: tuple[Sources, Upstream]) -> None:
    """Platforms and images that share a commit share its checkout."""
    room, upstream = sources
    edited = replace(RECIPE, edits=(Edit("server/run.sh", "old", "new"),))
    plain, other, *_ = await asyncio.gather(*(room.prepare(r, "x") for r in (RECIPE, edited, RECIPE, edited)))
    assert upstream.fetched == [GIT.commit]
    assert plain.epoch == other.epoch == 1_700_000_000
    assert read(plain.folder / "server" / "run.sh").endswith("old\n")
    assert read(other.folder / "server" / "run.sh").endswith("new\n")
    # a program stays one, and what isn't edited is the same file
    assert os.access(other.folder / "server" / "run.sh", os.X_OK)
    assert (other.folder / "Dockerfile").samefile(plain.folder / "Dockerfile")


async def test_unpinned_and_our_own_dockerfile(sources: tuple[Sources, Upstream]) -> None:
    """The pin goes in the copy alone; a Dockerfile of ours stands outside the context."""
    room, _ = sources
    unpinned = await room.prepare(replace(RECIPE, unpin=True), "x")
    assert read(unpinned.dockerfile) == "FROM a\nRUN x\n"
    assert "@sha256" in read((await room.prepare(RECIPE, "x")).dockerfile)
    own = await room.prepare(replace(RECIPE, own_dockerfile="FROM b\n", context="server"), "x")
    assert read(own.dockerfile) == "FROM b\n"
    assert own.folder.name == "server"
    assert own.folder not in own.dockerfile.parents


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        (replace(RECIPE, context="out"), "leads out"),
        (replace(RECIPE, context="../.."), "leads out"),
        (replace(RECIPE, context="none"), "isn't there"),
        (replace(RECIPE, context="Dockerfile"), "is no folder"),
        (replace(RECIPE, dockerfile="Outfile"), "leads out"),
        (replace(RECIPE, dockerfile="server"), "is no file"),
        (replace(RECIPE, edits=(Edit("Outfile", "root", "me"),)), "leads out"),
        (replace(RECIPE, edits=(Edit("binary", "a", "b"),)), "isn't UTF-8"),
        (replace(RECIPE, edits=(Edit("Dockerfile", "nowhere to be found", "b"),)), "matches 0 times"),
    ],
)
async def test_what_cant_be_built_is_said(sources: tuple[Sources, Upstream], recipe: Recipe, what: str) -> None:
    """Nothing outside of the source is read or written, whatever a recipe or a link says."""
    with pytest.raises(BuildError, match=what) as caught:
        await sources[0].prepare(recipe, "app:1.0")
    assert caught.value.where == "app:1.0"


async def test_a_source_that_cant_be_fetched(sources: tuple[Sources, Upstream]) -> None:
    """Upstream's error is passed on as it is, to everybody who needs it."""
    recipe = replace(RECIPE, source=replace(GIT, ref="gone"))
    results = await asyncio.gather(*(sources[0].prepare(recipe, "x") for _ in range(2)), return_exceptions=True)
    assert all(isinstance(result, UpstreamError) for result in results)


async def test_a_folder_beside_the_desired_file(sources: tuple[Sources, Upstream], tmp_path: Path) -> None:
    """It is copied, and must be what it was when the plan was made."""
    digest = folder_digest(tmp_path / "desired", "app")
    context = await sources[0].prepare(Recipe(FolderSource("app", digest)), "x")
    assert read(context.dockerfile) == "FROM scratch\n"
    assert context.epoch is None
    assert not context.folder.is_relative_to(tmp_path / "desired")
    for source, what in ((FolderSource("app", "sha256:0"), "changed since the plan"), (FolderSource("no", ""), "used")):
        with pytest.raises(BuildError, match=what):
            await sources[0].prepare(Recipe(source), "x")


async def test_who_stops_waiting_leaves_it_to_the_others(sources: tuple[Sources, Upstream]) -> None:
    """A change that is cancelled doesn't take the checkout from another."""
    room, upstream = sources
    one, two = (asyncio.create_task(room.prepare(RECIPE, "x")) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert (await two).folder.is_dir()
    assert len(upstream.fetched) == 1
