"""The upstreams of the three apps in small on loopback, and the desired files of this repository led there.

Tags are shaped like the real ones, Dockerfiles have the structure of the real ones (a pinned builder and a distroless
final stage; a base image of the app's own), downloads are per architecture. What stands behind FROM are images made
here, in which `curl`, `apt-get`, `node` and `yarn` are small scripts: every RUN step really runs, on both platforms.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from reconciler import cli
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.images import BaseImages
from reconciler.local.sigstore import LocalSigstore
from reconciler.local.tools import Tools
from reconciler.local.upstream import LocalUpstream
from tests.stack.running import run_tool
from tests.support.programs import elf, tarball

SHIPPED = Path(__file__).parents[2] / "desired"
DATA = Path(__file__).parents[1] / "data"
ARCHITECTURES = ("amd64", "arm64")
IDENTITY = "https://github.com/this-is-tobi/multiarch-mirror/.github/workflows/apply.yml@refs/heads/main"
MOSTLYMATTER = "framasoft/framateam/mostlymatter"
RELEASES = "releases.mattermost.com"
PACKAGES = "packages.framasoft.org/projects/mostlymatter"

_SCRIPTS = {
    "curl": "out=-\nwhile [ $# -gt 0 ]; do case $1 in -o) out=$2; shift;; -*) ;; *) url=$1;; esac; shift; done\n"
    'exec wget -q -O "$out" "$url"\n',
    "apt-get": "exit 0\n",
    "bash": 'exec /bin/sh "$@"\n',
    "groupadd": 'echo "$3:x:$2:" >> /etc/group\n',
    "useradd": 'echo "$7:x:$2:$4::$6:/bin/sh" >> /etc/passwd\n',
    # `addgroup --gid 1001 NAME`, `adduser --uid 1001 --ingroup NAME NAME`
    "addgroup": 'echo "$3:x:$2:" >> /etc/group\n',
    "adduser": 'echo "$5:x:$2:$2::/:/bin/sh" >> /etc/passwd\n',
    # `node -p "require('FILE').version"`
    "node": """f=$(echo "$2" | sed "s/.*'\\(.*\\)'.*/\\1/")\nsed -n 's/.*"version": "\\([^"]*\\)".*/\\1/p' "$f"\n""",
    "yarn": "case $1 in build) mkdir -p build/server && uname -m > build/server/index.js;; esac\n",
}
_BASES = """\
ARG BUSYBOX
FROM ${BUSYBOX} AS ubuntu
COPY --chmod=755 bash curl apt-get groupadd useradd /bin/
FROM ${BUSYBOX} AS node
COPY --chmod=755 node yarn apt-get addgroup adduser /bin/
FROM scratch AS distroless
COPY passwd group /etc/
"""
_PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nmattermost:x:2000:2000::/mattermost:/sbin/nologin\n"


@dataclass(frozen=True, slots=True)
class Bases:
    """What stands behind FROM, by tag, with the digest of the one for amd64 where upstream pins it."""

    ubuntu: str
    distroless: str
    node: str
    busybox: str
    scanner: str


def make_bases(host: str, base: BaseImages, builder: Builder, tools: Tools, folder: Path) -> Bases:
    """Builds them for both platforms and pushes them under the names that they have upstream."""
    folder.mkdir()
    for name, text in _SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    (folder / "passwd").write_text(_PASSWD, encoding="utf-8")
    (folder / "group").write_text("root:x:0:\nnonroot:x:65532:\n", encoding="utf-8")
    (folder / "Dockerfile").write_text(_BASES, encoding="utf-8")
    names = {
        "ubuntu": f"{host}/library/ubuntu:noble-20250415.1",
        "node": f"{host}/library/node:26.3.0",
        "distroless": f"{host}/distroless/base-debian12:latest",
    }
    for target, name in names.items():
        words = builder.command(
            "build",
            *("--platform=linux/amd64,linux/arm64", f"--target={target}", f"--build-arg=BUSYBOX={base.busybox}"),
            *("--provenance=false", f"--output=type=image,name={name},push=true", str(folder)),
        )
        run_tool(*words, env=builder.environment())

    def pinned(name: str) -> str:
        return f"{name}@{run_tool(tools[Tool.CRANE], 'digest', '--platform', 'linux/amd64', name).stdout.strip()}"

    return Bases(
        pinned(names["ubuntu"]), pinned(names["distroless"]), names["node"], str(base.busybox), str(base.scanner)
    )


def mattermost_files(bases: Bases) -> dict[str, str]:
    """The source of a release of Mattermost, as far as it is built from."""
    dockerfile = f"""\
FROM {bases.ubuntu} AS builder
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

ARG PUID=2000
ARG PGID=2000
# MM_PACKAGE is the release that is installed
ARG MM_PACKAGE="https://latest.mattermost.example/mattermost-enterprise-linux"

RUN apt-get update \\
  && apt-get install --no-install-recommends -y ca-certificates curl \\
  && rm -rf /var/lib/apt/lists/*

RUN mkdir -p /mattermost/data /mattermost/plugins \\
  && groupadd --gid ${{PGID}} mattermost \\
  && useradd --uid ${{PUID}} --gid ${{PGID}} --home-dir /mattermost mattermost \\
  && curl -L $MM_PACKAGE | tar -xvz \\
  && chown -R mattermost:mattermost /mattermost

FROM {bases.distroless}
ENV PATH="/mattermost/bin:${{PATH}}"
COPY --from=builder --chown=2000:2000 /mattermost /mattermost
COPY passwd /etc/passwd
USER mattermost
HEALTHCHECK --interval=30s CMD ["/mattermost/bin/mmctl", "system", "status", "--local"]
WORKDIR /mattermost
CMD ["/mattermost/bin/mattermost"]
EXPOSE 8065
VOLUME ["/mattermost/data", "/mattermost/plugins"]
"""
    return {"server/build/Dockerfile": dockerfile, "server/build/passwd": _PASSWD, "README.md": "# Mattermost\n"}


def outline_files(version: str, bases: Bases, *, by_argument: bool = True) -> dict[str, str]:
    """The source of a release of Outline; older ones name their base in FROM itself (`by_argument` is False)."""
    start = (
        "ARG BASE_IMAGE=outlinewiki/outline-base\nFROM ${BASE_IMAGE}"
        if by_argument
        else "FROM outlinewiki/outline-base"
    )
    base = f"""\
ARG APP_PATH=/opt/outline
FROM {bases.node} AS deps
ARG APP_PATH
WORKDIR $APP_PATH
COPY ./package.json ./yarn.lock ./
RUN apt-get update && apt-get install -y cmake
RUN yarn install --immutable
COPY . .
ARG CDN_URL
RUN yarn build
ENV PORT=3000
"""
    top = f"""\
ARG APP_PATH=/opt/outline
{start} AS base
ARG APP_PATH
WORKDIR $APP_PATH

# ---
FROM {bases.node} AS runner
LABEL org.opencontainers.image.source="https://github.com/outline/outline"
ARG APP_PATH
WORKDIR $APP_PATH
ENV NODE_ENV=production
RUN addgroup --gid 1001 nodejs && adduser --uid 1001 --ingroup nodejs nodejs && chown -R nodejs:nodejs $APP_PATH
COPY --from=base --chown=nodejs:nodejs $APP_PATH/build ./build
COPY --from=base --chown=nodejs:nodejs $APP_PATH/package.json ./package.json
VOLUME /var/lib/outline/data
USER nodejs
HEALTHCHECK --interval=1m CMD wget -qO- "http://localhost:${{PORT:-3000}}/_health" | grep -q "OK" || exit 1
EXPOSE 3000
CMD ["node", "build/server/index.js"]
"""
    package = json.dumps({"name": "outline", "version": version}, indent=2) + "\n"
    return {
        "Dockerfile": top,
        "Dockerfile.base": base,
        "package.json": package,
        "yarn.lock": "",
        ".dockerignore": ".git\nbuild\n",
    }


def _known(text: str, url: str, sha256: str) -> str:
    """A desired file that knows the sum of what stands at a URL here, where it knew that of upstream's own file."""
    return re.sub(rf"{re.escape(url)}: [0-9a-f]{{64}}", f"{url}: {sha256}", text)


@dataclass
class World:
    """One upstream with all three apps, their desired files led to it, and a namespace in the registry of the tests."""

    folder: Path
    host: str
    namespace: str
    bases: Bases
    upstream: LocalUpstream
    sigstore: LocalSigstore
    builder: Builder
    tools: Tools
    sums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desired.mkdir(parents=True)
        for name in ("trusted_root", "signing_config"):
            path: Path = getattr(self.sigstore, name)
            (self.desired / path.name).write_bytes(path.read_bytes())
        for name in ("mirror", "mattermost", "mostlymatter", "outline"):
            self.lead(name)

    @property
    def desired(self) -> Path:
        """The desired files."""
        return self.folder / "desired"

    def lead(self, name: str, count: int = 1, edit: Mapping[str, str] | None = None) -> None:
        """Writes a shipped desired file with other hosts and a window of `count`; `edit` is what a test changes."""
        text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
        files = f"{self.upstream.url}/files"
        hosts = {
            f"https://{RELEASES}": f"{files}/{RELEASES}",
            "https://packages.framasoft.org": f"{files}/packages.framasoft.org",
            "git: https://github.com": f"git: {self.upstream.url}",
            "git: https://framagit.org": f"git: {self.upstream.url}",
            "gitlab: framagit.org": f"gitlab: {self.upstream.host}",
            "registry: ghcr.io": f"registry: {self.host}\nplain-http: true",
            "namespace: this-is-tobi/mirror": f"namespace: {self.namespace}",
            "signing:\n": "signing:\n  trusted-root: trusted_root.json\n  signing-config: signing_config.json\n",
        }
        for before, after in hosts.items():
            text = text.replace(before, after)
        text = re.sub(r"sbom-generator: \S+", f"sbom-generator: {self.bases.scanner}", text)
        text = re.sub(r"^window: (\{count: )?\d+", lambda m: f"window: {m[1] or ''}{count}", text, flags=re.MULTILINE)
        for url, sha256 in self.sums.items():
            text = _known(text, url, sha256)
        for before, after in (edit or {}).items():
            assert before in text, f"{name}.yaml has no {before!r}"
            text = text.replace(before, after)
        (self.desired / f"{name}.yaml").write_text(text, encoding="utf-8")

    # ---- what upstream has

    def mattermost(self, version: str, **commit: Any) -> None:
        """A release of Mattermost, with a tarball per architecture."""
        self.upstream.repository("mattermost/mattermost").release(f"v{version}", mattermost_files(self.bases), **commit)
        for architecture in ARCHITECTURES:
            self.tarball(version, architecture)

    def tarball(self, version: str, architecture: str, holds: str = "") -> None:
        """What Mattermost publishes for an architecture; `holds` is that of the program in it."""
        program = elf(holds or architecture, f"Version: {version}\nBuild Number: {version}\n")
        data = tarball({"mattermost/bin/mattermost": program, "mattermost/bin/mmctl": program})
        url = self.upstream.file(f"{RELEASES}/{version}/mattermost-{version}-linux-{architecture}.tar.gz", data)
        self.sums[url] = hashlib.sha256(data).hexdigest()
        path = self.desired / "mattermost.yaml"
        path.write_text(_known(path.read_text(encoding="utf-8"), url, self.sums[url]), encoding="utf-8")

    def mostlymatter(self, version: str, architectures: tuple[str, ...] = ARCHITECTURES) -> None:
        """A tag of Mostlymatter, with its binaries, and Mattermost's tarballs that they go into."""
        self.upstream.repository(MOSTLYMATTER).release(
            f"v{version}-limitless", mattermost_files(self.bases), annotated=True
        )
        for architecture in ARCHITECTURES:
            self.tarball(version, architecture)
        for architecture in architectures:
            program = elf(architecture, f"Version: {version} (limitless)\n")
            self.upstream.file(f"{PACKAGES}/mostlymatter-{architecture}-v{version}", program)

    def outline(self, version: str, *, by_argument: bool = True, **commit: Any) -> None:
        """A release of Outline."""
        files = outline_files(version, self.bases, by_argument=by_argument)
        self.upstream.repository("outline/outline").release(f"v{version}", files, **commit)

    # ---- what is done

    def run(self, verb: str, *flags: str) -> tuple[int, str, str]:
        """Runs one command in this process: its status, stdout and stderr."""
        places = ["--desired", str(self.desired), "--state", str(self.folder / "state"), "--allow-private"]
        env = {
            "PATH": f"{self.builder.docker.parent}{os.pathsep}{self.tools.search_path}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.builder.docker_config),
            "RECONCILE_CACHE": str(self.folder / "cache"),
            **self.upstream.env,
        }
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, env, clear=True), redirect_stdout(out), redirect_stderr(err):
            status = cli.main([verb, *places, *flags])
        return status, out.getvalue(), err.getvalue()

    def plan(self, *flags: str) -> dict[str, Any]:
        """The plan."""
        _, out, err = self.run("plan", "--format", "json", *flags)
        assert out, err
        found: dict[str, Any] = json.loads(out)
        return found

    def apply(self, *flags: str) -> tuple[int, dict[str, Any]]:
        """Applies: the status, and the report."""
        words = ["--builder", self.builder.name, "--build-flag=--network=host", "--build-flag=--allow=network.host"]
        words += ["--identity-token", str(self.sigstore.identity_token(IDENTITY)), "--logs", str(self.folder / "logs")]
        status, out, err = self.run("apply", "--format", "json", "--jobs", "4", *words, *flags)
        assert out, err
        return status, json.loads(out)

    def crane(self, *words: object) -> str:
        """What crane says."""
        return run_tool(self.tools[Tool.CRANE], *words).stdout.strip()

    def image(self, tag: str) -> str:
        """`host/namespace/name:tag`."""
        return f"{self.host}/{self.namespace}/{tag}"

    def manifest(self, ref: str) -> dict[str, Any]:
        """A manifest of this namespace, by crane."""
        found: dict[str, Any] = json.loads(self.crane("manifest", self.image(ref)))
        return found

    def tags(self, image: str) -> list[str]:
        """The tags of an image but for those with its evidence; none where it isn't there."""
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            listed = self.crane("ls", self.image(image)).split()
            return sorted(tag for tag in listed if not tag.startswith("sha256-"))
        return []
