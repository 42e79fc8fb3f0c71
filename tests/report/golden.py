"""Whole outputs, compared with files that people have looked at."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def same_as_golden(shown: str, name: str) -> None:
    """Fails unless `shown` is what `golden/<name>` holds; GOLDEN=write in the environment writes it to be looked at."""
    file = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(shown, encoding="utf-8", newline="")
    assert shown == file.read_bytes().decode()
