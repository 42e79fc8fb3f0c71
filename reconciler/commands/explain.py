"""`reconcile explain`: which releases were considered and why, and how one of them would be built.

Nothing is built, and of the registry nothing is asked but the tags of an upstream that is an image. With `--from`
nothing is asked of any network: a git repository or a folder on this machine takes the upstream's place.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from reconciler.apply.buildx import BuildOptions
from reconciler.apply.checksums import expected
from reconciler.apply.rehearse import Rehearsals
from reconciler.apply.runconfig import RunConfig
from reconciler.apply.source import Fetch, Sources
from reconciler.apply.toolbox import Toolbox
from reconciler.commands import Printed, Settings
from reconciler.commands.session import cache_folder, session
from reconciler.desired.loader import load
from reconciler.desired.recipes import known_commit, recipe, source_of
from reconciler.desired.schema.app import App
from reconciler.desired.standing import Standing, standings
from reconciler.desired.state import Desired, in_order
from reconciler.desired.upstreams import upstream_of
from reconciler.errors import UsageError
from reconciler.model.evidence import Kind
from reconciler.model.recipe import GitSource
from reconciler.model.release import Release
from reconciler.model.template import for_platform, for_release
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted
from reconciler.record import Records
from reconciler.report import explain as report
from reconciler.report.explain import Asked, Download, Explained, Image
from reconciler.survey import Considered, Told, consider
from reconciler.upstream import There
from reconciler.upstream.local import LocalSource


@dataclass(frozen=True, slots=True)
class Flags:
    """What only explain takes; see `reconcile explain --help`. `source` is the folder of `--from`."""

    format: str = "text"
    source: Path | None = None
    builder: str = ""
    build_flags: tuple[str, ...] = ()
    key: str = ""
    token: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The flags as argparse read them."""
        return cls(
            format=options.format,
            source=options.source,
            builder=options.builder,
            build_flags=tuple(options.build_flag),
            key=options.key or "",
            token=options.identity_token,
        )


def run(settings: Settings, what: Sequence[str], flags: Flags) -> Printed:
    """The explanation of each app or version; status 1 where one can't be built as the desired state says."""
    found = asyncio.run(_run(settings, what, flags))
    content = report.as_json(found) if flags.format == "json" else report.text(found)
    return Printed(content, 0 if all(one.holds for one in found) else 1)


async def _run(settings: Settings, what: Sequence[str], flags: Flags) -> list[Explained]:
    asked = [_named(one) for one in what]
    async with _explainer(settings, flags) as explainer:
        apps = asked or [(app.app, None) for app in explainer.desired.apps]
        return [await explainer.explain(explainer.desired.app(name), version) for name, version in apps]


def _named(text: str) -> tuple[str, Version | None]:
    """`APP` or `APP:VERSION`."""
    app, colon, version = text.partition(":")
    try:
        return app, Version.parse(version) if colon else None
    except ValueError as error:
        raise UsageError(str(error), where=text[:80], todo="write APP:VERSION, like outline:1.9.2") from None


@asynccontextmanager
async def _explainer(settings: Settings, flags: Flags) -> AsyncIterator[_Explainer]:
    if flags.source is not None:
        desired = load(settings.desired, allow_local=settings.allow_private)
        local = await LocalSource.open(flags.source)
        async with _with(settings, flags, desired, local, local.fetch, local) as explainer:
            yield explainer
        return
    async with session(settings) as run:

        async def fetch(source: GitSource, target: Path) -> int:
            tree = await run.upstreams.checkout(
                source.url, source.commit, target, ref=source.ref, submodules=source.submodules
            )
            return tree.epoch

        async with _with(settings, flags, run.desired, run.upstreams, fetch) as explainer:
            yield explainer


@asynccontextmanager
async def _with(
    settings: Settings, flags: Flags, desired: Desired, told: Told, fetch: Fetch, local: LocalSource | None = None
) -> AsyncIterator[_Explainer]:
    with RunConfig(desired.mirror.registry, environ=settings.env) as config:
        tools = Toolbox(config, config.scratch / "logs", settings.env)
        sources = Sources(fetch, settings.desired, tools.scratch)

        def rehearsals(options: BuildOptions) -> Rehearsals:
            return Rehearsals(
                tools,
                sources,
                desired.signing,
                options,
                key=flags.key,
                token=flags.token,
                plain_http=desired.mirror.plain_http,
            )

        options = BuildOptions(builder=flags.builder, cache=cache_folder(settings, "build"), flags=flags.build_flags)
        try:
            yield _Explainer(desired, told, Records(settings.state), rehearsals, options, local)
        finally:
            await sources.close()


@dataclass(frozen=True, slots=True)
class _Explainer:
    """Explains apps and versions. `local`: the folder that stands in for the upstream, if one does."""

    desired: Desired
    told: Told
    records: Records
    rehearsals: Callable[[BuildOptions], Rehearsals]
    options: BuildOptions
    local: LocalSource | None

    async def explain(self, app: App, version: Version | None) -> Explained:
        """The app's releases; with a version, how that one would be built."""
        if self.local is not None and self.local.objects is None:
            # a folder has no history: it is taken for the version that is asked for
            if version is None:
                raise UsageError(
                    f"{self.local.folder} is no git repository, so it has no releases",
                    todo=f"say which version it is: reconcile explain {app.app}:VERSION --from {self.local.folder}",
                )
            release = Release(version, app.upstream.tag.tag(version), "", "")
            return await self._version(app, Standing(release, True, f"taken from {self.local.folder}"), ())
        seen = await consider(self.desired, app, self.told)
        if version is not None and all(one.version != version for one in seen.releases):
            seen = await self._further(app, seen, version)
        passed = [(one.version, one.tag, one.reason) for one in seen.passed_over]
        found = standings(self.desired, app, seen.releases, passed, seen.hindrances)
        if version is None:
            return self._app(app, found)
        standing = next((one for one in found if one.release.version == version), None)
        if standing is None:
            tags = ", ".join(str(one.release.version) for one in found[:5])
            raise UsageError(
                f"upstream has no release {version}, spelled {app.upstream.tag.tag(version)}",
                where=f"{app.app}:{version}",
                todo=f"it has {tags}…; `reconcile explain {app.app}` lists them" if tags else "",
            )
        return await self._version(app, standing, found)

    async def _further(self, app: App, seen: Considered, version: Version) -> Considered:
        """Upstream asked once more, as far down as the version that isn't among the releases yet."""
        source, spelled = upstream_of(app)
        more = await self.told.survey(
            source, spelled, enough=lambda found: bool(found) and found[-1].version <= version
        )
        return replace(seen, releases=more.releases, passed_over=more.passed_over)

    def _app(self, app: App, found: Sequence[Standing]) -> Explained:
        source, spelled = upstream_of(app)
        window = self.desired.window(app)
        where = f"{self.local.folder} in the place of {source}" if self.local else str(source)
        return Explained(
            app.app,
            where,
            spelled.tag,
            window=f"{window.count} highest" + (", others in the place of blocked ones" if window.skip_blocked else ""),
            versions=str(app.upstream.versions or ""),
            platforms=self.desired.platforms(app),
            standings=tuple(found),
        )

    async def _version(self, app: App, standing: Standing, found: Sequence[Standing]) -> Explained:
        explained = replace(self._app(app, found), version=standing)
        if not standing.inside and not standing.release.commit and self.local is None:
            # upstream passes it over: there is no release to build
            return explained
        release = standing.release
        commits = await self._commits(app, release)
        images = [await self._image(app, name, release, commits) for name in in_order(app)]
        return replace(explained, images=tuple(images))

    async def _commits(self, app: App, release: Release) -> Mapping[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        if self.local is not None and self.local.objects is None:
            return found
        for image in app.images.values():
            url, ref = source_of(app, image, release)
            if url and not known_commit(app, (url, ref), release):
                commit = (await self.told.commits(url, [ref]))[ref]
                if isinstance(commit, str):
                    found[url, ref] = commit
        return found

    async def _image(self, app: App, name: str, release: Release, commits: Mapping[tuple[str, str], str]) -> Image:
        built = recipe(self.desired, app, name, release, commits)
        repository = self.desired.repository(name)
        wanted = Wanted(
            app=app.app,
            image=name,
            target=repository.tag(str(release.version)),
            release=release,
            platforms=self.desired.platforms(app),
            evidence=self.desired.evidence(app),
            recipe=built,
            needs=tuple(sorted({tag for _, tag in built.bases})),
        )
        sbom = self.desired.mirror.sbom_generator if Kind.SBOM in wanted.evidence else ""
        rehearsal = await self.rehearsals(replace(self.options, sbom=sbom)).rehearse(wanted)
        return Image(rehearsal, await self._requires(app, name, release), self._downloads(wanted))

    async def _requires(self, app: App, name: str, release: Release) -> tuple[Asked, ...]:
        urls = [
            for_platform(for_release(url, release), platform)
            for url in app.images[name].requires
            for platform in self.desired.platforms(app)
        ]
        unique = list(dict.fromkeys(urls))
        answers = await asyncio.gather(*(self.told.answers(url) for url in unique))
        return tuple(
            Asked(url, "" if isinstance(answer, There) else answer.reason)
            for url, answer in zip(unique, answers, strict=True)
        )

    def _downloads(self, wanted: Wanted) -> tuple[Download, ...]:
        image = self.records.load(wanted.app).images.get(str(wanted.target.repository))
        seen = image.checksums if image is not None else {}
        found: dict[str, Download] = {}
        for platform in wanted.platforms:
            for one in expected(wanted.recipe, platform):
                how = f"must be what {one.at} lists" if one.at else "is recorded when it is first built from"
                if one.url in seen and not one.at:
                    how = f"must be sha256:{seen[one.url]}, as it was when it was seen first"
                if one.sha256:
                    how = f"must be sha256:{one.sha256}, as the desired file says"
                found.setdefault(one.url, Download(one.url, how))
        return tuple(found.values())
