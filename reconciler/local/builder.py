"""A buildx builder on a private engine, with everything that is needed to use it.

    with Engine(tools) as engine, private_builder(tools, engine) as builder:
        subprocess.run([*builder.command("build"), "--platform", "linux/amd64", …], env=builder.environment())

It can push by digest, which buildx's `docker` driver can't. Its docker configuration is a folder of its own: the user's
builders, contexts and credentials are neither seen nor touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError, ToolTimeout
from reconciler.local.bridge import Bridge
from reconciler.local.catalogue import Tool
from reconciler.local.engine import Engine
from reconciler.local.tools import Tools
from reconciler.model.platform import Platform

TOOLS = (Tool.DOCKER, Tool.BUILDX)
"""What `obtain` must have brought, beside `engine.TOOLS`."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A builder by its name, the `docker` that has buildx, and the docker configuration folder that knows it.

    `docker_config` holds `config.json` (no credentials), `cli-plugins/docker-buildx` and `buildx/` (the builder).
    """

    name: str
    docker: Path
    docker_config: Path

    @property
    def buildx(self) -> list[str]:
        """`docker buildx` with this configuration."""
        return [str(self.docker), "--config", str(self.docker_config), "buildx"]

    def command(self, verb: str, *words: str) -> list[str]:
        """`docker buildx VERB --builder NAME …`, ready to run with `environment`."""
        return [*self.buildx, verb, f"--builder={self.name}", *words]

    def environment(self) -> Mapping[str, str]:
        """This process's environment without what would lead docker or buildx elsewhere."""
        away = ("DOCKER_HOST", "DOCKER_CONTEXT", "BUILDX_BUILDER", "BUILDX_CONFIG", "DOCKER_CONFIG", "BUILDKIT_HOST")
        kept = {name: value for name, value in os.environ.items() if name not in away}
        return {**kept, "DOCKER_CONFIG": str(self.docker_config)}


@contextmanager
def private_builder(
    tools: Tools, engine: Engine, *, name: str = "reconcile", platforms: Iterable[Platform] = ()
) -> Iterator[Builder]:
    """A builder called `name` on `engine`; `platforms` are announced as those it can build for (binfmt.py)."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=engine.folder))  # it goes with the engine
    with Bridge(engine.socket, folder / "buildkit.sock") as bridge:
        builder = Builder(name, tools[Tool.DOCKER], docker_config(tools, folder / "docker"))
        words = ["create", f"--name={name}", "--driver=remote"]
        if announced := ",".join(map(str, platforms)):
            words.append(f"--platform={announced}")
        _run(builder, [*builder.buildx, *words, f"unix://{bridge.socket}"])
        yield builder


def docker_config(tools: Tools, folder: Path) -> Path:
    """`folder` made a docker configuration with buildx as its plugin and no credentials."""
    try:
        (folder / "cli-plugins").mkdir(parents=True, mode=0o700)
        (folder / "cli-plugins" / "docker-buildx").symlink_to(tools[Tool.BUILDX])
        (folder / "config.json").write_text(json.dumps({"auths": {}}), encoding="utf-8")
    except OSError as error:
        raise ToolError(f"docker's configuration can't be written: {error.strerror}", where=str(folder)) from error
    return folder


def _run(builder: Builder, argv: list[str]) -> None:
    try:
        done = subprocess.run(
            argv, env=builder.environment(), capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolTimeout("docker buildx create took longer than 60 s") from error
    except OSError as error:
        raise ToolError(f"docker can't be started: {error.strerror}", where=argv[0]) from error
    if done.returncode != 0:
        raise ToolError(
            f"docker buildx create failed with status {done.returncode}", tail=done.stderr.splitlines()[-6:]
        )
