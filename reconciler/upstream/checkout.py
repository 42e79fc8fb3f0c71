"""The source of a release: fetched shallow, pinned to a commit, and nothing but files when it is done.

No hooks, no filters, no credentials; `.git` never stands in the tree, so that no build can read or run it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reconciler.errors import BuildError, ToolError, UpstreamError
from reconciler.model.upstream import check_git_url, check_ref
from reconciler.upstream.git import Git, Redirected, classify, last_words
from reconciler.upstream.patience import persist
from reconciler.upstream.process import Ran

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_FETCH_SECONDS = 1200.0  # the sources of a large project over a slow line; a stalled one ends much earlier
_DEPTH = 4  # submodules in submodules
_REFUSED = re.compile(r"not our ref|unadvertised object|couldn't find remote ref|upload-pack: not our", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A tree on disk: where it is, its commit, and when that was committed (seconds since 1970)."""

    path: Path
    commit: str
    epoch: int


async def checkout(
    git: Git, url: str, commit: str, target: Path, *, ref: str = "", submodules: bool = False
) -> Checkout:
    """Puts the files of `commit` into `target`, which must not exist or be empty.

    `ref` is fetched where the server doesn't serve commits by their name, and must then still name `commit`.
    Raises BuildError where the tree can't be used (a symlink out of it, a ref that moved), UpstreamError where it
    can't be fetched, ToolError where git fails here.
    """
    if _COMMIT.fullmatch(commit) is None:
        raise BuildError(f"{commit[:80]!r} is no commit in full", where=url)
    try:
        target = _prepared(target, url)
        with tempfile.TemporaryDirectory(prefix=".git-", dir=target.parent) as folder:
            epoch = await _Tree(git, Path(folder), submodules).fill(url, commit, ref, target, 0)
        await asyncio.to_thread(check_links, target, url)
    except OSError as error:
        raise BuildError(f"the source can't be written: {error.strerror or error}", where=str(target)) from error
    return Checkout(target, commit, epoch)


@dataclass(frozen=True, slots=True)
class _Tree:
    git: Git
    folder: Path
    submodules: bool

    async def fill(self, url: str, commit: str, ref: str, target: Path, depth: int) -> int:
        """Fetches into a git directory of its own, checks out to `target`, and returns the commit's time."""
        git_dir = tempfile.mkdtemp(dir=self.folder)
        kind = "sha256" if len(commit) == 64 else "sha1"
        await self._here(git_dir, "init", "--quiet", "--bare", "--template=", f"--object-format={kind}")
        await self._fetch(url, commit, ref, git_dir)
        await self._here(
            git_dir, f"--work-tree={target}", "-c", "core.bare=false", "checkout", "--quiet", "--detach", commit
        )
        head = (await self._here(git_dir, "rev-parse", "HEAD")).out.decode().strip()
        if head != commit:
            raise BuildError(f"the checkout is at {head[:64]}, not at {commit}", where=url)
        epoch = int((await self._here(git_dir, "show", "--no-patch", "--format=%ct", commit)).out.split()[-1])
        if self.submodules:
            await self._modules(url, commit, git_dir, target, depth)
        shutil.rmtree(git_dir)
        return epoch

    async def _fetch(self, url: str, commit: str, ref: str, git_dir: str) -> None:
        """Fetches the commit alone; by `ref` where the server only serves what refs name."""
        ran = await self._from(url, commit, git_dir)
        if ran.status != 0 and ref and _REFUSED.search(ran.err):
            ran = await self._from(url, _checked_ref(ref, url), git_dir)
            found = await self._here(
                git_dir, "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}", fine=(0, 1, 128)
            )
            if ran.status == 0 and found.out.decode().strip() != commit:
                raise BuildError(
                    f"{ref} no longer names {commit[:12]} but {found.out.decode().strip()[:12]}",
                    where=url,
                    todo="plan again: upstream moved it",
                )
        if ran.status != 0:
            raise UpstreamError(f"{commit[:12]} can't be fetched (git says: {last_words(ran.err)})", where=url)

    async def _from(self, url: str, what: str, git_dir: str) -> Ran:
        """A shallow fetch of one commit or ref; a failure that another attempt can't mend is given back."""

        async def attempt(_deadline: float) -> Ran:
            ran = await self.git.on(
                place,
                *("fetch", "--quiet", "--no-tags", "--depth=1", "--no-recurse-submodules", "--no-write-commit-graph"),
                *("--", place, what),
                git_dir=git_dir,
                seconds=_FETCH_SECONDS,
            )
            if ran.status != 0 and not _REFUSED.search(ran.err):
                raise classify(ran, place)
            return ran

        place = url
        try:
            return await persist(attempt, self.git.http.patience, self.git.http.clock, where=url)
        except Redirected:
            place = await self.git.moved(url)
            return await persist(attempt, self.git.http.patience, self.git.http.clock, where=url)

    async def _here(self, git_dir: str, *arguments: str, fine: tuple[int, ...] = (0,)) -> Ran:
        """Git without any network."""
        ran = await self.git.on("", *arguments, git_dir=git_dir)
        if ran.status not in fine:
            lines = tuple(last_words(line) for line in ran.err.splitlines()[-8:])
            raise ToolError(f"git {arguments[0]} ended with status {ran.status}", tail=lines)
        return ran

    async def _modules(self, url: str, commit: str, git_dir: str, target: Path, depth: int) -> None:
        """Fills every submodule's folder the same way: its URL is checked as any other's, its commit is pinned."""
        if not (target / ".gitmodules").is_file() or (target / ".gitmodules").is_symlink():
            return
        if depth >= _DEPTH:
            raise BuildError(f"submodules are nested more than {_DEPTH} deep", where=url)
        asked = ("config", "--blob", f"{commit}:.gitmodules", "--null", "--get-regexp")
        listed = await self._here(git_dir, *asked, r"^submodule\..*\.(path|url)$", fine=(0, 1))
        fields: dict[str, dict[str, str]] = {}
        for entry in listed.out.decode("utf-8", "replace").split("\0"):
            key, _, value = entry.partition("\n")
            name, _, field = key.removeprefix("submodule.").rpartition(".")
            if name:
                fields.setdefault(name, {})[field] = value
        for module in fields.values():
            await self._module(url, commit, git_dir, target, module.get("path", ""), module.get("url", ""), depth)

    async def _module(
        self, url: str, commit: str, git_dir: str, target: Path, path: str, address: str, depth: int
    ) -> None:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith(("/", "-")) or ".." in parts:
            raise BuildError(f"a submodule's path is {path[:100]!r}", where=url)
        row = (await self._here(git_dir, "ls-tree", "-z", commit, "--", path)).out.decode("utf-8", "replace")
        match = re.match(r"160000 commit ([0-9a-f]{40}|[0-9a-f]{64})\t", row)
        if match is None:
            return  # named in .gitmodules, but not in the tree
        await self.fill(_relative(url, address), match[1], "", _place(target, parts, url), depth + 1)


def _prepared(target: Path, url: str) -> Path:
    target = target.resolve()
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise BuildError(f"{target} isn't empty", where=url)
    return target


def _place(target: Path, parts: tuple[str, ...], url: str) -> Path:
    """The folder of a submodule, which no symlink of the tree may lead elsewhere."""
    place = target.joinpath(*parts)
    if place.resolve() != place:
        raise BuildError(f"the submodule's path {'/'.join(parts)[:100]!r} leads through a symlink", where=url)
    place.mkdir(parents=True, exist_ok=True)
    return place


def _checked_ref(ref: str, url: str) -> str:
    try:
        return check_ref(ref)
    except ValueError as error:
        raise BuildError(str(error), where=url) from None


def _relative(url: str, address: str) -> str:
    """A submodule's URL, which may be relative to its parent's (gitsubmodules(7))."""
    if address.startswith(("./", "../")):
        base = url.rstrip("/").split("/")
        for part in address.split("/"):
            if part == ".." and len(base) > 3:
                base.pop()
            elif part not in ("", ".", ".."):
                base.append(part)
        address = "/".join(base)
    try:
        return check_git_url(address)
    except ValueError as error:
        raise BuildError(f"a submodule can't be fetched: {error}", where=url) from None


def check_links(target: Path, url: str) -> None:
    """BuildError where a symlink leads out of the tree: whoever opens it would read a file of this machine."""
    top = os.path.realpath(target)
    for folder, folders, files in os.walk(target):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - Path is slow over tens of thousands of files
            if os.path.islink(path):  # noqa: PTH114
                real = os.path.realpath(path)
                if real != top and not real.startswith(top + os.sep):
                    shown = os.path.relpath(path, target)
                    raise BuildError(f"{shown} is a symlink out of the source", where=url)
