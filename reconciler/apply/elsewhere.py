"""What was built on other machines: a small file per image and platform, written there, read here, believed nowhere.

A file names a digest, or says why there is none. It comes with an artefact that any job of the run may have written,
so it is read as hostile: bounded in number and size, in one grammar, without links. All that a file can do is to point
to something in the registry, where it is checked against the plan (`stamp.check`); a wrong one costs its own version.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reconciler.apply import recording, stamp
from reconciler.apply.builds import Built, read_back
from reconciler.apply.checksums import expected
from reconciler.apply.lines import harmless
from reconciler.apply.slots import NotNow
from reconciler.apply.stamp import Run
from reconciler.errors import BuildError, Denied, Malformed, ReconcileError, Refused, ToolError, UsageError
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.reference import DigestRef, TagRef
from reconciler.model.wanted import Wanted
from reconciler.plan.matrix import Matrix
from reconciler.record import Records, replace_file
from reconciler.registry.client import Registry

FORMAT = 1
MAX_BYTES = 64 * 1024
MAX_REASON = 300
MAX_SEEN = 64
# of these a run has few; more in the folder than it can have is looked at no further
_STRAY = 64
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image on one platform: `digest` was pushed, or it `failed` for a reason.

    `target` is its tag, `recipe` the recipe's hash, `run` and `plan` what it was built for. `seen`: sha256 of downloads
    that were seen for the first time, by URL.
    """

    app: str
    image: str
    target: TagRef
    platform: Platform
    recipe: str
    run: Run
    digest: Digest | None = None
    failed: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)


def dump(result: Result) -> bytes:
    """The file's content."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "app": result.app,
        "image": result.image,
        "version": result.target.tag,
        "target": str(result.target),
        "platform": str(result.platform),
        "recipe": result.recipe,
        **asdict(result.run),
        "digest": str(result.digest) if result.digest else None,
        "failed": result.failed,
        "seen": dict(result.seen),
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def write(folder: Path, result: Result) -> Path:
    """Puts the file into `folder`, under a name of its own; ToolError where it can't be."""
    name = _NAME.sub("-", f"{result.app}-{result.image}-{result.target.tag}-{result.platform}")
    path = folder / f"{name[:200]}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, dump(result))
    except OSError as error:
        raise ToolError(f"the result can't be written: {error.strerror}", where=str(path)) from None
    return path


def load(data: bytes, where: str) -> Result:
    """The result that `dump` wrote; Malformed for anything else."""
    try:
        document = json.loads(data, parse_constant=_refused)
        result = _result(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
        raise Malformed(f"this is no result of a build: {harmless(what)[:200]}", where=where) from None
    if dump(result) != data:
        # keys that nobody knows, twice the same, another form: not by `reconcile build`
        raise Malformed("this is no result of a build: it isn't written as one", where=where)
    return result


def _refused(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _result(document: Mapping[str, Any]) -> Result:
    if document["format"] != FORMAT:
        raise ValueError("it is of another format")
    texts = {key: document[key] for key in ("app", "image", "recipe", "failed", "nonce", "plan")}
    seen = document["seen"]
    if not all(isinstance(value, str) for value in texts.values()) or len(texts["failed"]) > MAX_REASON:
        raise ValueError("a field of it is no text, or too long")
    if not isinstance(seen, dict) or len(seen) > MAX_SEEN or not all(map(_is_sum, seen.values())):
        raise ValueError("its checksums are none")
    digest = document["digest"]
    if (digest is None) == (texts["failed"] == ""):
        raise ValueError("it has neither a digest nor a reason, or both")
    return Result(
        app=texts["app"],
        image=texts["image"],
        target=TagRef.parse(document["target"]),
        platform=Platform.parse(document["platform"]),
        recipe=texts["recipe"],
        run=Run(texts["nonce"], texts["plan"]),
        digest=None if digest is None else Digest.parse(digest),
        failed=texts["failed"],
        seen=seen,
    )


def _is_sum(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What this run's jobs left: their results by what they built, what no job had to build, and what was passed over.

    `notes` has one line for each file that doesn't count.
    """

    run: Run
    results: Mapping[tuple[TagRef, Platform], Result]
    left: Mapping[tuple[TagRef, Platform], str]
    notes: tuple[str, ...] = ()


def read(folder: Path, of: Matrix, run: Run) -> Elsewhere:
    """The results of `run` in `folder` and the folders in it (one per artefact), for what the jobs `of` it built.

    What belongs to another run, plan or build doesn't count, nor does what is there twice and differs. UsageError where
    there is no such folder; it may be empty.
    """
    if not folder.is_dir():
        raise UsageError(
            "there is no such folder", where=str(folder), todo="name the folder with the results of builds"
        )
    found: dict[tuple[TagRef, Platform], Result] = {}
    notes: list[str] = []
    twice: set[tuple[TagRef, Platform]] = set()
    most = 2 * of.builds + _STRAY
    for count, path in enumerate(_files(folder)):
        where = harmless(str(path.relative_to(folder)))[:200]
        if count >= most:
            notes.append(f"more than {most} files among the results: the rest isn't read")
            break
        try:
            result = load(_content(path), where)
            key = (result.target, result.platform)
            if result.run != run:
                raise Refused("it is of another run or another plan", where=where)
            if key not in of.built:
                raise Refused("no job of this run had to build that", where=where)
            if found.setdefault(key, result) != result:
                twice.add(key)
                raise Refused(f"there are two results for {result.target} on {result.platform}", where=where)
        except ReconcileError as error:
            notes.append(f"not counted: {error.reason}")
    kept = {key: result for key, result in found.items() if key not in twice}
    return Elsewhere(run, kept, of.left, tuple(notes))


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, sorted; what can't be listed holds none."""
    try:
        for path in sorted(folder.iterdir()):
            # a link is no folder, and as a file it is refused
            if path.is_dir() and not path.is_symlink():
                yield from sorted(one for one in path.iterdir() if one.suffix == ".json")
            elif path.suffix == ".json":
                yield path
    except OSError:
        return


def _content(path: Path) -> bytes:
    try:
        # a link could lead to a file of this machine, a pipe never end
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused("it is no file", where=path.name)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"it can't be read: {error.strerror}", where=path.name) from None
    if len(data) > MAX_BYTES:
        raise Refused(f"it is larger than {MAX_BYTES} bytes", where=path.name)
    return data


@dataclass(frozen=True, slots=True)
class Fetched:
    """A `Build` that builds nothing: each platform is what the job elsewhere pushed, once that was checked."""

    registry: Registry
    records: Records
    elsewhere: Elsewhere

    async def __call__(self, wanted: Wanted, platform: Platform, bases: Mapping[str, DigestRef]) -> Built:
        """The platform as it was pushed.

        NotNow where no job had to build it, BuildError where it failed there, Refused where the registry holds
        something else than this run's build of it.
        """
        where = f"{wanted.target} {platform}"
        key = (wanted.target, platform)
        if key in self.elsewhere.left:
            raise NotNow(f"left for the next run: {self.elsewhere.left[key]}")
        result = self.elsewhere.results.get(key)
        if result is None:
            raise Refused("its job left no result that counts", where=where, todo="look at the job's log")
        if result.digest is None:
            raise BuildError(harmless(result.failed), where=where)
        try:
            if (result.app, result.image, result.recipe) != (wanted.app, wanted.image, wanted.recipe.hash):
                raise BuildError("the result is of another image or recipe", where=where)
            built = await read_back(self.registry, wanted.target.repository, platform, result.digest)
            await stamp.check(self.registry, wanted, built, self.elsewhere.run)
        except (BuildError, Malformed, Denied) as error:
            # not a fault of the recipe: nothing is held against it
            raise Refused(f"what its job left isn't taken: {error.reason}", where=where) from None
        self._remember(wanted, platform, result)
        return built

    def _remember(self, wanted: Wanted, platform: Platform, result: Result) -> None:
        """Downloads that the job saw for the first time; those that the recipe doesn't have it can't speak of."""
        unknown = {one.url for one in expected(wanted.recipe, platform) if not one.sha256 and not one.at}
        for url, sha256 in result.seen.items():
            if url in unknown:
                self.records.update(wanted.app, recording.first_seen(wanted, url, sha256))
