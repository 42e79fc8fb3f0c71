"""The two structured headers of the distribution API, read strictly: WWW-Authenticate and Link."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_MAX = 16 * 1024  # a header longer than this is an attack, not a challenge
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[ \t,]*({_WORD})", re.ASCII)
_PARAM = re.compile(rf'[ \t]*({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*(?=,|$)', re.DOTALL)
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)", re.ASCII)
_COMMAS = re.compile(r"[ \t]*,[ \t,]*")
# possessive: a hostile header must not make it backtrack
_LINK = re.compile(r'[ \t]*+<([^<>\x00-\x20\x7f]*+)>[ \t]*+((?:;(?:[^,"]++|"[^"]*+")*+)?)(?:,|$)')
_NEXT = re.compile(r';[ \t]*rel[ \t]*=[ \t]*(?:next(?![^\s;])|"(?:[^"]*[ \t])?next(?:[ \t][^"]*)?")', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; `scheme` and the names of `parameters` in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """The challenges in all WWW-Authenticate headers of an answer, in order (RFC 9110 11.6.1).

    ValueError where one doesn't follow the grammar, names a parameter twice, or holds control characters.
    """
    found: list[Challenge] = []
    for value in values:
        if len(value) > _MAX or any(ord(c) < 0x20 and c != "\t" for c in value):
            raise ValueError("its WWW-Authenticate header is none")
        position = 0
        while position < len(value):
            challenge, position = _challenge(value, position)
            found.append(challenge)
    return tuple(found)


def _challenge(value: str, position: int) -> tuple[Challenge, int]:
    match = _SCHEME.match(value, position)
    if match is None:
        raise ValueError("its WWW-Authenticate header has no scheme where one should be")
    scheme, position = match[1].lower(), match.end()
    if position < len(value) and value[position] not in " \t,":
        raise ValueError("its WWW-Authenticate header has no space after a scheme")
    parameters: dict[str, str] = {}
    single = _TOKEN68.match(value, position)
    if single is not None:
        position = single.end()
    while single is None and (parameter := _PARAM.match(value, position)) is not None:
        name = parameter[1].lower()
        if name in parameters:
            raise ValueError(f"its WWW-Authenticate header says {name[:40]} twice")
        quoted = parameter[3]
        parameters[name] = parameter[2] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        position = parameter.end()
        comma = _COMMAS.match(value, position)
        # what follows the comma is this challenge's next parameter, or the next challenge
        if comma is None or _PARAM.match(value, comma.end()) is None:
            break
        position = comma.end()
    rest = _COMMAS.match(value, position)
    if rest is not None:
        position = rest.end()
    elif value[position:].strip():
        raise ValueError("its WWW-Authenticate header is garbled")
    else:
        position = len(value)
    return Challenge(scheme, parameters), position


def next_link(values: Sequence[str]) -> str:
    """The target of the first link whose relation is `next`, as written; empty where there is none (RFC 8288).

    ValueError where a header doesn't follow the grammar: a page that can't be found is not the end of a list.
    """
    for value in values:
        if len(value) > _MAX:
            raise ValueError("its Link header is too long")
        position = 0
        while position < len(value):
            match = _LINK.match(value, position)
            if match is None:
                raise ValueError("its Link header is garbled")
            if _NEXT.search(match[2]):
                return match[1]
            position = match.end()
    return ""
