"""The programs on this machine, and the builder: what plan and apply start."""

from __future__ import annotations

import platform as machine
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.apply import process
from reconciler.apply.buildx import BuildOptions, parse_inspect
from reconciler.apply.look import emulated
from reconciler.apply.toolbox import Toolbox
from reconciler.commands.doctor.finding import Check, Finding, fail, ok, warn
from reconciler.errors import ToolError, ToolMissing
from reconciler.model.platform import Platform

_NUMBER = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_NEW_BUILDER = "docker buildx create --driver docker-container --use --bootstrap"
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is needed: how it says its version, the least one that will do, and where it is had."""

    what: str
    argv: tuple[str, ...]
    least: tuple[int, int]
    todo: str


# git: http.curloptResolve, which pins the checked address, came with 2.37; buildx: --annotation came with 0.12
PROGRAMS = (
    Program("git", ("git", "--version"), (2, 37), "install git 2.37 or newer"),
    Program(
        "docker", ("docker", "--version"), (23, 0), "install Docker's command line (docs.docker.com/engine/install)"
    ),
    Program(
        "buildx",
        ("docker", "buildx", "version"),
        (0, 12),
        "install buildx 0.12 or newer (github.com/docker/buildx, its releases)",
    ),
)


def checks(tools: Toolbox, builder: str, platforms: Iterable[Platform]) -> list[Check]:
    """All about this machine; `platforms` are those that the mirror wants."""
    wanted = tuple(sorted(set(platforms)))

    def program(one: Program) -> Check:
        async def look() -> Sequence[Finding]:
            return [await _program(tools, one)]

        return Check(one.what, look)

    async def look_at_builder() -> Sequence[Finding]:
        return await _builder(tools, BuildOptions(builder=builder), wanted)

    return [Check("python", _python), *map(program, PROGRAMS), Check("builder", look_at_builder)]


async def _python() -> Sequence[Finding]:
    # an older one than 3.11 wouldn't have come this far
    return [ok("python", f"{machine.python_version()} ({sys.executable})")]


async def _program(tools: Toolbox, one: Program) -> Finding:
    try:
        said = await _ask(tools, one.argv, one.what)
    except ToolMissing:
        return fail(one.what, f"{one.argv[0]} isn't on PATH", one.todo)
    except ToolError as error:
        return fail(one.what, _first(error), one.todo)
    match = _NUMBER.search(said)
    if match is None:
        return warn(one.what, f"it says no version: {said[:80]!r}", f"make sure that it isn't old: {one.todo}")
    least = ".".join(map(str, one.least))
    if (int(match[1]), int(match[2])) < one.least:
        return fail(one.what, f"{match[0]} is older than {least}", one.todo)
    return ok(one.what, match[0])


async def _ask(tools: Toolbox, argv: Sequence[str], name: str) -> str:
    """What a program prints when it is asked for its version."""
    program = tools.docker if argv[0] == "docker" else argv[0]
    done = await process.run(
        [program, *argv[1:]], name=name, env=tools.environment(), limit=tools.limits.ask, capture=True
    )
    return done.output.decode(errors="replace").strip()


async def _builder(tools: Toolbox, options: BuildOptions, platforms: Sequence[Platform]) -> Sequence[Finding]:
    """The builder as buildx knows it; it isn't started here, as that would pull an image."""
    name = options.builder or "the current builder"
    todo = f"make one with `{_NEW_BUILDER}`, or name one by --builder"
    try:
        done = await tools.buildx(
            ["inspect", *options.builder_words], name="docker buildx inspect", limit=tools.limits.ask, capture=True
        )
    except ToolError as error:
        return [fail("builder", f"{name} can't be used: {_first(error)}", todo)]
    text = done.output.decode(errors="replace")
    builder = parse_inspect(text)
    name = builder.name or name
    if builder.driver in ("docker", ""):
        return [fail("builder", f"{name} has the driver `docker`, which can't push by digest", todo)]
    if problem := _field(text, "Error"):
        return [fail("builder", f"{name} ({builder.driver}): {problem}", "see `docker buildx inspect --bootstrap`")]
    if not builder.platforms:
        detail = f"{name} ({builder.driver}) isn't started, so what it can build for isn't known"
        return [warn("builder", detail, f"start it with `docker buildx inspect --bootstrap {builder.name}`")]
    found = [ok("builder", f"{name} ({builder.driver}), pushes by digest")]
    return [*found, *(_platform(platform, builder.platforms, name) for platform in platforms)]


def _first(error: ToolError) -> str:
    """The first line that a program said, for docker's last one is only where its help is."""
    return next((line.strip() for line in error.tail if line.strip()), error.what)


def _field(text: str, key: str) -> str:
    """The first value of a key in what `docker buildx inspect` prints; empty where there is none."""
    match = re.search(rf"^{key}:[ \t]*(\S.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _platform(platform: Platform, builds: frozenset[Platform], builder: str) -> Finding:
    what = str(platform)
    native = platform.os == "linux" and platform.architecture == _MACHINES.get(machine.machine())
    if platform in builds:
        how = "" if native or not emulated(platform) else ", emulated on this machine: slow for what compiles"
        return ok(what, f"{builder} builds for it{how}")
    if emulated(platform):
        return ok(what, f"emulated on this machine, though {builder} doesn't list it")
    return fail(
        what,
        f"{builder} can't build for it",
        "add a native node (docker buildx create --append), or emulate it: "
        f"docker run --privileged --rm tonistiigi/binfmt --install {platform.architecture}",
    )
