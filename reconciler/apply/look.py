"""Look before you leap: what must hold before the first effect, all that doesn't in one error (rule 10)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from reconciler.apply.buildx import BuildOptions, inspect_builder
from reconciler.apply.cosign import Cosign
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import ReconcileError
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.plan.changes import Assembly, Change, MovePointer, Publish, Restore
from reconciler.registry.client import Registry
from reconciler.registry.push import NotGranted
from reconciler.together import together

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# how qemu calls what image-spec config.md calls `architecture`
_QEMU = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


class NotReady(ReconcileError):
    """Apply can't finish what it would begin, so it does nothing: everything that is missing."""


async def look(
    changes: Iterable[Change],
    *,
    registry: Registry,
    tools: Toolbox,
    cosign: Cosign | None,
    options: BuildOptions,
    local: bool,
) -> None:
    """Checks all that `changes` take: push rights, a builder for every platform, a signer, cosign 3.1.

    `cosign`: None where nothing is signed here. `local`: builds are made here, not elsewhere. Raises NotReady; nothing
    was done then.
    """
    changes = tuple(changes)
    checks = [_may_push(registry, repository) for repository in _repositories(changes)]
    if cosign is not None and any(_signs(change) for change in changes):
        checks.append(_signer(cosign))
    platforms = _platforms(changes)
    if local and platforms:
        checks.append(_builder(tools, options, platforms))
    missing = [text for found in await together(checks) for text in found]
    if missing:
        raise NotReady(
            "apply can't finish, so nothing was done",
            todo="\n  ".join(f"- {text}" for text in dict.fromkeys(missing)),
        )


def _repositories(changes: Iterable[Change]) -> list[Repository]:
    """Where something is written; those that are presumed new are settled one by one, before their build."""
    presumed = {c.target.repository for c in changes if isinstance(c, Publish) and c.presumed_new}
    return sorted({change.target.repository for change in changes} - presumed)


def _signs(change: Change) -> bool:
    return not isinstance(change, MovePointer) and not (isinstance(change, Restore) and not change.kinds)


def _platforms(changes: Iterable[Change]) -> frozenset[Platform]:
    """What is built, and where something is run."""
    built = {platform for change in changes if isinstance(change, Assembly) for platform in change.build}
    smoked = {
        platform
        for change in changes
        if isinstance(change, Assembly) and change.build and change.wanted.recipe.smoke
        for platform in change.wanted.platforms
    }
    return frozenset(built | smoked)


async def _may_push(registry: Registry, repository: Repository) -> list[str]:
    todo = "log in with an account that may push (docker login), or set the credentials in the environment"
    try:
        answer = await registry.can_push(repository)
    except ReconcileError as error:
        return [_line(error)]
    return [f"{answer.reason}; {todo}"] if isinstance(answer, NotGranted) else []


async def _signer(cosign: Cosign) -> list[str]:
    missing = [lacks] if (lacks := cosign.lacks()) else []
    try:
        await cosign.check()
    except ReconcileError as error:
        missing.append(_line(error))
    return missing


async def _builder(tools: Toolbox, options: BuildOptions, platforms: frozenset[Platform]) -> list[str]:
    try:
        builder = await inspect_builder(tools, options)
    except ReconcileError as error:
        return [_line(error)]
    name = builder.name or options.builder or "the current builder"
    if builder.driver in ("docker", ""):
        todo = "make one with `docker buildx create --driver docker-container --bootstrap`, and name it by --builder"
        return [f"the builder {name} has the driver `docker`, which can't push by digest: {todo}"]
    return [
        f"the builder {name} can't build for {platform}: add a native node to it (docker buildx create --append), or "
        f"emulate it (docker run --privileged --rm tonistiigi/binfmt --install {platform.architecture})"
        for platform in sorted(platforms)
        if platform not in builder.platforms and not emulated(platform)
    ]


def emulated(platform: Platform, folder: Path = BINFMT) -> bool:
    """Whether this machine's kernel runs that platform's programs by an emulator, inside containers too (flag F)."""
    qemu = _QEMU.get(platform.architecture)
    if platform.os != "linux" or qemu is None:
        return False
    try:
        entries = [entry.read_text(encoding="ascii", errors="replace") for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return False
    return any(_serves(text.splitlines(), qemu) for text in entries)


def _serves(lines: list[str], qemu: str) -> bool:
    """What an entry of binfmt_misc says of itself (kernel documentation, admin-guide/binfmt-misc)."""
    fields = dict(line.partition(" ")[::2] for line in lines)
    program = fields.get("interpreter", "").rpartition("/")[2]
    names = {f"qemu-{qemu}", f"qemu-{qemu}-static"}
    return lines[:1] == ["enabled"] and program in names and "F" in fields.get("flags:", "")


def _line(error: ReconcileError) -> str:
    return f"{error.reason}; {error.todo}" if error.todo else error.reason
