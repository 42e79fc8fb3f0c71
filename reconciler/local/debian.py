"""Debian packages, fetched by the machine's own apt and unpacked into a folder: nothing is installed.

The archive's address and keys are those of the machine's own apt sources; apt checks signatures as always.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError, ToolMissing, ToolTimeout

ETC = Path("/etc/apt")
_ROLLING = ("sid", "unstable", "testing", "stable", "oldstable")


@dataclass(frozen=True, slots=True)
class Source:
    """One archive that apt reads: its address, one suite of it, and the keys it is checked against.

    `signed_by` is what stands in the sources: a path, a fingerprint, or a whole key on lines of its own.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One binary package of one suite for one of Debian's architectures (`amd64`, `arm64`, `armhf`)."""

    name: str
    suite: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.name}:{self.architecture}/{self.suite}"


def sources(etc: Path = ETC) -> tuple[Source, ...]:
    """All enabled binary sources of this machine, in apt's order (sources.list(5), both formats)."""
    try:
        parts = sorted((etc / "sources.list.d").iterdir()) if (etc / "sources.list.d").is_dir() else []
        files = [etc / "sources.list", *parts]
        return tuple(source for file in files if file.is_file() for source in _read(file))
    except OSError as error:
        raise ToolError(f"apt's sources can't be read: {error.strerror}", where=str(etc)) from error


def _read(file: Path) -> Iterator[Source]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".sources":
        yield from _deb822(text)
    elif file.suffix == ".list":
        yield from _one_line(text)


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        options = ""
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), len(words) - 1)
            options = " ".join(words[1 : end + 1]).strip("[] ")
            words = [words[0], *words[end + 1 :]]
        if len(words) < 3:
            continue
        named = dict(option.split("=", 1) for option in options.split() if "=" in option)
        yield Source(words[1], words[2], tuple(words[3:]), named.get("signed-by", ""))


def _deb822(text: str) -> Iterator[Source]:
    for fields in _stanzas(text):
        off = fields.get("enabled", "yes").strip().lower() in ("no", "false", "0", "off", "disable")
        if off or "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, tuple(fields.get("components", "").split()), fields.get("signed-by", ""))


def _stanzas(text: str) -> Iterator[Mapping[str, str]]:
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')}\n{line}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def own_source(found: Iterable[Source], codename: str) -> Source | None:
    """The machine's main Debian archive among its sources: third parties name their suites just like Debian does."""

    def rank(source: Source) -> tuple[bool, bool, bool]:
        keys = not source.signed_by or "debian-archive" in source.signed_by
        return (source.suite == codename, keys, "/debian" in source.uri)

    able = [source for source in found if "main" in source.components and source.suite in (codename, *_ROLLING)]
    return max(able, key=rank, default=None)


def release(path: Path = Path("/etc/os-release")) -> Mapping[str, str]:
    """What os-release(5) says of this machine; empty where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("\"'") for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with a source list and index files of its own, in a folder that the caller throws away."""

    folder: Path
    source: Source
    architecture: str

    def update(self, wanted: Iterable[Package]) -> None:
        """Fetch the signed indexes of the suites and architectures of `wanted`."""
        asked: dict[str, set[str]] = {}
        for package in wanted:
            asked.setdefault(package.suite, set()).add(package.architecture)
        stanzas = [self._stanza(suite, architectures) for suite, architectures in sorted(asked.items())]
        (self.folder / "debian.sources").write_text("\n".join(stanzas), encoding="utf-8")
        for name in ("lists", "cache"):
            (self.folder / name).mkdir(exist_ok=True)
        self._run("update", ())

    def _stanza(self, suite: str, architectures: set[str]) -> str:
        signed = f"Signed-By: {self.source.signed_by}\n" if self.source.signed_by else ""
        return (
            f"Types: deb\nURIs: {self.source.uri}\nSuites: {suite}\nComponents: main\n"
            f"Architectures: {' '.join(sorted(architectures))}\n{signed}"
        )

    def download(self, packages: Iterable[Package]) -> Mapping[Package, Path]:
        """Fetch the packages of `update`'s suites; each one's file."""
        batches: list[list[Package]] = []
        for package in packages:  # apt names files without their suite: no two of one name in a folder
            same = (package.name, package.architecture)
            free = (batch for batch in batches if same not in {(other.name, other.architecture) for other in batch})
            batch = next(free, None)
            if batch is None:
                batches.append([package])
            else:
                batch.append(package)
        files: dict[Package, Path] = {}
        for batch in batches:
            folder = Path(tempfile.mkdtemp(prefix="debs-", dir=self.folder))
            self._run("download", [str(package) for package in batch], cwd=folder)
            for package in batch:
                found = [
                    *folder.glob(f"{package.name}_*_{package.architecture}.deb"),
                    *folder.glob(f"{package.name}_*_all.deb"),
                ]
                if not found:
                    raise ToolError(f"apt fetched no file for {package}", where="apt-get download")
                files[package] = found[0]
        return files

    def _run(self, verb: str, words: Sequence[str], cwd: Path | None = None) -> None:
        options = {
            "Dir::Etc::sourcelist": self.folder / "debian.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            # images for containers switch this cache off, and then every call parses all indexes again
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "APT::Update::Error-Mode": "any",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        every = dict.fromkeys((self.architecture, "amd64", "arm64", "armhf"))
        for architecture in every:
            flags += ["-o", f"APT::Architectures::={architecture}"]
        run(["apt-get", "-q", *flags, verb, *words], cwd=cwd or self.folder, limit=600)


def unpack(file: Path, folder: Path) -> None:
    """Unpack a package's files into `folder`."""
    run(["dpkg", "-x", str(file), str(folder)], limit=300)


def depends(file: Path) -> tuple[str, ...]:
    """The names of the packages that this one needs, the first of each choice."""
    said = run(["dpkg-deb", "-f", str(file), "Depends"], limit=30)
    return tuple(part.split("|")[0].split("(")[0].split(":")[0].strip() for part in said.split(",") if part.strip())


def missing_libraries(program: Path, folder: Path) -> tuple[str, ...]:
    """The shared libraries (sonames) that `program` needs and that are neither on this machine nor in `folder`."""
    # not `run`: ldd's status is 1 for a static program, which needs none
    said = subprocess.run(
        ["ldd", str(program)],
        env={**os.environ, "LC_ALL": "C", "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    ).stdout
    return tuple(line.split("=>")[0].strip() for line in said.splitlines() if line.rstrip().endswith("not found"))


def run(argv: Sequence[str], *, cwd: Path | None = None, limit: float) -> str:
    """What a short program says on stdout; ToolMissing, ToolTimeout or ToolError where it doesn't end well."""
    name = " ".join([argv[0], *(word for word in argv[1:] if word in ("update", "download"))])
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except FileNotFoundError as error:
        raise ToolMissing(f"{argv[0]} is not on this machine", todo=f"install {argv[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolTimeout(
            f"{name} took longer than {limit:.0f} s", todo="look at the network, then try again"
        ) from error
    except OSError as error:
        raise ToolError(f"{name} can't be started: {error.strerror}") from error
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip().splitlines()[-6:]
        raise ToolError(f"{name} failed with status {done.returncode}", tail=tail)
    return done.stdout
