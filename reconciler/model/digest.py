"""Content addresses."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from reconciler.model.text import Text

_GRAMMAR = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest(Text):
    """`sha256:<64 hex>` or `sha512:<128 hex>` (image-spec descriptor.md, registered algorithms)."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that `text` names; ValueError for anything but lower-case sha256 or sha512."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} is no digest: write sha256: and 64 lower-case hex digits")
        return cls(match[1] or match[3], match[2] or match[4])

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The sha256 digest of `data`."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        """Whether these are the bytes that this digest names."""
        return hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest() == self.hex

    @property
    def fallback_tag(self) -> str:
        """The tag with its referrers where there is no referrers API (distribution-spec, referrers tag schema)."""
        return f"{self.algorithm}-{self.hex[:64]}"

    @property
    def short(self) -> str:
        """Enough of it for people to compare: `sha256:1a2b3c4d5e6f`."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
