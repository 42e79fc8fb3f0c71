"""Where in a change something failed: what follows differs."""

from __future__ import annotations

from reconciler.errors import BuildError, ReconcileError, ToolError


class _Wrapped(ReconcileError):
    """Carries the error that happened, so that it is shown as it is."""

    def __init__(self, error: ReconcileError) -> None:
        super().__init__(error.what, where=error.where, todo=error.todo)
        self.error = error

    def __str__(self) -> str:
        return str(self.error)

    @property
    def log(self) -> str:
        """The log of the program that failed; empty where none did."""
        return self.error.log if isinstance(self.error, ToolError) else ""


class BuildFailed(_Wrapped):
    """The release couldn't be built, or its smoke test failed: this recipe backs off.

    `blame`: what else is down (the registry, the builder); then nothing is held against the recipe.
    """

    def __init__(self, error: ReconcileError, blame: str = "") -> None:
        super().__init__(error)
        self.blame = blame


class SignerFailed(_Wrapped):
    """Nothing can be signed or verified: what is built now would wait unsigned, so no more is."""


def mine(error: ReconcileError) -> bool:
    """Whether it is about the recipe or its build, and will be the same the next time."""
    return isinstance(error, BuildError | ToolError)
