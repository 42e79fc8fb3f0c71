"""A mirror of any size, with its registry and its upstream each in a process of its own.

with scene(folder, apps=3, versions=10) as there:
    there.plan("cold")

A `whole` scene has all that apply makes: images for three platforms, and eight proofs on each digest. A lean one has
only what a warm plan asks for, the indexes under their tags and the evidence indexes, so that there can be very many.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reconciler.apply import recording
from reconciler.commands import Settings
from reconciler.commands.session import Session, session
from reconciler.evidence import statements
from reconciler.local.registry import Store, process
from reconciler.local.sigstore import Key, Mint, sign_statement
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.model.digest import Digest
from reconciler.model.evidence import (
    ANNOTATION_RECIPE,
    ANNOTATION_REPOSITORY,
    ANNOTATION_VERSION,
    Binding,
    Evidence,
    Kind,
    Proven,
)
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.record import Record
from reconciler.model.wanted import Wanted
from reconciler.survey import Survey
from tests.bench import upstream
from tests.bench.cost import Cost, environment, run
from tests.bench.names import VERSIONS, app_name
from tests.support.images import (
    OCI_INDEX,
    OCI_MANIFEST,
    SLSA,
    SPDX,
    Built,
    attestation,
    fallback,
    image,
    index,
    referrer,
)

PLATFORMS = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7")))
RECONCILE = Path(sys.executable).with_name("reconcile")


@dataclass(frozen=True, slots=True)
class Scene:
    """One mirror; `host` is its registry, `env` what `reconcile` is to see."""

    folder: Path
    host: str
    env: Mapping[str, str]
    apps: tuple[str, ...]
    versions: tuple[str, ...]
    source: upstream.Upstream

    @property
    def refs(self) -> list[str]:
        """Every version's tag, in full."""
        return [f"{self.host}/mirror/{app}:{version}" for app in self.apps for version in self.versions]

    @property
    def public_key(self) -> Path:
        """Of the key that proofs are signed with, where they are."""
        return self.folder / "desired" / "cosign.pub"

    def plan(self, state: str, *flags: str) -> Cost:
        """The whole program, from its start to its end, with the records in the folder `state`."""
        return self.run("plan", state, *flags)

    def run(self, verb: str, state: str, *flags: str) -> Cost:
        """Any command likewise."""
        places = ["--desired", self.folder / "desired", "--state", self.folder / state, "--allow-private"]
        return run([RECONCILE, verb, *places, *flags], env=self.env)

    def control(self, method: str, path: str, body: str = "") -> bytes:
        """Asks the registry's process about itself."""
        request = urllib.request.Request(
            f"http://{self.host}/control/{path}", data=body.encode() if body else None, method=method
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            data: bytes = answer.read()
        return data

    def latency(self, milliseconds: float) -> None:
        """From now on, each of the registry's answers takes so much longer."""
        self.control("PUT", "latency", str(milliseconds))

    def forget(self) -> None:
        """Count requests from here."""
        self.control("DELETE", "requests")

    def requests(self) -> dict[str, int]:
        """How many of each since then."""
        tally: dict[str, int] = json.loads(self.control("GET", "requests"))["tally"]
        return tally


@contextmanager
def scene(
    folder: Path, *, apps: int, versions: int, keyless: bool = False, whole: bool = True, login: bool = False
) -> Iterator[Scene]:
    """Makes it, with the records of a warm plan in the folder `warm`, and serves it."""
    folder.mkdir(parents=True)
    port = _free_port()
    host = f"127.0.0.1:{port}"
    names = tuple(map(app_name, range(apps)))
    seed = _Seed(folder, host, names, VERSIONS[:versions], keyless)
    with upstream.serving(folder / "upstream", apps, versions) as source:
        env = environment(folder, source.env)
        seed.desired()
        asyncio.run(seed.fill(env, whole=whole))
        options = ["--port", str(port), "--control", *(["--login", "me", "--public", "*"] if login else [])]
        with process.serve(folder / "registry", *options):
            there = Scene(folder, host, env, names, VERSIONS[:versions], source)
            if whole:
                # there is nothing to do but to write down what was seen
                there.run("apply", "warm")
            yield there


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    return port


def settings(folder: Path, env: Mapping[str, str], state: str) -> Settings:
    """For the same in this process."""
    return Settings(
        folder / "desired", folder / state, say=lambda _: None, env={**os.environ, **env}, allow_private=True
    )


@dataclass(frozen=True, slots=True)
class _Seed:
    folder: Path
    host: str
    apps: tuple[str, ...]
    versions: tuple[str, ...]
    keyless: bool
    key: Key = field(default_factory=Key.generate)
    mint: Mint = field(default_factory=Mint)

    def desired(self) -> None:
        """The desired files, each app with an upstream of its own."""
        place = self.folder / "desired"
        place.mkdir()
        (place / "cosign.pub").write_text(self.key.public_pem)
        (place / "trusted_root.json").write_text(json.dumps(self.mint.trusted_root()))
        signing = (
            f"  keyless: {{issuer: {GITHUB_ISSUER}, identity: {WORKFLOW}}}\n  trusted-root: trusted_root.json\n"
            if self.keyless
            else "  key: {public: cosign.pub}\n"
        )
        platforms = ", ".join(map(str, PLATFORMS))
        (place / "mirror.yaml").write_text(
            f"registry: {self.host}\nnamespace: mirror\nsource: https://mirror.example/mirror\n"
            f"defaults: {{platforms: [{platforms}]}}\nsigning:\n{signing}"
        )
        for app in self.apps:
            (place / f"{app}.yaml").write_text(
                f"app: {app}\ntitle: The app {app}\nupstream: {{github: acme/{app}, tag: 'v{{version}}'}}\n"
                f"window: {len(self.versions)}\nimages:\n  {app}:\n    args: {{VERSION: '{{version}}'}}\n"
            )

    async def fill(self, env: Mapping[str, str], *, whole: bool) -> None:
        """The registry's store; and the records, unless a plan from scratch is to make them."""
        store = Store(self.folder / "registry")
        try:
            async with session(settings(self.folder, env, "warm")) as run_:
                survey = Survey(run_.desired, run_.upstreams, run_.observer(), run_.records)
                for app in run_.apps:
                    asked = await survey.wanted(app, Record(app.app))
                    assert asked.unknown is None, asked.unknown
                    assert len(asked.tags) == len(self.versions)
                    for wanted in asked.tags:
                        if whole:
                            self._published(store, wanted)
                        else:
                            self._recorded(store, run_, wanted)
                    for pointer in asked.pointers:
                        top = store.resolve(pointer.target.repository.name, str(pointer.candidates[0]))
                        assert top is not None
                        store.tag(pointer.target.repository.name, pointer.target.tag, top)
                        if not whole:
                            run_.records.update(app.app, recording.pointed(pointer.target, pointer.candidates[0], top))
        finally:
            store.close()

    def _published(self, store: Store, wanted: Wanted) -> None:
        """One version as apply leaves it: a signature, a mirror statement, an SBOM and provenance for each platform."""
        name = wanted.target.repository.name
        images = [image(store, name, platform, text=f"{wanted.target} {platform}") for platform in PLATFORMS]
        attestations = [attestation(store, name, one) for one in images]
        of = index(store, name, *images, *attestations, tag=wanted.target.tag, annotations=_annotations(wanted))
        mirrored = statements.mirror_statement(
            of.digest, _binding(wanted), source="https://mirror.example", ref=wanted.release.tag, platforms={}
        )
        proofs = [self._bundle(sign_statement(str(of.digest))), self._bundle(mirrored)]
        for kind, content in ((SPDX, {"spdxVersion": "SPDX-2.3"}), (SLSA, {"buildDefinition": {}})):
            for one in images:
                about = [of.digest, one.digest]
                proofs.append(self._bundle(statements.statement(kind, content, str(wanted.target), about)))
        fallback(store, name, of, *(referrer(store, name, of, proof) for proof in proofs))

    def _bundle(self, statement: bytes | dict[str, object]) -> bytes:
        return self.mint.keyless_bundle(statement) if self.keyless else self.mint.key_bundle(statement, self.key)

    def _recorded(self, store: Store, run_: Session, wanted: Wanted) -> None:
        """One version's tag and evidence index, and what a record says of them."""
        name = wanted.target.repository.name
        children = {platform: Child(Digest.of(f"{wanted.target} {platform}".encode()), "", 0) for platform in PLATFORMS}
        of = _listing(store, name, [child.digest for child in children.values()], wanted.target.tag, wanted)
        each = len(PLATFORMS)
        proofs = [Digest.of(f"{wanted.target} proof {number}".encode()) for number in range(2 + 2 * each)]
        boms, provenances = proofs[2 : 2 + each], proofs[2 + each :]
        findings = {
            Kind.SIGNATURE: Proven("cosign.pub", "", proofs[0]),
            Kind.MIRROR: Proven("cosign.pub", "", proofs[1]),
            Kind.SBOM: Proven("cosign.pub", "", boms[0], also=tuple(boms[1:])),
            Kind.PROVENANCE: Proven("cosign.pub", "", provenances[0], also=tuple(provenances[1:])),
        }
        listed = _listing(store, name, proofs, of.fallback_tag)
        evidence = Evidence(findings, "cosign.pub", _binding(wanted), listed, {})
        policy, now = run_.judge.policy.hash, datetime.now(UTC)
        update = recording.published(wanted, of, OCI_INDEX, 1000, children, evidence, policy, now)
        run_.records.update(wanted.app, update)


def _listing(store: Store, name: str, digests: list[Digest], tag: str, wanted: Wanted | None = None) -> Digest:
    entries = [Built(digest, OCI_MANIFEST, 1000, b"").descriptor() for digest in digests]
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    if wanted is not None:
        content["annotations"] = _annotations(wanted)
    return store.put_manifest(name, json.dumps(content).encode(), OCI_INDEX, tag=tag, check=False)


def _binding(wanted: Wanted) -> Binding:
    return Binding(
        str(wanted.target.repository), str(wanted.release.version), wanted.recipe.hash, wanted.release.commit
    )


def _annotations(wanted: Wanted) -> dict[str, str]:
    return {
        ANNOTATION_REPOSITORY: str(wanted.target.repository),
        ANNOTATION_VERSION: str(wanted.release.version),
        ANNOTATION_RECIPE: wanted.recipe.hash,
    }
