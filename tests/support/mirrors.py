"""A whole mirror on loopback without any real builder: desired files, an upstream, a registry, and tags in any state.

with mirror(tmp_path) as m:
    m.released("1.0.0", "1.1.0")
    m.publish("1.0.0")                     # as apply would have: two platforms, all proofs, signed with the key
    m.publish("1.1.0", platforms=[AMD64])  # ours, but lacks one
    status, out, err = m.run("plan")
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from reconciler import cli
from reconciler.commands import session
from reconciler.evidence import statements
from reconciler.local.registry import LocalRegistry
from reconciler.local.sigstore import Key, Mint, sign_statement
from reconciler.local.upstream import LocalUpstream
from reconciler.model.digest import Digest
from reconciler.model.evidence import ANNOTATION_RECIPE, ANNOTATION_REPOSITORY, ANNOTATION_VERSION, Binding, Kind
from reconciler.model.platform import Platform
from reconciler.registry.client import Registry
from reconciler.registry.wire import Timeouts
from tests.support.images import SLSA, SPDX, Built, attach, built, image, index
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock

APP = """\
app: {app}
upstream: {{git: "{git}", tag: "v{{version}}"}}
images:
  {app}: {{}}
"""


@dataclass
class LocalMirror:
    """One mirror; `hello` is its app unless told otherwise."""

    folder: Path
    registry: LocalRegistry
    upstream: LocalUpstream
    key: Key = field(default_factory=Key.generate)
    mint: Mint = field(default_factory=Mint)
    namespace: str = "mirror"

    def __post_init__(self) -> None:
        self.desired.mkdir(parents=True)
        (self.desired / "cosign.pub").write_text(self.key.public_pem)
        self.write("mirror")
        self.write("hello")

    @property
    def desired(self) -> Path:
        """The desired folder."""
        return self.folder / "desired"

    @property
    def state(self) -> Path:
        """The folder of records."""
        return self.folder / "state"

    def write(self, name: str, content: str = "", more: str = "") -> None:
        """Writes one desired file: `content`, or what a small mirror says, with `more` at its end."""
        if name == "mirror":
            usual = (
                f"registry: {self.registry.host}\nnamespace: {self.namespace}\nsource: https://mirror.example/mirror\n"
                "signing:\n  key: {public: cosign.pub}\n"
            )
        else:
            usual = APP.format(app=name, git=self.upstream.git_url(f"acme/{name}"))
            self.upstream.repository(f"acme/{name}")
        (self.desired / f"{name}.yaml").write_text((content or usual) + more)

    def released(self, *versions: str, app: str = "hello") -> None:
        """Upstream releases these."""
        repository = self.upstream.repository(f"acme/{app}")
        for version in versions:
            repository.release(f"v{version}", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})

    def commit(self, version: str, app: str = "hello") -> str:
        """The commit of a release."""
        return self.upstream.repository(f"acme/{app}").commit(f"v{version}")

    def name(self, app: str = "hello") -> str:
        """The repository's name in the registry."""
        return f"{self.namespace}/{app}"

    def publish(
        self,
        version: str,
        *,
        app: str = "hello",
        platforms: Iterable[Platform] = (AMD64, ARM64),
        lacks: Iterable[Kind] = (),
        says: str = "",
        tag: str = "",
        text: str = "",
        key: Key | None = None,
        recipe: str = "",
        bare: bool = False,
    ) -> Built:
        """An index as apply leaves it, in the store, under `tag` (the version).

        `says`: the version that is signed; `bare`: the index says nothing of itself.
        """
        store, name = self.registry.store, self.name(app)
        said = says or version
        annotations = {
            ANNOTATION_REPOSITORY: f"{self.registry.host}/{name}",
            ANNOTATION_VERSION: said,
            ANNOTATION_RECIPE: recipe or "sha256:recipe",
        }
        whole = built(
            store,
            name,
            platforms,
            text=text or f"{app} {version}",
            tag=tag or version,
            annotations=None if bare else annotations,
        )
        self.prove(whole, said, app=app, kinds=[kind for kind in Kind if kind not in lacks], key=key, recipe=recipe)
        return whole

    def prove(
        self,
        of: Built,
        version: str,
        *,
        app: str = "hello",
        kinds: Iterable[Kind] = tuple(Kind),
        key: Key | None = None,
        recipe: str = "",
    ) -> None:
        """Attaches proofs of these kinds."""
        store, name = self.registry.store, self.name(app)
        repository = f"{self.registry.host}/{name}"
        binding = Binding(repository, version, recipe, self.commit(version, app) if recipe else "")
        mirrored = statements.mirror_statement(of.digest, binding, source="x", ref=f"v{version}", platforms={})
        made: Mapping[Kind, dict[str, Any] | bytes] = {
            Kind.SIGNATURE: sign_statement(str(of.digest)),
            Kind.SBOM: statements.statement(SPDX, {"spdxVersion": "SPDX-2.3"}, repository, [of.digest]),
            Kind.PROVENANCE: statements.statement(SLSA, {"buildDefinition": {}}, repository, [of.digest]),
            Kind.MIRROR: mirrored,
        }
        for kind in kinds:
            attach(store, name, of, self.mint.key_bundle(made[kind], key or self.key))

    def foreign(self, version: str, *, app: str = "hello", text: str = "theirs") -> Built:
        """A tag that someone else pushed, unsigned."""
        return built(self.registry.store, self.name(app), [AMD64, ARM64], text=text, tag=version)

    def single(self, version: str, platform: Platform = AMD64, *, app: str = "hello") -> Built:
        """A single image under the tag, without an index, unsigned."""
        return image(self.registry.store, self.name(app), platform, text=version, tag=version)

    def platform_digest(self, of: Built, architecture: str) -> str:
        """The digest of the image for one architecture in an index."""
        manifest = self.registry.store.manifest(self.name(), of.digest)
        assert manifest is not None
        entries = json.loads(manifest.data)["manifests"]
        return next(str(e["digest"]) for e in entries if e["platform"]["architecture"] == architecture)

    def point(self, pointer: str, digest: Digest, app: str = "hello") -> None:
        """Puts a tag on a digest."""
        self.registry.store.tag(self.name(app), pointer, digest)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Waits and time-outs of the registry's client take no time: its clock is turned instead."""
        clock = Clock()

        async def sleep(seconds: float) -> None:
            clock.turn(seconds)
            await asyncio.sleep(0)

        short = Timeouts(connect=0.2, read=0.2, answer=0.4, blob=0.4)
        quick = partial(Registry, clock=clock, sleep=sleep, timeouts=short)
        with mock.patch.object(session, "Registry", quick):
            yield

    def run(self, verb: str, *flags: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Runs one command in this process: its status, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        places = ["--desired", str(self.desired), "--state", str(self.state), "--allow-private"]
        home = {"HOME": str(self.folder), "PATH": os.environ["PATH"], **self.upstream.env, **(env or {})}
        with mock.patch.dict(os.environ, home, clear=True), redirect_stdout(out), redirect_stderr(err):
            status = cli.main([verb, *places, *flags])
        return status, out.getvalue(), err.getvalue()


@contextmanager
def mirror(folder: Path, **registry: Any) -> Iterator[LocalMirror]:
    """A mirror in `folder`; `registry` are options of LocalRegistry."""
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(LocalRegistry(folder / "registry", **registry))
        upstream = stack.enter_context(LocalUpstream(folder / "upstream"))
        yield LocalMirror(folder, served, upstream)


__all__ = ["LocalMirror", "index", "mirror"]
