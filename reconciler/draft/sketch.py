"""A first desired file as text: what was seen, and comments on what a person has to check; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.draft.address import Address
from reconciler.draft.spelling import Spelling
from reconciler.draft.tree import Found
from reconciler.model.platform import Platform
from reconciler.model.upstream import GitHubReleases, GitLabTags, GitTags
from reconciler.model.version import Version

# YAML 1.2 reads nothing but text in these, wherever they stand in a block mapping
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./_+-]*(?: [A-Za-z0-9./_+()-]+)*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_SHOWN = 300
_LISTED = 4


@dataclass(frozen=True, slots=True)
class About:
    """What upstream says of itself; any of it may be empty, and all of it is hostile."""

    title: str = ""
    description: str = ""
    licenses: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of an upstream.

    `lowest`: the lowest version of those that a window of `window` would keep. `published`: an image that upstream
    publishes itself, with the platforms that it has.
    """

    name: str
    asked: str
    address: Address
    spellings: Sequence[Spelling]
    about: About = About()
    window: int = 10
    lowest: Version | None = None
    highest: Version | None = None
    dockerfile: Found | None = None
    published: tuple[str, tuple[Platform, ...]] | None = None


def sketch(seen: Seen) -> str:
    """The file."""
    return "\n".join(_lines(seen)) + "\n"


def _lines(seen: Seen) -> Iterator[str]:
    yield f"# Written by `reconcile add {_comment(seen.asked)}`: check what comments say, then remove them."
    yield f"app: {seen.name}"
    about = seen.about
    yield f"title: {scalar(about.title or seen.name)}"
    if about.description:
        yield f"description: {scalar(about.description)}"
    if about.licenses:
        yield f"licenses: {scalar(about.licenses)} # check: an SPDX expression for what is in the image"
    else:
        yield "# licenses: an SPDX expression for what is in the image, like Apache-2.0"
    if about.url:
        yield f"url: {scalar(about.url)}"
    yield ""
    yield from _upstream(seen)
    yield ""
    yield "# Without these the defaults in mirror.yaml hold:"
    yield f"# window: {seen.window}"
    yield from _platforms(seen)
    yield "# pointers: [latest, major]"
    yield ""
    yield "images:"
    yield f"  {seen.name}:"
    yield from (f"    {line}" for line in _image(seen))


def _upstream(seen: Seen) -> Iterator[str]:
    yield "upstream:"
    match seen.address:
        case GitHubReleases(repository):
            yield f"  github: {scalar(repository)}"
        case GitLabTags(host, project):
            yield f"  gitlab: {scalar(f'{host}/{project}')}"
        case GitTags(url):
            yield f"  git: {scalar(url)}"
        case image:
            yield f"  image: {scalar(str(image.repository))}"
    best = seen.spellings[0]
    yield f"  tag: {scalar(str(best.pattern))} # {_count(best)}"
    for other in seen.spellings[1 : 1 + _LISTED]:
        yield f"  # check: other tags are spelled {_comment(str(other.pattern))}: {_count(other)}"
    if seen.lowest is not None:
        yield f'  versions: ">={seen.lowest}" # check: what is lower is never mirrored'


def _count(spelling: Spelling) -> str:
    number = len(spelling.versions)
    return f"{number} version{'s' * (number != 1)}, up to {spelling.versions[0]}"


def _platforms(seen: Seen) -> Iterator[str]:
    if seen.published is None:
        yield "# platforms: [linux/amd64, linux/arm64]"
        return
    image, platforms = seen.published
    listed = ", ".join(map(str, platforms))
    yield f"# check: upstream publishes {_comment(image)} itself, for {listed}"
    yield f"# platforms: [{listed}]"


def _image(seen: Seen) -> Iterator[str]:
    if not isinstance(seen.address, GitHubReleases | GitLabTags | GitTags):
        yield f"source: {{folder: {seen.name}}} # the Dockerfile in it takes upstream's image as it is"
        yield 'args: {VERSION: "{version}"}'
        yield from _smoke()
        return
    found = seen.dockerfile
    if found is None:
        yield "# check: the source of this version has no Dockerfile. Write one beside this file, and name it here:"
        yield f"# own-dockerfile: {seen.name}.Dockerfile"
        yield "context: ."
        return
    if found.context != ".":
        yield f"context: {scalar(found.context)}"
    yield f"dockerfile: {scalar(found.path)}"
    if found.others:
        yield f"# check: there are others: {_listed(found.others)}"
    if found.pinned:
        yield "unpin: true # a digest after FROM is often that of one platform; check, and remove it where it isn't"
    for one in found.needs[:10]:
        yield f"# check: it is built on {_comment(one.name)}: for every platform?"
    if found.needs:
        yield "# what isn't is built before, as an image of its own, and takes its place: bases: {name/in-from: image}"
    for name, value in found.arguments[:20]:
        if _of_a_release(value, seen.highest):
            yield f"# check: args: {{{name}: …}} with {{version}} and {{arch}}, as it is now: {_comment(value)}"
    if any(value.startswith("https://") for _, value in found.arguments):
        yield "# what it downloads must be there before, and stay the same: requires: [URL], checksums: [{url: URL}]"
    yield from _smoke()


def _of_a_release(value: str, highest: Version | None) -> bool:
    """Whether the value of an argument speaks of a version, an architecture or a place: that has to be set."""
    return bool(re.search(r"amd64|x86_64|x64|arm64|aarch64|https?://", value)) or str(highest) in value


def _smoke() -> Iterator[str]:
    yield "# check: a command that shows that the program runs, on every platform:"
    yield "# smoke:"
    yield "#   command: [/path/to/program, --version]"
    yield '#   output: "{version}"'


def scalar(text: str) -> str:
    """`text` as a YAML scalar that reads back as just that text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # a JSON string is a double-quoted scalar (YAML 1.2, 1.3); what isn't ASCII is written as it is
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    """`text` in a comment: one line, whatever it holds."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(map(_comment, paths[:_LISTED])) + more
