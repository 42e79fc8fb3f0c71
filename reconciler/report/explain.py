"""What `explain` found: releases with the reason for each, and how one is built, as text and as JSON."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reconciler.apply.rehearse import Base, Command, Rehearsal
from reconciler.desired.standing import Standing
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import GitSource, Recipe
from reconciler.report.escape import command_free, log, plain

FORMAT_VERSION = 1
# releases below the window that are listed one by one: the rest is a number
_BELOW = 5
_NOT_SHOWN = 400_000
_WIDE = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A URL that must answer; `lacks`: what it said instead, empty where it answers."""

    url: str
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A download, and how it is checked."""

    url: str
    how: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a version: how it is built, what must answer before, what is checked."""

    rehearsal: Rehearsal
    requires: tuple[Asked, ...] = ()
    downloads: tuple[Download, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """An app's releases; with `version`, that one of them and its images, bases first."""

    app: str
    upstream: str
    tag: str
    window: str
    versions: str
    platforms: tuple[Platform, ...]
    standings: tuple[Standing, ...]
    version: Standing | None = None
    images: tuple[Image, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the desired state."""
        return all(image.rehearsal.failed is None for image in self.images)


def text(found: Sequence[Explained]) -> str:
    """For a terminal."""
    parts = [_version(one, one.version) if one.version else _releases(one) for one in found]
    return "\n\n".join("\n".join(map(command_free, part)) for part in parts) + "\n" if parts else "No app.\n"


def _releases(one: Explained) -> list[str]:
    of = f" of {plain(one.versions)}" if one.versions else ""
    lines = [
        f"{plain(one.app)}: {plain(one.upstream)}, tags {plain(one.tag)}",
        f"  wanted: the {one.window}{of}, for {', '.join(map(str, one.platforms))}",
        "",
    ]
    if not one.standings:
        return [*lines, "  Upstream has no release that this pattern of tags fits."]
    floor = min((s.release.version for s in one.standings if s.inside), default=None)
    above = [s for s in one.standings if floor is None or s.release.version >= floor]
    below = [s for s in one.standings if s not in above]
    shown = [*above, *below[:_BELOW]]
    widths = [max(len(_cells(s)[at]) for s in shown) for at in range(4)]
    for standing in shown:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(_cells(standing), widths, strict=True))
        lines.append(f"  {'in ' if standing.inside else 'out'}  {cells}  {plain(standing.reason)}".rstrip())
        lines += [f"       held back: {plain(why)}" for why in standing.held]
    if len(below) > _BELOW:
        lines.append(f"  out  and {len(below) - _BELOW} lower ones")
    example = next((s.release.version for s in one.standings if s.inside), None)
    if example is not None:
        lines += ["", f"How one is built: reconcile explain {plain(one.app)}:{example}"]
    return lines


def _cells(standing: Standing) -> tuple[str, str, str, str]:
    release = standing.release
    return plain(str(release.version), 60), plain(release.tag, 60), release.date[:10], release.commit[:12]


def _version(one: Explained, standing: Standing) -> list[str]:
    release = standing.release
    lines = [
        f"{plain(one.app)}:{release.version}, tag {plain(release.tag)}"
        + (f", commit {release.commit}" if release.commit else "")
        + (f", {release.date}" if release.date else ""),
        f"  {'in' if standing.inside else 'not in'} the window: {plain(standing.reason)}",
        *(f"  held back: {plain(why)}" for why in standing.held),
    ]
    for image in one.images:
        lines += ["", *_image(image)]
    return lines


def _image(image: Image) -> Iterator[str]:
    rehearsal = image.rehearsal
    wanted, recipe = rehearsal.wanted, rehearsal.wanted.recipe
    yield f"{plain(wanted.image)} -> {wanted.target}"
    if rehearsal.failed is not None:
        yield from (f"  ! {line}" for line in log(str(rehearsal.failed)).splitlines())
        return
    rows = [
        ("source", _source(recipe)),
        ("context", recipe.context),
        ("dockerfile", "our own" if recipe.own_dockerfile else recipe.dockerfile),
        ("stage", recipe.target),
        *(("built on", _base(base)) for base in rehearsal.bases),
        *(("argument", f"{key}={value}") for key, value in recipe.args),
        *(("requires", f"{asked.url}: {asked.lacks or 'answers'}") for asked in image.requires),
        *(("download", f"{one.url}: {one.how}") for one in image.downloads),
        ("smoke test", _smoke(recipe)),
        ("cache", recipe.cache),
        ("evidence", ", ".join(kind for kind in Kind if kind in wanted.evidence)),
        ("recipe", recipe.hash),
    ]
    yield from (f"  {name:<11} {plain(value)}" for name, value in rows if value)
    changed = {edited.path for edited in rehearsal.edited if edited.before != edited.after}
    for edited in rehearsal.edited:
        if edited.path != recipe.dockerfile and edited.path in changed:
            yield from ("", f"  {plain(edited.path)}, what the recipe changes:", *_diff(edited.before, edited.after))
    before = next((edited.before for edited in rehearsal.edited if edited.path == recipe.dockerfile), None)
    yield ""
    legend = " (+ and -: what the recipe changes)" if recipe.dockerfile in changed else ""
    yield f"  {plain(recipe.dockerfile)}{legend}"
    yield from _whole(rehearsal.dockerfile if before is None else before, rehearsal.dockerfile)
    for command in (*rehearsal.builds, *_together(rehearsal.proofs)):
        yield from ("", f"  # {plain(command.what)}", *_command(command))


def _source(recipe: Recipe) -> str:
    source = recipe.source
    if isinstance(source, GitSource):
        return f"{source.url} at {source.ref}" + (f", commit {source.commit}" if source.commit else "")
    return f"the folder {source.path}"


def _base(base: Base) -> str:
    name = base.needed.name
    written = f" (written {base.needed.written})" if base.needed.written != name else ""
    if base.ours is not None:
        return f"{name}{written}, which is our {base.ours}"
    pinned = ", pinned: is that digest there for every platform?" if base.needed.pinned else ""
    return f"{name}{written}, as it is{pinned}"


def _smoke(recipe: Recipe) -> str:
    smoke = recipe.smoke
    if smoke is None:
        return ""
    output = f", and say {smoke.output!r}" if smoke.output else ""
    return f"{shlex.join(smoke.command)} must end with {smoke.status}{output}"


def _whole(before: str, after: str) -> Iterator[str]:
    """The whole text, with what was added and taken away marked."""
    old, new = log(before, _NOT_SHOWN).splitlines(), log(after, _NOT_SHOWN).splitlines()
    for kind, start, end, begin, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (f"    | {line}".rstrip() for line in new[begin:stop])
        else:
            yield from (f"    - {line}" for line in old[start:end])
            yield from (f"    + {line}" for line in new[begin:stop])


def _diff(before: str, after: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        log(before, _NOT_SHOWN).splitlines(), log(after, _NOT_SHOWN).splitlines(), lineterm="", n=2
    )
    for line in list(lines)[2:]:
        yield f"    {line}"


def _together(commands: Sequence[Command]) -> Iterator[Command]:
    """Commands that look the same, as one: what differs is in the files that they read."""
    for (argv, env), same in groupby(commands, key=lambda command: (command.argv, command.env)):
        yield Command("; ".join(command.what for command in same), argv, env)


def _command(command: Command) -> Iterator[str]:
    """As it could be typed, a flag per line where it is long."""
    words = [f"{key}={shlex.quote(value)}" for key, value in command.env]
    lines = [words]
    for word in command.argv:
        if word.startswith("-") and len(" ".join(command.argv)) > _WIDE:
            lines.append([])
        lines[-1].append(shlex.quote(plain(word, 8000)))
    last = len(lines) - 1
    for at, line in enumerate(lines):
        yield "    " + "  " * (at > 0) + " ".join(line) + " \\" * (at < last)


def as_json(found: Iterable[Explained]) -> str:
    """For programs."""
    content = {"format_version": FORMAT_VERSION, "apps": [_json(one) for one in found]}
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n"


def _json(one: Explained) -> dict[str, Any]:
    content: dict[str, Any] = {
        "app": one.app,
        "upstream": one.upstream,
        "tag": one.tag,
        "window": one.window,
        "versions": one.versions,
        "platforms": [str(platform) for platform in one.platforms],
        "releases": [_standing(standing) for standing in one.standings],
    }
    if one.version is not None:
        content["release"] = _standing(one.version)
        content["images"] = [_json_image(image) for image in one.images]
    return content


def _standing(standing: Standing) -> dict[str, Any]:
    release = standing.release
    return {
        "version": str(release.version),
        "tag": release.tag,
        "commit": release.commit,
        "date": release.date,
        "in_window": standing.inside,
        "reason": standing.reason,
        "held": list(standing.held),
    }


def _json_image(image: Image) -> dict[str, Any]:
    rehearsal = image.rehearsal
    wanted, recipe = rehearsal.wanted, rehearsal.wanted.recipe
    source = recipe.source
    return {
        "image": wanted.image,
        "target": str(wanted.target),
        "source": {"url": source.url, "ref": source.ref, "commit": source.commit}
        if isinstance(source, GitSource)
        else {"folder": source.path},
        "context": recipe.context,
        "dockerfile": recipe.dockerfile,
        "rendered": rehearsal.dockerfile,
        "edited": [edited.path for edited in rehearsal.edited if edited.before != edited.after],
        "built_on": [
            {"name": base.needed.name, "written": base.needed.written, "ours": str(base.ours) if base.ours else None}
            for base in rehearsal.bases
        ],
        "args": dict(recipe.args),
        "requires": [{"url": asked.url, "lacks": asked.lacks} for asked in image.requires],
        "downloads": [{"url": one.url, "how": one.how} for one in image.downloads],
        "recipe": recipe.hash,
        "epoch": rehearsal.epoch,
        "commands": [
            {"what": command.what, "env": dict(command.env), "argv": list(command.argv)}
            for command in (*rehearsal.builds, *rehearsal.proofs)
        ],
        "failed": None
        if rehearsal.failed is None
        else {"what": rehearsal.failed.what, "where": rehearsal.failed.where, "todo": rehearsal.failed.todo},
    }
