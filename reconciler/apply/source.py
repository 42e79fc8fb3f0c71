"""The build context of a recipe: its source fetched once and shared, with the recipe's edits made in a copy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.apply import edits
from reconciler.apply.dockerfile import check_bases
from reconciler.desired.files import Unreadable, folder_digest, inside
from reconciler.errors import BuildError
from reconciler.model.recipe import FolderSource, GitSource, Recipe

K = TypeVar("K")
T = TypeVar("T")

MAX_EDITED = 4 * 1024 * 1024

# puts the files of a commit into a folder that isn't there yet; gives the time of the commit in seconds since 1970
Fetch = Callable[[GitSource, Path], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Context:
    """What buildx is given: the folder, the Dockerfile, and the commit's time (None for a folder source)."""

    folder: Path
    dockerfile: Path
    epoch: int | None


@dataclass(frozen=True, slots=True)
class _Tree:
    path: Path
    epoch: int | None


class Sources:
    """Prepares contexts, each source and each edited copy of it once per run.

    `fetch` checks out git sources; `desired` is the desired folder; `scratch` gives the path of a new folder.
    """

    def __init__(self, fetch: Fetch, desired: Path, scratch: Callable[[str], Path]) -> None:
        self._fetch = fetch
        self._desired = desired
        self._scratch = scratch
        self._fetched: dict[GitSource | FolderSource, asyncio.Task[_Tree]] = {}
        self._prepared: dict[object, asyncio.Task[Context]] = {}

    async def prepare(self, recipe: Recipe, where: str) -> Context:
        """The context of `recipe`; `where` names the release in errors.

        Raises BuildError where an edit doesn't match or a path leads out of the source, UpstreamError where it can't
        be fetched.
        """
        key = (
            recipe.source,
            recipe.context,
            recipe.dockerfile,
            recipe.own_dockerfile,
            recipe.unpin,
            recipe.edits,
            recipe.bases,
            recipe.args if recipe.bases else (),
        )
        return await _once(self._prepared, key, lambda: self._prepare(recipe, where))

    async def close(self) -> None:
        """Ends what is still being fetched; the files go with the run's folder."""
        tasks = [*self._fetched.values(), *self._prepared.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, recipe: Recipe, where: str) -> Context:
        source = recipe.source
        tree = await _once(self._fetched, source, lambda: self._source(source, where))
        try:
            return await asyncio.to_thread(self._edited, recipe, tree, where)
        except OSError as error:
            raise BuildError(
                f"the source can't be prepared: {error.strerror}", where=str(error.filename or where)
            ) from None

    async def _source(self, source: GitSource | FolderSource, where: str) -> _Tree:
        target = self._scratch("source")
        if isinstance(source, GitSource):
            return _Tree(target, await self._fetch(source, target))
        try:
            await asyncio.to_thread(shutil.copytree, inside(self._desired, source.path), target, symlinks=True)
            found = await asyncio.to_thread(folder_digest, target.parent, target.name)
        except (Unreadable, OSError, shutil.Error) as error:
            raise BuildError(f"the folder {source.path} can't be used: {error}", where=where) from None
        if found != source.digest:
            raise BuildError(
                f"the folder {source.path} changed since the plan was made", where=where, todo="make a new plan"
            )
        return _Tree(target, None)

    def _edited(self, recipe: Recipe, tree: _Tree, where: str) -> Context:
        top = tree.path
        changed = recipe.unpin or recipe.edits
        if changed:
            top = self._scratch("edited")
            # links to the same bytes: what is edited is written anew, the rest is shared
            shutil.copytree(tree.path, top, symlinks=True, copy_function=_link)
        dockerfile = self._dockerfile(recipe, top, where)
        texts: dict[Path, str] = {}
        for edit in recipe.edits:
            # our own Dockerfile may be edited by the name that it has in the recipe
            own = recipe.own_dockerfile and edit.file == recipe.dockerfile
            path = dockerfile if own else _file(top, edit.file, where)
            text = _read(path, where)
            _write(path, edits.apply(edit, text, where, texts.setdefault(path, text)))
        if recipe.unpin:
            _write(dockerfile, edits.unpin(_read(dockerfile, where)))
        if recipe.bases:
            check_bases(recipe, _read(dockerfile, where), where)
        folder = _resolved(top, recipe.context, where)
        if not folder.is_dir():
            raise BuildError(f"{recipe.context} is no folder in the source", where=where)
        return Context(folder, dockerfile, tree.epoch)

    def _dockerfile(self, recipe: Recipe, top: Path, where: str) -> Path:
        if not recipe.own_dockerfile:
            return _file(top, recipe.dockerfile, where)
        own = self._scratch("Dockerfile")
        own.write_text(recipe.own_dockerfile, encoding="utf-8")
        return own


async def _once(tasks: dict[K, asyncio.Task[T]], key: K, make: Callable[[], Awaitable[T]]) -> T:
    """What `make` gives for `key`, made once; a caller that is cancelled doesn't take it from the others."""
    if key not in tasks:
        tasks[key] = asyncio.ensure_future(_coroutine(make))
    return await asyncio.shield(tasks[key])


async def _coroutine(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        # another file system, or one without links
        shutil.copy2(source, target, follow_symlinks=False)


def _resolved(top: Path, path: str, where: str) -> Path:
    try:
        return inside(top, path)
    except Unreadable as error:
        raise BuildError(f"{path} in the source: {error.what}", where=where, todo=error.todo) from None


def _file(top: Path, path: str, where: str) -> Path:
    found = _resolved(top, path, where)
    if not found.is_file():
        raise BuildError(f"{path} is no file in the source", where=where, todo="check its name at that release's ref")
    return found


def _read(path: Path, where: str) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_EDITED + 1)
    if len(data) > MAX_EDITED:
        raise BuildError(f"{path.name} is larger than {MAX_EDITED} bytes, too large to edit", where=where)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BuildError(f"{path.name} isn't UTF-8, so it can't be edited", where=where) from None


def _write(path: Path, text: str) -> None:
    """Writes a file anew beside the shared one, keeping its mode."""
    mode = path.stat().st_mode & 0o777
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.write_bytes(text.encode())
    path.chmod(mode)
