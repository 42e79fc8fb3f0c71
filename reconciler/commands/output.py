"""Where a command's artefact goes: a file, whole or not at all, or stdout."""

from __future__ import annotations

from pathlib import Path

from reconciler.commands import Printed
from reconciler.errors import ReconcileError
from reconciler.record import replace_file


def written(content: str, output: Path | None, status: int) -> Printed:
    """`content` in the file `output`, or to be printed where there is none."""
    if output is None:
        return Printed(content, status)
    try:
        replace_file(output, content.encode())
    except OSError as error:
        raise ReconcileError(
            f"it can't be written: {error.strerror}", where=str(output), todo="name a file in a folder that is there"
        ) from None
    return Printed("", status)
