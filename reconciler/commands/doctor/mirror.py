"""The mirror itself: its files, its registry as we and as anyone else sees it, and its upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.commands import Settings
from reconciler.commands.doctor.finding import Check, Finding, Level, fail, failed, ok, warn
from reconciler.commands.session import Session
from reconciler.commands.visibility import hidden, make_public
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.desired.upstreams import is_enough, upstream_of
from reconciler.errors import Denied, DesiredError, RecordError, RegistryError
from reconciler.model.observed import Absent
from reconciler.model.record import Record
from reconciler.model.reference import Repository, TagRef
from reconciler.record import Records
from reconciler.registry.push import NotGranted

_SHOWN = 8
_LOGIN = "docker login {host}, or set RECONCILE_REGISTRY_USERNAME and RECONCILE_REGISTRY_PASSWORD"


def desired_files(settings: Settings, desired: Desired | DesiredError) -> list[Finding]:
    """What loading the desired files said."""
    if isinstance(desired, Desired):
        images = sum(1 for _ in desired.images)
        return [ok("desired", f"{settings.desired}: {_count(len(desired.apps), 'app')}, {_count(images, 'image')}")]
    if not settings.desired.exists():
        todo = "name it with --desired, or run this where it is"
        return [warn("desired", f"{settings.desired} isn't there, so only this machine was looked at", todo)]
    return [
        fail("desired", f"{p.file}:{p.line}:{p.column}: {p.path + ': ' if p.path else ''}{p.what}", p.todo)
        for p in desired.problems
    ]


def checks(run: Session) -> list[Check]:
    """All about the mirror of a session."""
    repositories = _repositories(run)

    async def push() -> Sequence[Finding]:
        return together("push", await asyncio.gather(*(_push(run, one) for one in repositories)))

    async def pull() -> Sequence[Finding]:
        return together("pull", await asyncio.gather(*(_pull(run, one) for one in repositories)))

    async def records() -> Sequence[Finding]:
        return await asyncio.to_thread(_records, run)

    async def credentials() -> Sequence[Finding]:
        return await asyncio.to_thread(_credentials, run)

    def upstream(app: App) -> Check:
        async def look() -> Sequence[Finding]:
            return [await _upstream(run, app)]

        return Check(f"upstream {app.app}", look)

    return [
        Check("records", records),
        Check("credentials", credentials),
        Check("push", push),
        Check("pull", pull),
        *map(upstream, run.apps),
    ]


@dataclass(frozen=True, slots=True)
class About:
    """What was found of one image: like a finding, with a text that doesn't name the image."""

    image: str
    level: Level
    detail: str
    todo: str = ""


def together(what: str, found: Iterable[About]) -> list[Finding]:
    """One finding for all images of which the same is to be said, those to be mended first."""
    groups: dict[tuple[Level, str, str], list[str]] = {}
    for about in found:
        groups.setdefault((about.level, about.detail, about.todo), []).append(about.image)
    order = sorted(groups.items(), key=lambda group: [Level.FAIL, Level.WARN, Level.OK].index(group[0][0]))
    return [Finding(level, what, f"{_names(images)}: {detail}", todo) for (level, detail, todo), images in order]


def _names(images: Sequence[str]) -> str:
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return ", ".join(images[:_SHOWN]) + more


def _repositories(run: Session) -> list[Repository]:
    return sorted(run.desired.repository(image) for app in run.apps for image in app.images)


def _records(run: Session) -> Sequence[Finding]:
    found, tags = [], 0
    for app in run.apps:
        try:
            tags += sum(len(image.tags) for image in run.records.load(app.app).images.values())
        except RecordError as error:
            found.append(failed("records", error))
    return found or [ok("records", f"{run.records.folder}: {_count(tags, 'tag')} known")]


def _credentials(run: Session) -> Sequence[Finding]:
    host = run.desired.mirror.registry
    credential = run.credentials.for_host(host)
    passed_over = [warn("credentials", note) for note in run.credentials.notes]
    if credential is None:
        detail = f"none for {host}: everything is asked for anonymously"
        return [warn("credentials", detail, _LOGIN.format(host=host)), *passed_over]
    return [ok("credentials", f"for {host}, from {credential.source or 'docker login'}"), *passed_over]


async def _push(run: Session, repository: Repository) -> About:
    image = _image(repository)
    try:
        answer = await run.registry.can_push(repository)
    except RegistryError as error:
        return About(image, Level.FAIL, error.what, error.todo)
    if isinstance(answer, NotGranted):
        detail = answer.reason.removeprefix(f"{repository}: ").partition("; ")[0]
        return About(image, Level.FAIL, f"may not be pushed to: {detail}", _LOGIN.format(host=repository.registry))
    return About(image, Level.OK, "may be pushed to")


async def _pull(run: Session, repository: Repository) -> About:
    """Whether anyone can pull it, tried without credentials on a tag that we know or that is usual."""
    image = _image(repository)
    tag = TagRef(repository, await asyncio.to_thread(_known_tag, run, repository))
    try:
        seen = await run.registry.head(repository, tag.tag)
    except Denied as error:
        todo = "the first apply tells which; it takes an account that may push"
        return About(image, Level.WARN, f"private, or not published yet ({error.what})", todo)
    except RegistryError as error:
        return About(image, Level.FAIL, error.what, error.todo)
    if isinstance(seen, Absent):
        return About(image, Level.OK, "not published yet")
    if repository in await hidden(run.settings, run.desired, [tag]):
        return About(image, Level.WARN, "nobody can pull it without credentials", make_public(repository))
    return About(image, Level.OK, "anyone can pull it")


def _image(repository: Repository) -> str:
    return repository.name.rpartition("/")[2]


def _known_tag(run: Session, repository: Repository) -> str:
    """A tag that was published by the records; else `latest`, which an image usually has."""
    for app in run.apps:
        if repository in {run.desired.repository(image) for image in app.images}:
            return _newest(run.records, app.app, repository) or "latest"
    return "latest"


def _newest(records: Records, app: str, repository: Repository) -> str:
    try:
        record: Record = records.load(app)
    except RecordError:
        return ""
    image = record.images.get(str(repository))
    tags: Mapping[str, object] = image.tags if image is not None else {}
    return max(tags, default="")


async def _upstream(run: Session, app: App) -> Finding:
    source, spelled = upstream_of(app)
    enough = is_enough(run.desired, app, {})
    releases = await run.upstreams.releases(source, spelled, enough=enough)
    what = f"upstream {app.app}"
    if not releases:
        todo = f"look at upstream.tag in {app.app}.yaml: it is {spelled.tag}"
        return fail(what, f"{source} has no stable release that is spelled so", todo)
    return ok(what, f"{source}: {releases[0].version} is the highest")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
