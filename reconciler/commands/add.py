"""`reconcile add URL`: writes a first desired file for an upstream, with comments on what to check.

The file is loaded together with all others before it is written, and nothing is ever overwritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.commands import Printed, Settings
from reconciler.desired.loader import load
from reconciler.draft import address, tree
from reconciler.draft.address import Address
from reconciler.draft.sketch import About, Seen, sketch
from reconciler.draft.spelling import Spelling, spellings
from reconciler.draft.tree import Found
from reconciler.errors import DesiredError, Problem, ReconcileError, RegistryError, UpstreamError, UsageError
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.release import Release
from reconciler.model.upstream import Filter, GitHubReleases, GitLabTags, GitTags, ImageTags
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.registry.manifests import Index, parse
from reconciler.report.escape import log, plain
from reconciler.upstream import Upstreams

WINDOW = 10
_GITHUB = "https://github.com"
# what only decorates the file isn't waited for any longer, in seconds
_PATIENCE = 15.0
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_SPDX = re.compile(r"[A-Za-z0-9.+-]{1,60}", re.ASCII)

Ask = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Clients:
    upstreams: Upstreams
    registry: Registry
    github: str
    github_api: str


def run(settings: Settings, url: str, *, name: str, ask: Ask | None) -> Printed:
    """Writes the file and says where; `ask` (None: nothing is asked) may decide against it."""
    return asyncio.run(_run(settings, url, name, ask))


async def _run(settings: Settings, url: str, name: str, ask: Ask | None) -> Printed:
    read = address.read(url, _github(settings))
    app = _app_name(name or _last_name(read))
    target = settings.desired / f"{app}.yaml"
    _must_be_free(target)
    async with _clients(settings) as clients:
        seen = await _look(clients, read, app, url)
    text = sketch(seen)
    dockerfile = _own_dockerfile(seen)
    folder = settings.desired / app
    if dockerfile:
        _must_be_free(folder)
    _must_load(settings, app, text, dockerfile)
    if ask is not None:
        settings.say(log(text))
        if not ask(f"Write {target}?"):
            return Printed("Nothing was written.\n")
    if dockerfile:
        _write(folder / "Dockerfile", dockerfile)
    _write(target, text)
    return Printed(
        f"Wrote {plain(str(target))}: look at what its comments say.\n"
        f"How a release would be built: reconcile explain {app}\n"
    )


@asynccontextmanager
async def _clients(settings: Settings) -> AsyncIterator[_Clients]:
    credentials = Credentials.load(settings.env)
    async with (
        Registry(credentials, allow_private=settings.allow_private) as registry,
        Upstreams.open(settings.env, allow_private=settings.allow_private, lister=registry) as upstreams,
    ):
        api = settings.env.get("GITHUB_API_URL") or "https://api.github.com"
        yield _Clients(upstreams, registry, _github(settings), api)


def _github(settings: Settings) -> str:
    return (settings.env.get("GITHUB_SERVER_URL") or _GITHUB).rstrip("/")


async def _look(clients: _Clients, read: Address | str, app: str, asked: str) -> Seen:
    """All that can be seen; what only decorates the file may fail."""
    place = await _place(clients, read) if isinstance(read, str) else read
    upstreams = clients.upstreams
    found = spellings(await _tags(clients, place))
    if not found:
        raise UpstreamError(
            "none of its tags names a version, like v1.2.3",
            where=str(place),
            todo="a release needs a tag to be found by",
        )
    found = await _released(upstreams, place, found)
    listed = await upstreams.survey(place, Filter(str(found[0].pattern)), enough=WINDOW)
    releases = listed.releases[:WINDOW]
    seen = Seen(app, asked, place, found, window=WINDOW)
    if not releases:
        return replace(seen, about=await _about(clients, place))
    top = releases[0]
    about, dockerfile, published = await asyncio.gather(
        _about(clients, place), _dockerfile(upstreams, place, top), _published(clients, place, top)
    )
    return replace(
        seen,
        about=about,
        lowest=releases[-1].version,
        highest=top.version,
        dockerfile=dockerfile,
        published=published,
    )


async def _released(upstreams: Upstreams, place: Address, found: tuple[Spelling, ...]) -> tuple[Spelling, ...]:
    """The spelling of what upstream calls releases first, where it has several: the one with most of them is usual."""
    if not isinstance(place, GitHubReleases):
        return found
    for one in found[:4]:
        if (await upstreams.survey(place, Filter(str(one.pattern)), enough=1)).releases:
            return (one, *(other for other in found if other is not one))
    return found


async def _place(clients: _Clients, url: str) -> Address:
    """Whether a repository's host is a GitLab: its API answers."""
    with contextlib.suppress(ValueError, UpstreamError):
        project = address.gitlab(url)
        await clients.upstreams.survey(project, Filter(), enough=1)
        return project
    return GitTags(url)


async def _tags(clients: _Clients, place: Address) -> list[str]:
    if isinstance(place, ImageTags):
        listed = await clients.registry.tags(place.repository)
        if isinstance(listed, Absent):
            raise UpstreamError("there is no such repository", where=str(place), todo="check its name")
        return list(listed)
    return list(await clients.upstreams.git.tags(clients.upstreams.git_url(place)))


async def _dockerfile(upstreams: Upstreams, place: Address, release: Release) -> Found | None:
    url = upstreams.git_url(place)
    if not url or not release.commit:
        return None
    with tempfile.TemporaryDirectory(prefix="reconcile-add-") as folder:
        top = Path(folder, "source")
        await upstreams.checkout(url, release.commit, top, ref=release.tag)
        return await asyncio.to_thread(tree.find, top)


async def _published(clients: _Clients, place: Address, release: Release) -> tuple[str, tuple[Platform, ...]] | None:
    """An image that upstream publishes under its own name, and the platforms that it has."""
    names: list[str] = []
    if isinstance(place, ImageTags):
        names = [str(place.repository)]
    elif isinstance(place, GitHubReleases) and clients.github == _GITHUB:
        names = [f"{host}/{place.repository.lower()}" for host in ("ghcr.io", "docker.io")]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            for name in names:
                for tag in dict.fromkeys((release.tag, str(release.version))):
                    if platforms := await _platforms(clients.registry, name, tag):
                        return f"{name}:{tag}", platforms
    return None


async def _platforms(registry: Registry, name: str, tag: str) -> tuple[Platform, ...]:
    try:
        manifest = await registry.manifest(Repository.parse(name), tag)
        content = None if isinstance(manifest, Absent) else parse(manifest)
    except (RegistryError, ValueError):
        return ()
    return tuple(sorted(content.platforms)) if isinstance(content, Index) else ()


async def _about(clients: _Clients, place: Address) -> About:
    """What the host's API says of the repository; empty where it says nothing."""
    match place:
        case GitHubReleases(repository):
            url = f"{clients.github_api.rstrip('/')}/repos/{repository}"
        case GitLabTags(_, project):
            base = clients.upstreams.git_url(place).removesuffix(f"/{project}.git")
            url = f"{base}/api/v4/projects/{project.replace('/', '%2F')}?license=true"
        case _:
            return About()
    with contextlib.suppress(UpstreamError):
        answer, found = await clients.upstreams.http.json(
            url, reduce=_reduced, fits=lambda found: isinstance(found, list)
        )
        if answer.status == 200:
            title, description, licenses, home = found
            return About(title, description, licenses if _SPDX.fullmatch(licenses) else "", home)
    return About()


def _reduced(found: Any) -> list[str]:
    """Name, description, licence and home page of a repository, each a line that a desired file may hold."""
    licence = found.get("license") or {}
    spdx = str(licence.get("spdx_id") or licence.get("key") or "")
    home = str(found.get("homepage") or "")
    safe = re.fullmatch(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._~/-]*)?", home, re.ASCII)
    return [
        _line(found.get("name")),
        _line(found.get("description")),
        "" if spdx in ("NOASSERTION", "other") else spdx,
        home if safe and len(home) < 500 else "",
    ]


def _line(text: object) -> str:
    """One line of visible text, of whatever an API gives."""
    shown = "".join(c if c.isprintable() else " " for c in str(text or "")[:2000])
    return " ".join(shown.split())[:400].strip()


def _last_name(read: Address | str) -> str:
    match read:
        case str():
            path = read
        case GitHubReleases(repository):
            path = repository
        case GitLabTags(_, project):
            path = project
        case GitTags(url):
            path = url
        case ImageTags(repository):
            path = repository.name
    return path.rstrip("/").rpartition("/")[2].removesuffix(".git")


def _app_name(text: str) -> str:
    """The name of the app and of its image: lower-case, and only what a repository's name may hold."""
    name = "-".join(_NAME.findall(text.lower()))[:100].strip("._-")
    if not _NAME.fullmatch(name) or name == "mirror":
        raise UsageError(f"{text[:80]!r} can't be the name of an app", todo="name it with --name")
    return name


def _must_be_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(
            "it is there already, and nothing is overwritten", where=str(path), todo="choose another --name"
        )


def _own_dockerfile(seen: Seen) -> str:
    """For an upstream that is an image: a Dockerfile that takes it as it is."""
    if not isinstance(seen.address, ImageTags):
        return ""
    pattern = seen.spellings[0].pattern
    return f"ARG VERSION\nFROM {seen.address.repository}:{pattern.before}${{VERSION}}{pattern.after}\n"


def _must_load(settings: Settings, app: str, text: str, dockerfile: str) -> None:
    """DesiredError where the desired state with the new file would be wrong; nothing is written then."""
    with tempfile.TemporaryDirectory(prefix="reconcile-add-") as folder:
        copy = Path(folder, "desired")
        try:
            shutil.copytree(settings.desired, copy, symlinks=True)
            (copy / f"{app}.yaml").write_text(text, encoding="utf-8")
            if dockerfile:
                (copy / app).mkdir()
                (copy / app / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        except (OSError, shutil.Error) as error:
            raise ReconcileError(
                f"the desired state can't be read: {error}", where=str(settings.desired), todo="name it with --desired"
            ) from None
        try:
            load(copy, allow_local=settings.allow_private)
        except DesiredError as error:
            shown = settings.desired.as_posix()
            raise DesiredError(
                [
                    Problem(p.file.replace(copy.as_posix(), shown, 1), p.line, p.column, p.path, p.what, p.todo)
                    for p in error.problems
                ]
            ) from None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        # never over a file that came meanwhile
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
    except OSError as error:
        raise ReconcileError(f"it can't be written: {error.strerror}", where=str(path)) from None
