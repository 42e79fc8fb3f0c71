"""How one image of one release is built: the desired state's templates filled in for that release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.desired.schema.app import App
from reconciler.desired.schema.image import ChecksumEntry, Image
from reconciler.desired.state import Desired
from reconciler.model.evidence import ANNOTATION_REPOSITORY, ANNOTATION_UPSTREAM, ANNOTATION_VERSION
from reconciler.model.recipe import Checksum, Edit, FolderSource, GitSource, Recipe, Smoke
from reconciler.model.release import Release
from reconciler.model.template import for_platform, for_release

# the commit that a ref of a git repository names
Commits = Mapping[tuple[str, str], str]

_OCI = "org.opencontainers.image"


def source_of(app: App, image: Image, release: Release) -> tuple[str, str]:
    """URL and ref of the git repository that a release of an image is built from; both empty for a folder."""
    if image.source is None:
        return app.upstream.git_url, release.tag
    if image.source.git is None:
        return "", ""
    return image.source.git, for_release(image.source.ref, release)


def known_commit(app: App, source: tuple[str, str], release: Release) -> str:
    """The commit of a source that upstream has told already with the release; empty where it must be asked for."""
    url, ref = source
    same = url.removesuffix(".git").rstrip("/") == app.upstream.git_url.removesuffix(".git").rstrip("/")
    return release.commit if same and ref == release.tag and not release.commit.startswith("sha") else ""


def recipe(desired: Desired, app: App, name: str, release: Release, commits: Commits) -> Recipe:
    """How that image of that release is built; its source's commit is empty where it isn't known."""
    image = app.images[name]
    url, ref = source_of(app, image, release)
    commit = known_commit(app, (url, ref), release) or commits.get((url, ref), "")
    told = replace(release, commit=commit or release.commit)
    source: GitSource | FolderSource
    if image.source is not None and image.source.folder is not None:
        source = FolderSource(image.source.folder, desired.folders[app.app, name])
    else:
        source = GitSource(url, ref, commit, image.source.submodules if image.source is not None else False)
    standard = _standard(desired, app, name, told)
    return Recipe(
        source=source,
        context=image.context,
        dockerfile=image.dockerfile or ("Dockerfile" if image.context == "." else f"{image.context}/Dockerfile"),
        own_dockerfile=desired.dockerfiles.get((app.app, name), ""),
        target=image.target or "",
        unpin=image.unpin,
        edits=tuple(_edit(e.file, e.find, e.regex, e.replace, e.count) for e in image.edits),
        bases=tuple(
            (called, desired.repository(base).tag(str(release.version))) for called, base in sorted(image.bases.items())
        ),
        args=_sorted(_filled(image.args, told)),
        labels=_sorted({**standard, **_filled(image.labels, told)}),
        annotations=_sorted({**standard, **_ours(desired, app, name, told), **_filled(image.annotations, told)}),
        checksums=tuple(one for entry in image.checksums for one in _checksums(desired, app, entry, told)),
        smoke=_smoke(image, told),
        cache=desired.cache(image),
        created=release.date,
    )


def _edit(file: str, find: str | None, regex: str | None, put: str, count: int) -> Edit:
    return Edit(file, find if find is not None else regex or "", put, find is None, count)


def _filled(texts: Mapping[str, str], release: Release) -> dict[str, str]:
    return {key: for_release(text, release) for key, text in texts.items()}


def _sorted(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, text) for key, text in texts.items() if text))


def _standard(desired: Desired, app: App, name: str, release: Release) -> dict[str, str]:
    """The OCI annotations (image-spec annotations.md) that tell what an image is; base.* come with the build.

    `source` is the mirror's own repository: GHCR links a package to the repository that it names.
    """
    image = app.images[name]
    return {
        f"{_OCI}.title": image.title or app.title or app.app,
        f"{_OCI}.description": image.description or app.description or "",
        f"{_OCI}.licenses": app.licenses or "",
        f"{_OCI}.vendor": desired.mirror.vendor or "",
        f"{_OCI}.version": str(release.version),
        f"{_OCI}.revision": release.commit,
        f"{_OCI}.created": release.date,
        f"{_OCI}.source": desired.mirror.source,
        f"{_OCI}.url": app.url or app.upstream.url,
    }


def _ours(desired: Desired, app: App, name: str, release: Release) -> dict[str, str]:
    # the recipe's hash is added where the image is made: it covers these annotations and can't stand in them
    return {
        ANNOTATION_REPOSITORY: str(desired.repository(name)),
        ANNOTATION_UPSTREAM: app.upstream.url,
        ANNOTATION_VERSION: str(release.version),
    }


def _checksums(desired: Desired, app: App, entry: ChecksumEntry, release: Release) -> list[Checksum]:
    """The download as a template for every platform, and by its exact URL where its checksum stands in the file."""
    url = for_release(entry.url, release)
    exact = {for_platform(url, platform) for platform in desired.platforms(app)}
    known = [Checksum(one, entry.known[one]) for one in sorted(exact) if one in entry.known]
    return [*known, Checksum(url, at=for_release(entry.at, release) if entry.at else "")]


def _smoke(image: Image, release: Release) -> Smoke | None:
    if image.smoke is None:
        return None
    command = tuple(for_release(word, release) for word in image.smoke.command)
    return Smoke(command, image.smoke.status, for_release(image.smoke.output or "", release))
