"""Platforms of a version, built here and read back; those that are built elsewhere: see `elsewhere`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.apply.annotations import annotations_of
from reconciler.apply.buildx import BuildOptions, build, build_command
from reconciler.apply.checksums import Checksums
from reconciler.apply.source import Sources
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import BuildError, Malformed, RegistryError
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent, Child
from reconciler.model.platform import Platform
from reconciler.model.reference import DigestRef, Repository
from reconciler.model.wanted import Wanted
from reconciler.registry.client import Registry
from reconciler.registry.manifests import Image, Index, config_platform, parse

CONFIG_CAP = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Built:
    """One platform that was built and pushed: `pushed` is what buildx pushed, an index of image and attestation."""

    platform: Platform
    pushed: Digest
    child: Child


class Build(Protocol):
    """Builds one platform of one version and pushes it by digest.

    `bases` has the digest of each base by its name in FROM. Raises BuildError where the release can't be built as the
    desired state says, ToolError where a program fails, UpstreamError, RegistryError.
    """

    async def __call__(self, wanted: Wanted, platform: Platform, bases: Mapping[str, DigestRef]) -> Built:
        """The platform, built."""
        ...


@dataclass(frozen=True, slots=True)
class Buildx:
    """Builds on a builder of buildx. `checksums` is what downloads are compared by before."""

    tools: Toolbox
    sources: Sources
    registry: Registry
    options: BuildOptions
    checksums: Checksums | None = None

    async def __call__(self, wanted: Wanted, platform: Platform, bases: Mapping[str, DigestRef]) -> Built:
        """The platform, built here."""
        where = f"{wanted.app}:{wanted.release.version}"
        recipe = wanted.recipe
        context = await self.sources.prepare(recipe, where)
        if self.checksums is not None:
            await self.checksums.check(wanted, platform)
        elif recipe.checksums:
            raise BuildError("its downloads can't be checked: no upstream was given to ask", where=where)
        name = f"build {wanted.target} {platform}"
        metadata = self.tools.scratch(name, ".metadata.json")
        words = build_command(
            recipe,
            platform,
            wanted.target.repository,
            context,
            metadata,
            bases=bases,
            annotations=annotations_of(wanted, bases),
            options=self.options,
        )
        pushed = await build(self.tools, words, metadata, name=name, epoch=context.epoch, cache=recipe.cache)
        return await read_back(self.registry, wanted.target.repository, platform, pushed)


async def read_back(registry: Registry, repository: Repository, platform: Platform, pushed: Digest) -> Built:
    """What stands in the registry under `pushed`; BuildError where it isn't one image for just that platform."""
    where = str(repository.at(pushed))
    manifest = await registry.manifest(repository, pushed)
    if isinstance(manifest, Absent):
        raise RegistryError("what was pushed isn't there", where=where, todo="the next apply builds it again")
    content = parse(manifest)
    if isinstance(content, Image):
        child = content.child
    elif isinstance(content, Index) and len(content.platforms) == 1 and not content.nested:
        child = next(iter(content.platforms.values()))
    else:
        raise BuildError("it isn't one image with its attestations", where=where)
    # the config says what is in it; a descriptor only what someone wrote beside it
    found = await _config(registry, repository, child.digest, where)
    if not found.satisfies(platform):
        raise BuildError(f"the image is for {found}, not for {platform}", where=where)
    return Built(platform, pushed, child)


async def _config(registry: Registry, repository: Repository, digest: Digest, where: str) -> Platform:
    manifest = await registry.manifest(repository, digest)
    image = None if isinstance(manifest, Absent) else parse(manifest)
    if not isinstance(image, Image):
        raise Malformed("the image in it is none", where=where)
    config = await registry.blob(repository, image.config.digest, cap=CONFIG_CAP)
    if isinstance(config, Absent):
        raise Malformed("the image's config is gone", where=where)
    return config_platform(config, where)
