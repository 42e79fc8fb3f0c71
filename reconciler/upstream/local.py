"""A source on this machine in place of the network: a git repository, or a folder with the files of one release.

It is looked at, never trusted: git runs with none of its configuration but what names its objects, and none of its
hooks and filters.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.errors import BuildError, ToolError, ToolMissing, UpstreamError, UsageError
from reconciler.model.evidence import Unknown
from reconciler.model.recipe import GitSource
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, Upstream
from reconciler.upstream.checkout import check_links
from reconciler.upstream.git import NoRef, environment, last_words
from reconciler.upstream.interface import Enough, Survey, utc
from reconciler.upstream.process import Ran, TooLong, TooMuch, run
from reconciler.upstream.sieve import Sieve

_CAP = 64 * 1024 * 1024
_SECONDS = 300.0
_FORMAT = "%(objectname)%00%(*objectname)%00%(committerdate:iso-strict)%00%(*committerdate:iso-strict)%00%(refname)"
_REF = re.compile(r"refs/(?:tags|heads|remotes/origin)/([!-~]{1,400})")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_NOT_ASKED = "not asked: this was read from a folder"


@dataclass(frozen=True, slots=True)
class _Ref:
    commit: str
    date: str


@dataclass(frozen=True, slots=True)
class LocalSource:
    """Tells of releases and gives sources as `Upstreams` does, from one folder; make it with `open`.

    `objects` is where a repository keeps them, None for a plain folder. `refs` are its tags and branches.
    """

    folder: Path
    objects: Path | None = None
    tags: Mapping[str, _Ref] = field(default_factory=dict)
    branches: Mapping[str, _Ref] = field(default_factory=dict)

    @classmethod
    async def open(cls, folder: Path) -> LocalSource:
        """What stands in `folder`; UsageError where that is none, ToolError where git fails."""
        folder, git_dir = _places(folder)
        asked = await _git("rev-parse", "--git-common-dir", git_dir=git_dir, fine=(0, 128))
        if asked.status != 0:
            return cls(folder)
        common = (git_dir / asked.out.decode(errors="replace").strip()).resolve()
        listed = await _git("for-each-ref", f"--format={_FORMAT}", git_dir=common)
        tags: dict[str, _Ref] = {}
        branches: dict[str, _Ref] = {}
        for line in listed.out.decode("utf-8", "replace").splitlines():
            own, peeled, date, peeled_date, name = line.split("\0")
            if match := _REF.fullmatch(name):
                known = tags if name.startswith("refs/tags/") else branches
                known.setdefault(match[1], _Ref(peeled or own, utc(peeled_date or date)))
        return cls(folder, common / "objects", tags, branches)

    async def survey(self, source: Upstream, filter: Filter, *, enough: int | Enough) -> Survey:  # noqa: A002
        """All tags that pass; what only an API knows (drafts, pre-releases) isn't asked."""
        sieve = Sieve.of(filter)
        found = sieve.candidates({tag: ref.commit for tag, ref in self.tags.items()})
        dated = [Release(one.version, one.tag, one.commit, self.tags[one.tag].date) for one in found]
        return sieve.survey(self.tags, dated)

    async def commits(self, url: str, refs: Iterable[str]) -> Mapping[str, str | NoRef]:
        """The commit that each ref names here, whatever the URL."""
        found: dict[str, str | NoRef] = {}
        for ref in refs:
            known = self.tags.get(ref.removeprefix("refs/tags/")) or self.branches.get(ref.removeprefix("refs/heads/"))
            is_commit = _COMMIT.fullmatch(ref) is not None
            found[ref] = known.commit if known else ref if is_commit else NoRef(f"{self.folder} has no {ref[:200]}")
        return found

    async def answers(self, url: str) -> Unknown:
        """Nothing is asked of any network."""
        return Unknown(_NOT_ASKED)

    async def fetch(self, source: GitSource, target: Path) -> int:
        """Puts the files of the source's commit into `target`, which isn't there yet; the commit's time, 0 without one.

        Files whose content the repository doesn't have (a partial clone) are left out. Raises BuildError, ToolError.
        """
        if self.objects is None:
            await asyncio.to_thread(_copy, self.folder, target)
            return 0
        if _COMMIT.fullmatch(source.commit) is None:
            raise UpstreamError(f"{self.folder} has no {source.ref[:200]}", where=source.url)
        _new(target)
        with tempfile.TemporaryDirectory(prefix=".git-", dir=target.parent) as folder:
            own, kind = Path(folder), "sha256" if len(source.commit) == 64 else "sha1"
            await _git("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", git_dir=own)
            _borrow(own, self.objects)
            told = await _git("show", "--no-patch", "--format=%ct", source.commit, git_dir=own)
            await _git("read-tree", source.commit, git_dir=own)
            words = (f"--work-tree={target}", "-c", "core.bare=false", "checkout-index", "--all", "--quiet")
            await _git(*words, git_dir=own, fine=(0, 1, 128))
        await asyncio.to_thread(check_links, target, str(self.folder))
        return int(told.out.split()[-1])


def _places(folder: Path) -> tuple[Path, Path]:
    """The folder in full, and what git would be its directory in it."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise UsageError("this is no folder", where=str(folder), todo="name a git repository or a folder of files")
    return folder, folder / ".git" if (folder / ".git").exists() else folder


def _new(target: Path) -> None:
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise BuildError(f"the source can't be written: {error.strerror}", where=str(target)) from None


def _borrow(git_dir: Path, objects: Path) -> None:
    """Lets a repository of our own read another one's objects (gitrepository-layout(5)), and nothing else of it."""
    (git_dir / "objects/info").mkdir(exist_ok=True)
    (git_dir / "objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")


def _copy(folder: Path, target: Path) -> None:
    try:
        shutil.copytree(folder, target, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise BuildError(f"the source can't be copied: {error}", where=str(folder)) from None
    check_links(target, str(folder))


async def _git(*arguments: str, git_dir: Path, fine: tuple[int, ...] = (0,)) -> Ran:
    # the repository may be another user's: it is only read, and nothing of it is run
    settings = ("safe.directory=*", "core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.allow=never")
    words = ["git", *(part for setting in settings for part in ("-c", setting)), *arguments]
    try:
        ran = await run(words, environment(str(git_dir)), seconds=_SECONDS, cap=_CAP)
    except (FileNotFoundError, OSError):
        raise ToolMissing("git isn't there", todo="install git 2.37 or newer") from None
    except TooLong:
        raise ToolError(f"git took longer than {_SECONDS:.0f} s", where=str(git_dir)) from None
    except TooMuch:
        raise ToolError(f"git said more than {_CAP:,} bytes", where=str(git_dir)) from None
    if ran.status not in fine:
        raise ToolError(f"git ended with status {ran.status}: {last_words(ran.err)}", where=str(git_dir))
    return ran
