"""Placeholders in the desired state: a closed set, filled in with values that can't hold anything surprising."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.model.platform import Platform
from reconciler.model.release import Release

RELEASE_PLACEHOLDERS = ("version", "tag", "commit", "major", "minor")
PLATFORM_PLACEHOLDERS = ("os", "arch", "variant", "platform")
PLACEHOLDERS = RELEASE_PLACEHOLDERS + PLATFORM_PLACEHOLDERS

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def placeholders(text: str) -> tuple[str, ...]:
    """The names in braces in `text`, known or not, in order."""
    return tuple(_PLACEHOLDER.findall(text))


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def for_release(text: str, release: Release) -> str:
    """`text` with `version`, `tag`, `commit`, `major` and `minor` filled in; platform placeholders stay."""
    version = release.version
    return _fill(
        text,
        {
            "version": str(version),
            "tag": release.tag,
            "commit": release.commit,
            "major": version.major,
            "minor": version.minor,
        },
    )


def for_platform(text: str, platform: Platform) -> str:
    """`text` with `os`, `arch`, `variant` and `platform` filled in: what is left of a template after `for_release`."""
    return _fill(
        text,
        {
            "os": platform.os,
            "arch": platform.architecture,
            "variant": platform.variant,
            "platform": str(platform),
        },
    )
