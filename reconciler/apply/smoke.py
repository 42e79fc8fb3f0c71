"""The built image run once per platform, before anything is tagged: as a build step, so that any builder can do it.

    FROM repository@digest AS image
    FROM image AS run
    RUN [command]
    FROM scratch AS program
    COPY --from=image [the command's program]

The program is taken out first and the header of its file read here: an amd64 program in an arm64 image runs well on an
amd64 machine that emulates arm64, and nowhere else.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.apply.buildx import BuildOptions
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import BuildError, ToolError, ToolMissing, ToolTimeout
from reconciler.model.platform import Platform
from reconciler.model.recipe import Smoke
from reconciler.model.reference import DigestRef
from reconciler.model.template import for_platform

# elf(5), e_machine: the architectures of image-spec config.md (Go's GOARCH)
_MACHINES = {3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}
_NAMES = {"386": "x86", "amd64": "x86-64", "arm": "32-bit Arm", "arm64": "64-bit Arm"}
_SEARCHED = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_STATUS = re.compile(r"did not complete successfully: exit code: (\d+)")
_MISSING = re.compile(r"not found|no such file", re.IGNORECASE)
_NOT_FOR_THIS = re.compile(r"exec format error", re.IGNORECASE)
_STEP = re.compile(r"#(\d+) \[(?:\S+ )?run 1/1\] RUN ")
_SAID = re.compile(r"#(\d+) \d+\.\d+ ?(.*)")
_SPECIAL = re.compile(r"[\[\]*?\\]")
_SHOWN = 8


def dockerfile(smoke: Smoke, image: DigestRef, platform: Platform) -> str:
    """The build with a stage that runs the command (`run`) and one that has the program that it names (`program`)."""
    command = [for_platform(word, platform) for word in smoke.command]
    return (
        f"FROM {image} AS image\nFROM image AS run\nRUN {json.dumps(command)}\n"
        f"FROM scratch AS program\nCOPY --from=image {json.dumps([*_places(command[0]), '/program/'])}\n"
    )


def _places(program: str) -> Iterator[str]:
    """Where the program may be: a pattern, unlike a name, may match nothing; of several the last is taken."""
    if program.startswith("/"):
        yield program
        return
    for folder in _SEARCHED:
        path = _SPECIAL.sub("?", posixpath.join(folder, program))
        yield f"/[{path[1]}]{path[2:]}"


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """One command for one image on one platform. `where` names the release in errors."""

    tools: Toolbox
    options: BuildOptions
    smoke: Smoke
    image: DigestRef
    platform: Platform
    where: str

    async def run(self) -> None:
        """BuildError where the program is for another machine, or its status or output isn't as the recipe says.

        Raises ToolError or ToolTimeout where the builder itself fails.
        """
        folder = self.tools.scratch(f"smoke {self.where} {self.platform}")
        try:
            (folder / "context").mkdir(parents=True)
            (folder / "Dockerfile").write_text(dockerfile(self.smoke, self.image, self.platform), encoding="utf-8")
            await self._check_machine(folder)
            await self._check_result(folder)
        except OSError as error:
            raise ToolError(f"{self._name} can't be prepared: {error.strerror}", where=str(folder)) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _name(self) -> str:
        return f"smoke test of {self.where} on {self.platform}"

    def _words(self, folder: Path, target: str, output: str) -> Sequence[str]:
        return [
            "build",
            *self.options.builder_words,
            f"--platform={self.platform}",
            f"--target={target}",
            f"--output={output}",
            "--provenance=false",
            "--sbom=false",
            # a result from the cache would be no test; stages before it have nothing to run
            "--no-cache",
            *self.options.flags,
            f"--file={folder / 'Dockerfile'}",
            "--progress=plain",
            "--",
            str(folder / "context"),
        ]

    async def _check_machine(self, folder: Path) -> None:
        out = folder / "out"
        words = self._words(folder, "program", f"type=local,dest={out}")
        try:
            await self.tools.buildx(words, name=f"{self._name} (program)", limit=self.tools.limits.smoke)
        except (ToolMissing, ToolTimeout):
            raise
        except ToolError as error:
            # then the run says it better
            if any(_MISSING.search(line) for line in error.tail):
                return
            raise
        for path in (out / "program").glob("*"):
            machine = machine_of(path)
            if machine and machine != self.platform.architecture:
                raise self._failed(
                    f"exec format error: the {self.platform.architecture} image holds "
                    f"{_article(_NAMES.get(machine, machine))} program ({path.name})"
                )

    async def _check_result(self, folder: Path) -> None:
        words = self._words(folder, "run", "type=cacheonly")
        status, log, last = 0, "", ""
        try:
            log = (await self.tools.buildx(words, name=self._name, limit=self.tools.limits.smoke)).log
        except (ToolMissing, ToolTimeout):
            raise
        except ToolError as error:
            last = "\n".join(error.tail)
            match = _STATUS.search(last)
            if match is None and not _NOT_FOR_THIS.search(last):
                raise
            status, log = int(match[1]) if match else 255, error.log
        output = _read(log)
        shown = [line for line in output.splitlines() if line.strip()][-_SHOWN:]
        if status and _NOT_FOR_THIS.search(output + last):
            what = f"exec format error: the {self.platform.architecture} image holds a program for another machine"
            raise self._failed(what, shown, log)
        if status != self.smoke.status:
            raise self._failed(f"the command ended with status {status}, not {self.smoke.status}", shown, log)
        wanted = for_platform(self.smoke.output, self.platform)
        if wanted not in output:
            raise self._failed(f"the command's output doesn't hold {wanted[:200]!r}", shown, log)

    def _failed(self, what: str, shown: Sequence[str] = (), log: str = "") -> BuildError:
        lines = [f"it ran {json.dumps(list(self.smoke.command))[:200]}", *(f"| {line}" for line in shown)]
        return BuildError(
            f"the smoke test on {self.platform} failed: {what}",
            where=self.where,
            todo="\n  ".join([*lines, f"all of it: {log}"] if log else lines),
        )


def _read(log: str) -> str:
    return output_of(Path(log).read_text(encoding="utf-8"))


def output_of(progress: str) -> str:
    """What the command wrote, out of `--progress=plain` (BuildKit, util/progress)."""
    step, lines = "", []
    for line in progress.splitlines():
        if match := _STEP.match(line):
            step = match[1]
        elif step and (match := _SAID.match(line)) and match[1] == step:
            lines.append(match[2])
    return "\n".join(lines)


def machine_of(path: Path) -> str:
    """The architecture that a program is for by its ELF header; empty where it has none (a script)."""
    try:
        # the image is hostile: its links are not followed, its pipes not waited for
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        head = file.read(20) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return ""
    # EI_DATA: 1 is little-endian
    return _MACHINES.get(int.from_bytes(head[18:20], "little" if head[5] == 1 else "big"), "")


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeioux' else 'a'} {name}"
