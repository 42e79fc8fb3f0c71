"""Where a command's artefact goes: a file, whole or not at all, or stdout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.apply.lines import Redactor
from reconciler.commands import Printed, Settings
from reconciler.errors import GitHubError, ReconcileError
from reconciler.record import replace_file


def written(settings: Settings, content: str, output: Path | None, status: int) -> Printed:
    """`content`, without any secret, in the file `output`, or to be printed where there is none."""
    if output is None:
        return Printed(content, status)
    try:
        replace_file(output, Redactor(settings.secrets)(content).encode())
    except OSError as error:
        raise ReconcileError(
            f"it can't be written: {error.strerror}", where=str(output), todo="name a file in a folder that is there"
        ) from None
    return Printed("", status)


def told(settings: Settings, tell: Callable[[Mapping[str, str], Redactor], object]) -> None:
    """Tells GitHub Actions; that this fails keeps nobody from their plan or report."""
    try:
        tell(settings.env, Redactor(settings.secrets))
    except GitHubError as error:
        settings.say(f"reconcile: {error}")
