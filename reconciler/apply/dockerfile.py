"""What a Dockerfile is built on: the images that its FROM lines and `--from` flags name.

Read as BuildKit does (docs.docker.com, Dockerfile reference), as far as names of images go: ARG before the first FROM,
`$NAME`, `${NAME}`, `${NAME:-word}`, stages, line continuation, comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.errors import BuildError
from reconciler.model.recipe import Recipe

_ESCAPE = re.compile(r"^#\s*escape\s*=\s*`\s*$", re.IGNORECASE | re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*(?:\n|$)", re.MULTILINE)
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(.+)", re.IGNORECASE)
_PAIR = re.compile(r"""([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?""")
_COPY = re.compile(r"(?:COPY|ADD)\s+(?:--\S+\s+)*?--from=(\S+)", re.IGNORECASE)
_MOUNT = re.compile(r"--mount=\S*?\bfrom=([^,\s]+)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")
_PIN = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Needed:
    """An image that a Dockerfile is built on: as it is written there, and what that names."""

    written: str
    name: str

    @property
    def pinned(self) -> bool:
        """Whether it names one digest, which may be that of a single platform."""
        return _PIN.search(self.name) is not None

    @property
    def bare(self) -> str:
        """The name without digest and tag."""
        name = _PIN.sub("", self.name)
        head, slash, last = name.rpartition("/")
        return head + slash + last.partition(":")[0]


def images(text: str, args: Mapping[str, str] | None = None) -> tuple[Needed, ...]:
    """The images that aren't stages of the Dockerfile itself, each once, in order; `args` override its ARG lines."""
    given = dict(args or {})
    stages: set[str] = set()
    known: dict[str, str] = {}
    found: dict[str, Needed] = {}
    begun = False
    for line in _lines(text):
        if (match := _ARG.match(line)) and not begun:
            for name, value in _PAIR.findall(match[1]):
                known[name] = given.get(name, _expanded(value, known))
        elif match := _FROM.match(line):
            begun = True
            _add(found, match[1], known, stages)
            if match[2]:
                stages.add(match[2].lower())
        else:
            for written in (*_COPY.findall(line), *_MOUNT.findall(line)):
                if not written.isdigit():
                    _add(found, written, known, stages)
    return tuple(found.values())


def _add(found: dict[str, Needed], written: str, known: Mapping[str, str], stages: set[str]) -> None:
    name = _expanded(written, known)
    if name and name.lower() not in stages and name != "scratch":
        found.setdefault(name, Needed(written, name))


def _lines(text: str) -> Iterator[str]:
    """Instructions, each in one line; comments are dropped, in the middle of an instruction too."""
    escape = "`" if _ESCAPE.search(text.partition("\nFROM")[0]) else "\\"
    joined = _COMMENT.sub("", text.replace("\r\n", "\n"))
    for line in re.sub(rf"{re.escape(escape)}[ \t]*\n", " ", joined).split("\n"):
        if stripped := line.strip():
            yield stripped


def _bare(value: str) -> str:
    return value[1:-1] if value[:1] in "\"'" and value[-1:] == value[:1] else value


def _expanded(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda m: known.get(m[1] or m[2]) or m[3] or "", _bare(text))


def check_bases(recipe: Recipe, text: str, where: str) -> None:
    """BuildError where the Dockerfile names none of a recipe's bases: buildx would use upstream's image without a word.

    What can't be read for sure is given the benefit of the doubt.
    """
    needed = images(text, dict(recipe.args))
    for name, _ in recipe.bases:
        if any(name in (one.name, one.bare) for one in needed) or name in text:
            continue
        named = ", ".join(one.name for one in needed) or "no image"
        raise BuildError(
            f"{recipe.dockerfile} isn't built on {name}, which `bases` replaces; it names {named}",
            where=where,
            todo="look at the FROM lines in that release's source, and change `bases` in the desired file",
        )
