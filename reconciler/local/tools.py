"""The real tools, from this machine's PATH or unpacked from Debian packages into a cache folder.

    tools = obtain(Tool.CRANE, Tool.COSIGN, say=print)   # nothing is installed, nothing needs root
    subprocess.run([tools[Tool.CRANE], "version"])

The cache is `$RECONCILE_CACHE`, else `$XDG_CACHE_HOME/reconcile`, else `~/.cache/reconcile`. What is there is used
without asking anyone; to get newer ones, delete its folder `tools`. Any number of processes may call `obtain` at once,
and a killed one leaves nothing that the next doesn't clear away.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError, ToolMissing
from reconciler.local import debian
from reconciler.local.catalogue import CATALOGUE, ENGINE, EVERY, OnPath, Tool
from reconciler.local.debian import Apt, Package

__all__ = ["ENGINE", "EVERY", "Tool", "Tools", "cache_folder", "obtain", "on_path"]

_LAYOUT = "1"  # a new number where what stands in a parcel's folder changes
_GLIBC = (2, 34)
_PLUGIN_FOLDERS = ("usr/local/lib", "usr/local/libexec", "usr/lib", "usr/libexec")
_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_WRAPPER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" exec "$here/lib/{name}" "$@"
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs ready to run: `tools[Tool.CRANE]` is an absolute path."""

    paths: Mapping[Tool, Path]

    def __getitem__(self, tool: Tool) -> Path:
        try:
            return self.paths[tool]
        except KeyError:
            raise ToolMissing(f"{tool} was not asked for", todo=f"name Tool.{tool.name} in obtain()") from None

    @property
    def search_path(self) -> str:
        """A PATH that finds each of them by its own name, then the system's programs."""
        folders = [str(path.parent) for path in self.paths.values()]
        return os.pathsep.join(dict.fromkeys([*folders, *_PROGRAM_FOLDERS]))


def cache_folder() -> Path:
    """Where downloaded things are kept between runs; it need not exist."""
    if own := os.environ.get("RECONCILE_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "reconcile"


def obtain(*wanted: Tool, cache: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Tools:
    """Find or fetch the named tools; `say` is told, in a line each, what takes time.

    Raises ToolMissing, with what to install by hand, where one isn't on PATH and can't be had from Debian.
    """
    paths = _from_path(wanted)
    rest = [tool for tool in wanted if tool not in paths]
    if rest:
        paths.update(_from_debian(rest, cache or cache_folder(), say))
    return Tools({tool: paths[tool] for tool in wanted})


def _from_path(wanted: Iterable[Tool]) -> dict[Tool, Path]:
    found: dict[Tool, Path] = {}
    for tool in wanted:
        path = on_path(tool)
        if path is not None:
            found[tool] = path
    if any(tool in wanted and tool not in found for tool in ENGINE):
        return {tool: path for tool, path in found.items() if tool not in ENGINE}
    return found


def on_path(tool: Tool) -> Path | None:
    """The machine's own `tool`, if it has one that is new enough."""
    known = CATALOGUE[tool].on_path
    if known is None:
        return None
    where = shutil.which(known.program)
    if tool is Tool.BUILDX and where is None:
        where = next((str(path) for path in _plugins() if os.access(path, os.X_OK)), None)
    if where is None or _version(Path(where), known) < known.least:
        return None
    return Path(where).absolute()


def _plugins() -> Iterator[Path]:
    """Where docker looks for its buildx plugin."""
    config = os.environ.get("DOCKER_CONFIG")
    for folder in (
        Path(config) if config else Path.home() / ".docker",
        *(Path("/", f, "docker") for f in _PLUGIN_FOLDERS),
    ):
        yield folder / "cli-plugins" / "docker-buildx"


def _version(program: Path, known: OnPath) -> tuple[int, ...]:
    """The version that a program says, () where it says none."""
    try:
        done = subprocess.run(
            [str(program), *known.ask],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    match = known.version.search(f"{done.stdout}\n{done.stderr}") if done.returncode == 0 else None
    return tuple(int(part) for part in match.groups() if part) if match else ()


def _from_debian(wanted: Iterable[Tool], cache: Path, say: Callable[[str], None]) -> dict[Tool, Path]:
    home = cache / "tools" / _LAYOUT / platform.machine()
    places = {tool: _folder(tool, home) / CATALOGUE[tool].debian.file for tool in wanted}
    if not all(path.exists() for path in places.values()):
        try:
            _check_machine(wanted)
            with _locked(home):
                _fetch([tool for tool, path in places.items() if not path.exists()], home, say)
        except OSError as error:
            raise ToolError(
                f"the tools can't be kept: {error.strerror}",
                where=str(error.filename or home),
                todo="name a folder that can be written in RECONCILE_CACHE",
            ) from error
    return places


def _folder(tool: Tool, home: Path) -> Path:
    origin = CATALOGUE[tool].debian
    return home / "-".join(filter(None, (origin.package, origin.suite or "own", origin.architecture)))


def _check_machine(wanted: Iterable[Tool]) -> None:
    system = debian.release()
    if system.get("ID") != "debian":
        raise _by_hand(wanted, f"this is {system.get('PRETTY_NAME') or platform.system()}, not Debian")
    if absent := [name for name in ("apt-get", "dpkg", "dpkg-deb") if shutil.which(name) is None]:
        raise _by_hand(wanted, f"{' and '.join(absent)} not found")
    name, version = platform.libc_ver()
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name != "glibc" or number < _GLIBC:
        raise _by_hand(wanted, f"the C library is {name or 'unknown'} {version}, not glibc 2.34 or newer")


def _by_hand(wanted: Iterable[Tool], why: str) -> ToolMissing:
    lines = []
    for tool in wanted:
        entry = CATALOGUE[tool]
        least = f" {'.'.join(map(str, entry.on_path.least))} or newer" if entry.on_path else ""
        lines.append(f"{tool}{least} ({entry.by_hand})")
    names = ", ".join(wanted)
    return ToolMissing(f"{names}: not here, and can't be fetched: {why}", todo="install " + "; ".join(lines))


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its process, however that ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(wanted: Iterable[Tool], home: Path, say: Callable[[str], None]) -> None:
    """Fetch the packages of all `wanted`, each complete or not there at all; the caller holds the lock."""
    for left in home.glob(".new-*"):  # of a run that was killed: we hold the lock, so nobody uses it
        shutil.rmtree(left)
    system = debian.release()
    source = debian.own_source(debian.sources(), system.get("VERSION_CODENAME", ""))
    if source is None:
        raise _by_hand(wanted, "apt's sources name no Debian archive")
    architecture = debian.run(["dpkg", "--print-architecture"], limit=30).strip()
    parcels: dict[Package, list[Tool]] = {}
    for tool in CATALOGUE:  # a package's tools come together
        origin = CATALOGUE[tool].debian
        if any(_folder(tool, home) == _folder(asked, home) for asked in wanted):
            package = Package(origin.package, origin.suite or source.suite, origin.architecture or architecture)
            parcels.setdefault(package, []).append(tool)
    if not parcels:
        return
    say(f"fetching {', '.join(sorted({package.name for package in parcels}))} from Debian ({source.uri})")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as scratch:
        apt = Apt(Path(scratch), source, architecture)
        try:
            apt.update(parcels)
            files = apt.download(parcels)
        except ToolError as error:
            raise ToolMissing(
                f"{', '.join(wanted)}: not here, and apt can't fetch them: {error.what}",
                where=source.uri,
                todo=_by_hand(wanted, "").todo,
                tail=error.tail,
            ) from error
        trees = {package: Path(scratch, f"parcel-{number}") for number, package in enumerate(parcels)}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda package: debian.unpack(files[package], _unpacked(trees[package])), parcels))
        for package, tools in parcels.items():
            tree = trees[package]
            _make_parcel(apt, package, files[package], tools, tree)
            tree.rename(_folder(tools[0], home))


def _unpacked(tree: Path) -> Path:
    """Where all files of a package are before its programs are moved to `tree`."""
    return tree.with_name(f"{tree.name}.all")


def _make_parcel(apt: Apt, package: Package, file: Path, tools: Iterable[Tool], tree: Path) -> None:
    """Only the programs of a package, flat in `tree`, with the libraries that this machine lacks in `tree/lib`."""
    unpacked = _unpacked(tree)
    tree.mkdir()
    for tool in tools:
        name = CATALOGUE[tool].debian.file
        found = [path for path in unpacked.rglob(name) if _is_program(path)]
        if not found:
            raise ToolMissing(f"the package {package} has no program {name}", todo=_by_hand([tool], "").todo)
        found[0].rename(tree / name)
        if package.architecture == apt.architecture:
            _add_libraries(apt, package, file, tree / name)
    shutil.rmtree(unpacked)


def _is_program(path: Path) -> bool:
    """Whether it's an ELF program: an init script has the program's name, too."""
    if path.is_symlink() or not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _add_libraries(apt: Apt, package: Package, file: Path, program: Path) -> None:
    """Bring the libraries that `program` misses, and only those, and wrap it so that it finds them."""
    lib = program.parent / "lib"
    known, frontier = {"libc6"}, [file]
    missing = debian.missing_libraries(program, lib)
    if not missing:
        return
    while missing and frontier:
        names = {name for deb in frontier for name in debian.depends(deb) if name.startswith("lib")} - known
        known |= names
        frontier = list(apt.download([Package(name, package.suite, package.architecture) for name in names]).values())
        for deb in frontier:
            unpacked = _unpacked(deb)
            debian.unpack(deb, unpacked)
            lib.mkdir(exist_ok=True)
            for soname in missing:
                for path in unpacked.rglob(soname):
                    shutil.copy(path, lib / soname)
            shutil.rmtree(unpacked)
        missing = tuple(
            dict.fromkeys(m for p in (program, *lib.glob("*.so*")) for m in debian.missing_libraries(p, lib))
        )
    if missing:
        raise ToolMissing(f"{program.name} needs {', '.join(missing)}, which no package it names brings")
    program.rename(lib / program.name)
    program.write_text(_WRAPPER.format(name=program.name), encoding="utf-8")
    program.chmod(0o755)
