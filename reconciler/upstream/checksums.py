"""What upstream says that a download must be, and what it is."""

from __future__ import annotations

import re

from reconciler.errors import UpstreamError
from reconciler.upstream.http import Http, Take

_CAP = 1024 * 1024
_GIB = 1024 * 1024 * 1024
_HEX = r"[0-9a-fA-F]{64}"
_BARE = re.compile(rf"\s*(?:sha256:)?({_HEX})\s*")
_LINE = re.compile(rf"({_HEX})[ \t]+\*?(.+)")  # GNU coreutils: `hash  file`, `hash *file`
_BSD = re.compile(rf"SHA(?:2-)?256 ?\((.+)\) ?= ?({_HEX})")


def find(text: str, name: str) -> str | None:
    """The sha256 that a checksum file has for the file `name`; None where it has none, or two that differ.

    Read are: nothing but the hex digits; `hash  file` and `hash *file` lines; BSD's `SHA256 (file) = hash` lines.
    """
    if bare := _BARE.fullmatch(text):
        return bare[1].lower()
    sums: set[str] = set()
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            digits, file = match[1], match[2]
        elif match := _BSD.fullmatch(line.strip()):
            file, digits = match[1], match[2]
        else:
            continue
        if file.strip().rpartition("/")[2] == name:
            sums.add(digits.lower())
    return sums.pop() if len(sums) == 1 else None


async def published(url: str, name: str, http: Http) -> str:
    """The sha256 of the file `name` in the checksum file at `url`; UpstreamError where it can't be told."""
    answer = await http.ask(url, cap=_CAP)
    if answer.status != 200:
        raise UpstreamError(f"the checksum file answers {answer.status}", where=url)
    found = find(answer.body.decode("utf-8", "replace"), name)
    if found is None:
        raise UpstreamError(f"the checksum file has no single sha256 for {name[:200]}", where=url)
    return found


async def sha256_of(url: str, http: Http, *, cap: int = 4 * _GIB, seconds: float = 900.0) -> str:
    """The sha256 of what is at `url`, which is read to its end; UpstreamError where it can't be."""
    # a transfer coding would hash to something else than what a build downloads
    answer = await http.ask(url, headers={"accept-encoding": "identity"}, take=Take.SHA256, cap=cap, seconds=seconds)
    if answer.status != 200:
        raise UpstreamError(f"answers {answer.status}", where=url)
    return answer.sha256
