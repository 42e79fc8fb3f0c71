"""One platform of one version, built by `docker buildx build` and pushed by its digest: no tag, so nobody sees it yet.

What is pushed is an index of the image and its attestation manifest (SBOM, provenance); both end up in the version's
index. Seen to work with buildx 0.29 on BuildKit 0.25; what other versions do differently:

- BuildKit 0.31 changed the default media types, 0.32 the form of attestations (protocols 4.18, 4.19): the exporter's
  options say what we mean, so that the same release gives the same manifests on all of them.
- buildx's `docker` driver refuses push-by-digest; every other driver has it.
- The BuildKit of Docker's own engine also keeps an image by its name, and two builds of one repository at once race for
  that name ("already exists"): store=false keeps none, which saves the time of unpacking it, too.
- BuildKit before 0.13 ignores rewrite-timestamp: the image is right, but not the same twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.apply.source import Context
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import ToolError, ToolMissing
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.recipe import Recipe
from reconciler.model.reference import DigestRef, Repository
from reconciler.model.template import for_platform

_SLUG = re.compile(r"[^a-z0-9]+")
_PLATFORM = re.compile(r"(linux|windows|freebsd|darwin)/[a-z0-9_.-]+(?:/[a-z0-9_.-]+)?")
_MAX_METADATA = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What is the same for every build of a run.

    `builder` is buildx's name for it (empty: the current one). `sbom` is the generator's image, pinned by digest; empty
    for none. `cache` is the folder of the cache kind "local". `flags` go to every build as they are (the operator's
    choice: `--network=host`). `builder_id` is who builds, for the provenance (a URL; empty: BuildKit says nothing).
    """

    builder: str = ""
    sbom: str = ""
    cache: Path | None = None
    flags: tuple[str, ...] = ()
    builder_id: str = ""

    @property
    def builder_words(self) -> Sequence[str]:
        """The flag that names the builder."""
        return (f"--builder={self.builder}",) if self.builder else ()


def build_command(
    recipe: Recipe,
    platform: Platform,
    repository: Repository,
    context: Context,
    metadata: Path,
    *,
    bases: Mapping[str, DigestRef],
    annotations: Mapping[str, str],
    options: BuildOptions,
) -> list[str]:
    """The words after `docker buildx`; pure.

    `bases` has a digest for each of the recipe's bases; `annotations` stand on the image's manifest.
    """
    output = (
        f"type=image,name={repository},push-by-digest=true,name-canonical=true,push=true,"
        "oci-mediatypes=true,oci-artifact=false,rewrite-timestamp=true,store=false"
    )
    words = [
        "build",
        *options.builder_words,
        f"--platform={platform}",
        f"--output={output}",
        "--provenance=mode=max,version=v1" + (f",builder-id={options.builder_id}" if options.builder_id else ""),
        f"--sbom=generator={options.sbom}" if options.sbom else "--sbom=false",
        f"--metadata-file={metadata}",
        *options.flags,
    ]
    words += [f"--build-arg={key}={for_platform(value, platform)}" for key, value in recipe.args]
    words += [f"--label={key}={for_platform(value, platform)}" for key, value in recipe.labels]
    words += [f"--annotation=manifest:{key}={for_platform(value, platform)}" for key, value in annotations.items()]
    words += [f"--build-context={name}=docker-image://{bases[name]}" for name, _ in recipe.bases]
    words += [f"--target={recipe.target}"] if recipe.target else []
    words += cache_words(recipe.cache, repository, platform, options)
    return [*words, f"--file={context.dockerfile}", "--progress=plain", "--", str(context.folder)]


def cache_words(kind: str, repository: Repository, platform: Platform, options: BuildOptions) -> list[str]:
    """Where the build's cache is read and kept: per image and platform, as gha's default scope is shared by all."""
    scope = _SLUG.sub("-", f"{repository.name}-{platform}".lower())
    match kind:
        case "gha":
            return [
                f"--cache-from=type=gha,scope={scope}",
                f"--cache-to=type=gha,scope={scope},mode=max,ignore-error=true",
            ]
        case "registry":
            # a repository of its own, so that no tag of it stands among the image's (protocols 4.20)
            at = f"{repository}/cache:{_SLUG.sub('-', str(platform))}"
            return [
                f"--cache-from=type=registry,ref={at}",
                f"--cache-to=type=registry,ref={at},mode=max,ignore-error=true",
            ]
        case "local" if options.cache is not None:
            folder = options.cache / scope
            return [f"--cache-from=type=local,src={folder}", f"--cache-to=type=local,dest={folder},mode=max"]
        case _:
            return []


async def build(
    tools: Toolbox, words: Sequence[str], metadata: Path, *, name: str, epoch: int | None, cache: str = ""
) -> Digest:
    """Runs a build command; the digest of what was pushed. ToolError where it fails or leaves no digest.

    `epoch` is the commit's time in seconds since 1970, `cache` the recipe's.
    """
    # buildx passes SOURCE_DATE_EPOCH on to BuildKit (docs/build-repro.md); its own copy of the provenance is of no use
    extra = {"BUILDX_METADATA_PROVENANCE": "disabled", "BUILDX_METADATA_WARNINGS": "0"}
    if epoch is not None:
        extra["SOURCE_DATE_EPOCH"] = str(epoch)
    await tools.buildx(words, name=name, limit=tools.limits.build, extra=extra, gha_cache=cache == "gha")
    return _pushed(metadata, name)


def _pushed(metadata: Path, name: str) -> Digest:
    """What buildx wrote to its metadata file (docs/reference/buildx_build.md)."""
    try:
        if metadata.stat().st_size > _MAX_METADATA:
            raise ValueError("its metadata file is too large")
        return Digest.parse(json.loads(metadata.read_bytes())["containerimage.digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolError(f"{name} left no digest: {error}", where=str(metadata)) from None
    finally:
        metadata.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Builder:
    """What buildx says of a builder: its name, driver, and the platforms of all its nodes."""

    name: str
    driver: str
    platforms: frozenset[Platform]


async def inspect_builder(tools: Toolbox, options: BuildOptions) -> Builder:
    """Asks buildx for the builder, starting it if need be. ToolMissing where there is none that could be used."""
    try:
        done = await tools.buildx(
            ["inspect", *options.builder_words, "--bootstrap"],
            name="docker buildx inspect",
            limit=tools.limits.build,
            capture=True,
        )
    except ToolMissing:
        raise
    except ToolError as error:
        raise ToolMissing(
            f"the builder {options.builder or '(current)'} can't be used: {(error.tail or (error.what,))[-1]}",
            todo="make one with `docker buildx create --driver docker-container --bootstrap`, and name it by --builder",
            tail=error.tail,
            log=error.log,
        ) from None
    return parse_inspect(done.output.decode(errors="replace"))


def parse_inspect(text: str) -> Builder:
    """What `docker buildx inspect` prints, as data."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and not key.startswith(" "):
            fields.setdefault(key.strip(), []).append(value.strip())
    found = {
        # a `*` marks platforms that were set by hand
        Platform.parse(match[0])
        for value in fields.get("Platforms", [])
        for part in value.split(",")
        if (match := _PLATFORM.match(part.strip().rstrip("*")))
    }
    return Builder(fields.get("Name", [""])[0], fields.get("Driver", [""])[0], frozenset(found))
