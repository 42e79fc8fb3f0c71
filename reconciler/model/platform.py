"""Platforms, and what it means that one satisfies another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from reconciler.model.text import Text

_PART = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)
# what a missing variant means, and which variant is the one that needs no name (containerd platforms/database.go)
_DEFAULT_VARIANT = {"arm": "v7"}
_NAMELESS_VARIANT = {"arm64": "v8", "amd64": "v1"}


@dataclass(frozen=True, slots=True, order=True)
class Platform(Text):
    """`os/architecture[/variant]` in its normal form: `linux/arm64/v8` is `linux/arm64`, `linux/arm` is `linux/arm/v7`.

    Build one with `parse` or `of`, which normalise, not with the constructor.
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The platform that `text` names; ValueError where it isn't `os/architecture[/variant]`."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{text[:80]!r} is no platform: write os/architecture[/variant], like linux/arm64")
        return cls.of(*parts)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Self:
        """The normal form of what a descriptor or a config says (image-spec image-index.md, platform)."""
        variant = variant or _DEFAULT_VARIANT.get(architecture, "")
        return cls(os, architecture, "" if variant == _NAMELESS_VARIANT.get(architecture) else variant)

    def satisfies(self, wanted: Platform) -> bool:
        """Whether an image for this platform is what `wanted` asks for: the same after normalisation."""
        return self == wanted

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}/{self.variant}" if self.variant else f"{self.os}/{self.architecture}"
