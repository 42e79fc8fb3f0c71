"""What the apps and versions of a bench are called."""

from __future__ import annotations

VERSIONS = tuple(f"1.{minor}.0" for minor in range(50))


def app_name(number: int) -> str:
    """`app0000` and so on, which sort as their numbers do."""
    return f"app{number:05d}"
