"""How a version would be built and proven, without doing it: the very code of apply, whose last step is left out."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from reconciler.apply.annotations import annotations_of
from reconciler.apply.buildx import BuildOptions, build_command
from reconciler.apply.cosign import Cosign
from reconciler.apply.dockerfile import Needed, images
from reconciler.apply.process import Finished
from reconciler.apply.source import Context, Sources
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import BuildError, ReconcileError
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import Recipe
from reconciler.model.reference import DigestRef, Repository, TagRef
from reconciler.model.signing import Signing
from reconciler.model.wanted import Wanted

# where the sources are in the commands that are shown
SOURCE = "source"
_PER_PLATFORM = (Kind.SBOM, Kind.PROVENANCE)


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, what it is for, and what stands in its environment."""

    what: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edited:
    """A file of the source that the recipe changes: its path, and its text before and after."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Base:
    """An image that the Dockerfile is built on, and the image of this mirror that takes its place, if one does."""

    needed: Needed
    ours: TagRef | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One image of one release: its Dockerfile as buildx would get it, what that is built on, and the commands.

    `edited` has every file that the recipe changes, the Dockerfile among them. `failed`: why it can't be built as the
    desired state says; then what can't be told is empty. `epoch` is the commit's time, None where there is none.
    """

    wanted: Wanted
    dockerfile: str = ""
    edited: tuple[Edited, ...] = ()
    bases: tuple[Base, ...] = ()
    builds: tuple[Command, ...] = ()
    proofs: tuple[Command, ...] = ()
    epoch: int | None = None
    failed: BuildError | None = None


@dataclass(frozen=True, slots=True)
class _Notebook(Toolbox):
    """A toolbox that notes what it is to run. Each thing that doesn't exist yet goes by a name."""

    noted: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, real: Toolbox) -> _Notebook:
        """An empty one, with all that the real one has."""
        return cls(real.config, real.logs, real.environ, real.redact, real.limits, real.docker, real.cosign)

    async def sign(
        self,
        argv: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str],
        limit: float | None = None,
        capture: bool = False,
    ) -> Finished:
        """Notes a command, and leaves an empty bundle where it would have left one."""
        words = list(argv)
        if "--bundle" in words:
            _touch(words[words.index("--bundle") + 1])
        scratch = f"{self.config.scratch}/"
        self.noted.append(tuple(_short(word, scratch) for word in (self.cosign, *words)))
        return Finished(b"", (), 0.0, "")


def _touch(path: str) -> None:
    Path(path).touch()


def _short(word: str, scratch: str) -> str:
    """A file of the run by what it is: `bundle.json`, `trusted-root.json`."""
    if not word.startswith(scratch):
        return word
    name = PurePosixPath(word).name
    for ending, shown in ((".statement.json", "statement.json"), (".sigstore.json", "bundle.json")):
        if name.endswith(ending):
            return shown
    return name.partition("-")[2]


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """Rehearses versions; `tools` has the run's folder, in which sources are prepared and nothing else happens."""

    tools: Toolbox
    sources: Sources
    signing: Signing
    options: BuildOptions
    key: str = ""
    token: Path | None = None
    plain_http: bool = False

    async def rehearse(self, wanted: Wanted) -> Rehearsal:
        """How it would be built. Raises UpstreamError where its source can't be had, ToolError."""
        recipe = wanted.recipe
        where = f"{wanted.app}:{wanted.release.version}"
        try:
            context = await self.sources.prepare(recipe, where)
        except BuildError as error:
            return Rehearsal(wanted, failed=error)
        before = await self.sources.prepare(replace(recipe, unpin=False, edits=(), bases=()), where)
        dockerfile, edited = await asyncio.to_thread(_texts, recipe, before, context)
        # digests that aren't known before they are built go by a name
        stand_ins = {name: tag.repository.at(_stand_in(name)) for name, tag in recipe.bases}
        builds = [self._build(wanted, platform, context, stand_ins) for platform in wanted.platforms]
        needed = images(dockerfile, dict(recipe.args))
        return Rehearsal(
            wanted,
            dockerfile,
            tuple(edited),
            tuple(Base(one, _replaced(one, recipe.bases)) for one in needed),
            tuple(builds),
            await self._proofs(wanted),
            context.epoch,
        )

    def _build(
        self, wanted: Wanted, platform: Platform, context: Context, stand_ins: Mapping[str, DigestRef]
    ) -> Command:
        recipe = wanted.recipe
        annotations = annotations_of(wanted, stand_ins)
        shown = Context(
            Path(posixpath.normpath(f"{SOURCE}/{recipe.context}")),
            Path("Dockerfile" if recipe.own_dockerfile else f"{SOURCE}/{recipe.dockerfile}"),
            context.epoch,
        )
        words = build_command(
            recipe,
            platform,
            wanted.target.repository,
            shown,
            Path("metadata.json"),
            bases=stand_ins,
            annotations=annotations,
            options=self.options,
        )
        for name, tag in recipe.bases:
            words = [word.replace(str(_stand_in(name)), f"<digest of {_name(tag)}>") for word in words]
        env = (("SOURCE_DATE_EPOCH", str(context.epoch)),) if context.epoch else ()
        return Command(f"build {platform}", (self.tools.docker, "buildx", *words), env)

    async def _proofs(self, wanted: Wanted) -> tuple[Command, ...]:
        """What is signed and attested, in apply's order: each image after its push, then the index."""
        found: list[Command] = []
        repository = wanted.target.repository
        for platform in wanted.platforms:
            found += await self._sign(repository, f"sign the image for {platform}", f"<digest for {platform}>")
        attested: list[str] = []
        if Kind.SIGNATURE in wanted.evidence:
            found += await self._sign(repository, "sign the index", "<digest of the index>", index=True)
        if Kind.MIRROR in wanted.evidence:
            attested.append("attest mirror")
        kinds = [kind for kind in _PER_PLATFORM if kind in wanted.evidence]
        attested += [f"attest {kind} for {platform}" for platform in wanted.platforms for kind in kinds]
        for what in attested:
            notebook = _Notebook.of(self.tools)
            await self._cosign(notebook).attest(b"{}", what)
            found += [Command(what, argv) for argv in notebook.noted]
        return tuple(found)

    async def _sign(self, repository: Repository, what: str, shown: str, *, index: bool = False) -> list[Command]:
        notebook = _Notebook.of(self.tools)
        cosign = self._cosign(notebook)
        digest = _stand_in(what)
        if index and "legacy" in self.signing.policy.layouts:
            await cosign.sign_legacy(repository.at(digest))
        await cosign.sign(repository.at(digest))
        return [Command(what, tuple(word.replace(str(digest), shown) for word in argv)) for argv in notebook.noted]

    def _cosign(self, tools: Toolbox) -> Cosign:
        return Cosign(tools, self.signing, key=self.key, token=self.token, plain_http=self.plain_http)


def _stand_in(what: str) -> Digest:
    return Digest.of(what.encode())


def _name(tag: TagRef) -> str:
    return f"{tag.repository.name.rpartition('/')[2]}:{tag.tag}"


def _replaced(needed: Needed, bases: Iterable[tuple[str, TagRef]]) -> TagRef | None:
    return next((tag for name, tag in bases if name in (needed.name, needed.bare)), None)


def _texts(recipe: Recipe, before: Context, after: Context) -> tuple[str, list[Edited]]:
    """The Dockerfile, and every file that the recipe changes."""
    paths = {edit.file: None for edit in recipe.edits} | ({recipe.dockerfile: None} if recipe.unpin else {})
    edited = []
    for path in paths:
        own = path == recipe.dockerfile
        old = _text(before.dockerfile if own else _top(before, recipe) / path)
        new = _text(after.dockerfile if own else _top(after, recipe) / path)
        edited.append(Edited(path, old, new))
    return _text(after.dockerfile), edited


def _top(context: Context, recipe: Recipe) -> Path:
    """The top of a source, of which the context is a folder."""
    depth = len(PurePosixPath(recipe.context).parts)
    return context.folder.parents[depth - 1] if depth else context.folder


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReconcileError(f"it can't be read: {error.strerror}", where=str(path)) from None
