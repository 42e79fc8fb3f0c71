"""A small mirror on the real parts: its apps are wanted, observed, planned and applied as the product does it.

Run as a program (`python -m tests.stack.mirror SETTINGS.json`), it applies once and may kill itself at a step: for
tests of what the next apply makes of that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.apply.buildx import BuildOptions
from reconciler.apply.proofs import Origin
from reconciler.apply.recording import rfc3339
from reconciler.apply.results import Outcome, Result
from reconciler.apply.run import Options, apply, utc_now
from reconciler.desired.files import folder_digest
from reconciler.evidence.judge import Judge
from reconciler.local.builder import Builder
from reconciler.local.images import BaseImages
from reconciler.local.sigstore.keys import Key
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.recipe import FolderSource, GitSource, Recipe
from reconciler.model.reference import Repository, TagRef
from reconciler.model.release import Release
from reconciler.model.signing import KeyPair, Policy, PublicKey, Signing
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted, WantedApp, WantedPointer
from reconciler.observe import Observer, Trust
from reconciler.plan.changes import Change
from reconciler.plan.make import make
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry
from reconciler.registry.credential import Credential
from reconciler.registry.credentials import Credentials

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")
BOTH = (AMD64, ARM64)
EPOCH = "2024-05-06T07:08:09Z"


async def no_git(_source: GitSource, _target: Path) -> int:
    """These apps are built from folders."""
    raise AssertionError("nothing is fetched here")


class Steps:
    """Progress that keeps every step as a line, and calls `at` with the number of each."""

    def __init__(self, at: Callable[[int, str], None] = lambda number, line: None) -> None:
        self.lines: list[str] = []
        self.results: list[Result] = []
        self._at = at

    def started(self, change: Change) -> None:
        """Nothing to keep."""

    def step(self, change: Change, text: str) -> None:
        """A line like `1.0.0 build linux/amd64`."""
        self.lines.append(f"{change.target.tag} {text}")
        self._at(len(self.lines), self.lines[-1])

    def finished(self, result: Result) -> None:
        """Kept."""
        self.results.append(result)


@dataclass
class Mirror:
    """One app, `hello`, in a registry and a folder of its own. `environ` is what apply sees of the user's."""

    host: str
    namespace: str
    folder: Path
    busybox: str
    scanner: str
    builder: str
    environ: Mapping[str, str]
    versions: tuple[str, ...] = ("1.0.0",)
    platforms: tuple[Platform, ...] = BOTH
    evidence: frozenset[Kind] = frozenset(Kind)
    dockerfile: str = 'FROM {busybox}\nARG VERSION\nRUN echo "hello $VERSION on $(uname -m)" > /hello\n'
    recipe: Mapping[str, Any] = field(default_factory=dict)
    layouts: tuple[str, ...] = ("bundle",)
    adopt: Mapping[str, Digest] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    signed: Signing | None = None
    credential: Credential | None = None
    realms: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "desired").mkdir(parents=True, exist_ok=True)
        if not self.key.exists():
            key = Key.generate()
            self.key.write_text(key.cosign_pem(""), encoding="utf-8")
            (self.folder / "key.pub").write_text(key.public_pem, encoding="utf-8")

    @classmethod
    def on(cls, host: str, base: BaseImages, builder: Builder, tools: Tools, folder: Path, **fields: Any) -> Mirror:
        """A mirror of its own, named after its folder."""
        environ = {
            "PATH": f"{builder.docker.parent}{os.pathsep}{tools.search_path}",
            "HOME": str(folder),
            "DOCKER_CONFIG": str(builder.docker_config),
        }
        namespace = f"mirror/{folder.name.lower().replace('_', '-').strip('-')}"
        return cls(host, namespace, folder, str(base.busybox), str(base.scanner), builder.name, environ, **fields)

    @property
    def key(self) -> Path:
        """The private key, without a password."""
        return self.folder / "key"

    @property
    def records(self) -> Records:
        """The records as they are on disk."""
        return Records(self.folder / "state")

    def repository(self, image: str = "hello") -> Repository:
        """Where an image's tags live."""
        return Repository.parse(f"{self.host}/{self.namespace}/{image}")

    def tag(self, tag: str, image: str = "hello") -> TagRef:
        """A tag of an image."""
        return self.repository(image).tag(tag)

    @property
    def signing(self) -> Signing:
        """By our key, which alone counts, unless told otherwise."""
        if self.signed is not None:
            return self.signed
        public = PublicKey((self.folder / "key.pub").read_text(encoding="utf-8"))
        return Signing(KeyPair(public, str(self.key)), Policy((public,), layouts=self.layouts))

    def _source(self, image: str, dockerfile: str) -> FolderSource:
        folder = self.folder / "desired" / image
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(dockerfile.replace("{busybox}", self.busybox), encoding="utf-8")
        return FolderSource(image, folder_digest(folder.parent, image))

    def wanted(self, version: str, image: str = "hello", **fields: Any) -> Wanted:
        """One tag, built from a folder."""
        dockerfile = fields.pop("dockerfile", self.dockerfile)
        recipe = Recipe(
            self._source(image, dockerfile),
            args=(("VERSION", version),),
            annotations=(("org.opencontainers.image.title", f"{image} {version}"),),
            created=EPOCH,
        )
        whole = Wanted(
            app="hello",
            image=image,
            target=self.tag(version, image),
            release=Release(Version.parse(version), f"v{version}", "", EPOCH),
            platforms=self.platforms,
            evidence=self.evidence,
            recipe=replace(recipe, **{**self.recipe, **fields.pop("recipe", {})}),
            adopt=self.adopt.get(version),
        )
        return replace(whole, **fields)

    @property
    def app(self) -> WantedApp:
        """Every version, and `latest` on the highest."""
        tags = tuple(self.wanted(version) for version in self.versions if version not in self.withdrawn)
        candidates = tuple(sorted((tag.release.version for tag in tags), reverse=True))
        ruled_out = frozenset(map(Version.parse, self.withdrawn))
        evidence = frozenset(kind for tag in tags for kind in tag.evidence)
        pointer = WantedPointer("hello", "hello", self.tag("latest"), candidates, ruled_out, evidence)
        return WantedApp("hello", tags, (pointer,))

    async def plan(self, app: WantedApp | None = None, *, fresh: bool = False, retry: bool = False) -> Plan:
        """What there is to do."""
        async with self.client() as registry:
            observer = Observer(registry, Judge(self.signing.policy), Trust(fresh=fresh), sleep=_at_once)
            view = await observer.view(app or self.app, self.records.load("hello"))
            return make([view], policy=self.signing.policy.hash, now=rfc3339(utc_now()), retry=retry)

    async def apply(self, plan: Plan, steps: Steps | None = None, **given: Any) -> Outcome:
        """Makes it so."""
        options = Options(
            desired=self.folder / "desired",
            logs=self.folder / "logs",
            build=BuildOptions(builder=self.builder, sbom=self.scanner),
            origin=Origin("https://git.example/mirror", "0" * 40),
            environ=self.environ,
            credential=self.credential,
            lag=0,
        )
        stop = given.pop("stop", None)
        async with self.client() as registry:
            return await apply(
                plan,
                registry=registry,
                judge=Judge(self.signing.policy),
                records=self.records,
                signing=self.signing,
                fetch=no_git,
                options=replace(options, **{**self.options, **given}),
                progress=steps,
                stop=stop,
            )

    async def reconcile(self, steps: Steps | None = None, **given: Any) -> Outcome:
        """Plan and apply."""
        return await self.apply(await self.plan(), steps, **given)

    def client(self) -> Registry:
        """A client of the registry, with the credential if there is one."""
        fixed = {self.host: self.credential} if self.credential else {}
        return Registry(Credentials(fixed=fixed), allow_private=True, realms=self.realms)

    def settings(self, kill_at: int, kill_on: str = "") -> dict[str, Any]:
        """What the program form of this file reads; it kills itself at that step, or the first that holds a text."""
        return {
            "host": self.host,
            "namespace": self.namespace,
            "folder": str(self.folder),
            "busybox": self.busybox,
            "scanner": self.scanner,
            "builder": self.builder,
            "environ": dict(self.environ),
            "versions": list(self.versions),
            "platforms": list(map(str, self.platforms)),
            "dockerfile": self.dockerfile,
            "kill_at": kill_at,
            "kill_on": kill_on,
        }


async def _at_once(_seconds: float) -> None:
    """This registry doesn't lag."""


def main(argv: Sequence[str]) -> int:
    """Applies once, or as far as it is let."""
    settings = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    kill_at, kill_on = settings.pop("kill_at"), settings.pop("kill_on")

    def at(number: int, line: str) -> None:
        print(line, flush=True)  # noqa: T201 - the test reads it
        if number == kill_at or (kill_on and kill_on in line):
            os.kill(os.getpid(), signal.SIGKILL)

    settings["folder"] = Path(settings["folder"])
    settings["versions"] = tuple(settings["versions"])
    settings["platforms"] = tuple(map(Platform.parse, settings["platforms"]))
    mirror = Mirror(**settings)
    return asyncio.run(mirror.reconcile(Steps(at))).exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
