"""Apply, beside the very commands that it ran, run again by hand: by a perfect scheduler with as many jobs.

In a first run, programs that stand in for docker and cosign write down how they are called, with copies of the files
that they are given, and then run the real one. In each of the measured runs apply goes first, with the real programs,
and then the same commands are run by the plainest scheduler that there is: it knows
what needs what, and starts everything at the first moment at which it may. What apply does besides (look, check out,
assemble, attach, verify, tag, record) is then what it takes longer.

A build here waits rather than works: on a small machine, working builds would measure how they disturb each other.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError
from reconciler.local import binfmt, builder, engine, images
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.engine import Engine
from reconciler.local.registry import process
from reconciler.local.sigstore import Key
from reconciler.local.tools import Tools, obtain
from tests.bench import upstream
from tests.bench.cost import environment, run
from tests.bench.names import app_name
from tests.bench.scene import RECONCILE
from tests.bench.table import Row, at_most, seen

JOBS = 2
SIGNERS = 4  # as apply has them
SECONDS = 4

_STAND_IN = """\
#!/bin/sh
here=$(mktemp -d '{log}/XXXXXX')
date +%s%N > "$here/began"
for word; do
    printf '%s\\0' "$word" >> "$here/argv"
    path=${{word#--*=}}
    case "$path" in /*) [ -e "$path" ] && mkdir -p "$here/files" && cp -r --parents "$path" "$here/files/";; esac
done
'{program}' "$@"
status=$?
date +%s%N > "$here/ended"
exit $status
"""
_DOCKERFILE = """\
FROM {base}
ARG VERSION
RUN sleep {seconds} && echo "$VERSION" > /version
"""


@dataclass(frozen=True, slots=True)
class Command:
    """One call of a program as apply made it: `words` with copies of the files, and when it ran (seconds)."""

    program: str
    words: tuple[str, ...]
    began: float
    ended: float
    folder: Path

    @property
    def is_build(self) -> bool:
        """Whether a slot is needed for it."""
        return self.words[:2] == ("buildx", "build")

    @property
    def is_effect(self) -> bool:
        """Whether it builds or signs, rather than looks at what is there."""
        return self.is_build or (self.words[0] in ("sign", "attest-blob") and "--help" not in self.words)

    def app(self, apps: Sequence[str]) -> str:
        """Which app it is for: the one that its words name, or the statement that it signs."""
        said = " ".join(self.words)
        said += "".join(path.read_text(errors="replace") for path in self.folder.rglob("*.statement.json"))
        return next(app for app in apps if f"/{app}" in said)


def apply(folder: Path, *, repeats: int, builds: int) -> Iterator[Row]:
    """So many apps with one version each, for two platforms, on an engine and a registry of their own."""
    wanted = (*engine.TOOLS, *builder.TOOLS, Tool.COSIGN, *images.tools_for(), *binfmt.tools_for(images.PLATFORMS))
    tools = obtain(*wanted)
    folder.mkdir(parents=True)
    with (
        binfmt.emulation(images.PLATFORMS, tools),
        Engine(tools) as started,
        builder.private_builder(tools, started, platforms=images.PLATFORMS) as by,
        process.serve(folder / "registry") as registry,
        upstream.serving(folder / "upstream", builds, 1) as source,
    ):
        _desired(folder, registry.host, source.url, images.make(tools, by, registry.host), builds)
        bench = _Bench(folder, tools, by, source, tuple(map(app_name, range(builds))))
        ours: list[float] = []
        theirs: list[float] = []
        commands = bench.recorded()
        for number in range(1, repeats + 1):
            ours.append(bench.ours(number))
            theirs.append(bench.by_hand(number, commands))
    effects = [command for command in commands if command.is_effect]
    signed = sum(not command.is_build for command in effects)
    yield seen(
        "apply",
        f"{len(effects) - signed} builds of {SECONDS} s, {JOBS} at once, and {signed} calls of cosign, by hand",
        f"{statistics.median(theirs):.1f} s",
        wall=statistics.median(theirs),
    )
    yield seen(
        "apply", "reconcile apply, the whole process", f"{statistics.median(ours):.1f} s", wall=statistics.median(ours)
    )
    ratio = statistics.median(one / hand for one, hand in zip(ours, theirs, strict=True))
    yield at_most("apply", "apply over the same commands by hand", ratio, 1.05, "x", 3)


def _desired(folder: Path, host: str, url: str, base: images.BaseImages, apps: int) -> None:
    place = folder / "desired"
    place.mkdir()
    key = Key.generate()
    (place / "cosign.pub").write_text(key.public_pem)
    (folder / "cosign.key").write_text(key.cosign_pem(""))
    (place / "Dockerfile").write_text(_DOCKERFILE.format(base=base.busybox, seconds=SECONDS))
    (place / "mirror.yaml").write_text(
        f"registry: {host}\nnamespace: NAMESPACE\nsource: https://mirror.example/mirror\n"
        f"signing:\n  key: {{public: cosign.pub}}\nsbom-generator: {base.scanner}\n"
    )
    for app in map(app_name, range(apps)):
        (place / f"{app}.yaml").write_text(
            f"app: {app}\nupstream: {{github: acme/{app}, tag: 'v{{version}}'}}\nwindow: 1\n"
            f"images:\n  {app}:\n    source: {{git: '{url}/acme/{app}.git', ref: 'v{{version}}'}}\n"
            f"    own-dockerfile: Dockerfile\n    args: {{VERSION: '{{version}}'}}\n"
        )


@dataclass(frozen=True, slots=True)
class _Bench:
    folder: Path
    tools: Tools
    builder: Builder
    upstream: upstream.Upstream
    apps: tuple[str, ...]

    @property
    def env(self) -> dict[str, str]:
        path = {"PATH": f"{self.tools.search_path}{os.pathsep}{os.environ['PATH']}"}
        mine = {"DOCKER_CONFIG": str(self.builder.docker_config), "COSIGN_PASSWORD": "", **self.upstream.env}
        return environment(self.folder, {**path, **mine})

    def recorded(self) -> list[Command]:
        """What an apply runs; it also warms what the engine keeps."""
        log = self.folder / "log"
        log.mkdir()
        for name, program in (("docker", self.builder.docker), ("cosign", self.tools[Tool.COSIGN])):
            stand_in = log / name
            stand_in.write_text(_STAND_IN.format(log=log, program=program))
            stand_in.chmod(0o755)
        self.ours(0, f"{log}{os.pathsep}")
        return _commands(log)

    def ours(self, number: int, first: str = "") -> float:
        """Apply into an empty namespace, `first` on the search path: its wall time."""
        place = self.folder / f"desired-{number}"
        shutil.copytree(self.folder / "desired", place)
        mirror = place / "mirror.yaml"
        mirror.write_text(mirror.read_text().replace("NAMESPACE", f"mirror{number}"))
        words = ["--desired", place, "--state", self.folder / f"state-{number}", "--allow-private"]
        words += ["--builder", self.builder.name, "--jobs", JOBS, "--key", self.folder / "cosign.key"]
        words += ["--build-flag=--no-cache", "--logs", self.folder / f"logs-{number}"]
        return run([RECONCILE, "apply", *words], env={**self.env, "PATH": first + self.env["PATH"]}).wall

    def by_hand(self, number: int, commands: list[Command]) -> float:
        """The same commands, each at the first moment at which what it needs is there: their wall time.

        Needed are: for a build, a free slot; for the signature of an image, its build; for all else of an app, its
        builds. At most `SIGNERS` sign at a time.
        """
        by_app: dict[str, list[Command]] = defaultdict(list)
        for command in sorted((c for c in commands if c.is_effect), key=lambda c: c.began):
            by_app[command.app(self.apps)].append(command)

        def again(command: Command) -> None:
            # pushed to another repository: what is there already needn't be pushed
            words = [word.replace("/mirror0/", f"/hand{number}/") for word in command.words]
            program = self.builder.docker if command.program == "docker" else self.tools[Tool.COSIGN]
            if not command.is_build:
                words = list(command.words)
            done = subprocess.run([program, *words], env=self.env, capture_output=True, check=False)
            if done.returncode:
                raise ToolError(f"by hand, {program} {' '.join(words)} fails: {done.stderr.decode()[-2000:]}")

        began = time.perf_counter()
        with ThreadPoolExecutor(JOBS) as slots, ThreadPoolExecutor(SIGNERS) as signers, ThreadPoolExecutor() as apps:
            todo = []
            for mine in by_app.values():
                building = [slots.submit(again, command) for command in mine if command.is_build]
                todo.append(apps.submit(_signed, mine, building, signers, again))
            for done in todo:
                done.result()
        return time.perf_counter() - began


def _signed(
    mine: list[Command], building: list[Future[None]], signers: ThreadPoolExecutor, again: Callable[[Command], None]
) -> None:
    """Signs what an app's builds have pushed."""
    signing = [command for command in mine if not command.is_build]
    started = []
    # the first signature is of the image that is built first, and so on
    for build, command in zip(building, signing, strict=False):
        build.result()
        started.append(signers.submit(again, command))
    started += [signers.submit(again, command) for command in signing[len(building) :]]
    for one in started:
        one.result()


def _commands(log: Path) -> list[Command]:
    found = []
    for folder in sorted(path for path in log.iterdir() if path.is_dir()):
        words = [_moved(word, folder) for word in (folder / "argv").read_text().split("\0")[:-1]]
        began, ended = (int((folder / name).read_text()) / 1e9 for name in ("began", "ended"))
        program = "docker" if words[:1] == ["buildx"] else "cosign"
        found.append(Command(program, tuple(words), began, ended, folder))
    return found


def _moved(word: str, folder: Path) -> str:
    """The word with the path of the copy instead of the file's; what wasn't there is what the program was to write."""
    before, _, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    if not path.startswith("/"):
        return word
    copy = folder / "files" / path.removeprefix("/")
    copied = copy if copy.exists() else folder / Path(path).name
    return f"{before}={copied}" if before else str(copied)
