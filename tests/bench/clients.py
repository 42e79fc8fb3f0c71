"""The usual tools, asked the same questions as a plan asks: one after the other as scripts do, or many side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools, obtain
from tests.bench.cost import Cost, environment, run
from tests.bench.scene import Scene

TOOLS = (Tool.DOCKER, Tool.CRANE, Tool.SKOPEO, Tool.COSIGN)


@dataclass(frozen=True, slots=True)
class Client:
    """One way to ask for one reference, which is added to `words`, after `prefix`; `says` is what it tells."""

    name: str
    words: tuple[object, ...]
    says: str
    prefix: str = ""

    def loop(self, there: Scene, refs: list[str], *, at_once: int = 1) -> Cost:
        """A process for each reference, `at_once` side by side. Every one of them must succeed."""
        env = environment(there.folder, {"DOCKER_CONFIG": str(there.folder / "docker")})
        words = ["xargs", "-P", at_once, "-n", 1, *self.words]
        return run(words, env=env, stdin="".join(f"{self.prefix}{ref}\n" for ref in refs))


def clients(tools: Tools, there: Scene) -> tuple[Client, ...]:
    """All of them, the slowest habit first."""
    skopeo = (tools[Tool.SKOPEO], "inspect", "--raw", "--tls-verify=false")
    key = ("--key", there.public_key, "--insecure-ignore-tlog=true", "--allow-http-registry")
    return (
        Client(
            "docker manifest inspect", (tools[Tool.DOCKER], "manifest", "inspect", "--insecure"), "that it is there"
        ),
        Client("crane digest", (tools[Tool.CRANE], "digest", "--insecure"), "its digest"),
        Client("crane manifest", (tools[Tool.CRANE], "manifest", "--insecure"), "its platforms"),
        Client("skopeo inspect --raw", skopeo, "its platforms", "docker://"),
        Client("cosign verify --key", (tools[Tool.COSIGN], "verify", *key), "one signature"),
    )


def versions(tools: Tools) -> Mapping[str, str]:
    """What each of them says it is."""
    asked: dict[str, tuple[list[object], Callable[[str], str]]] = {
        "docker": ([tools[Tool.DOCKER], "--version"], lambda out: out.split()[2].rstrip(",")),
        "skopeo": ([tools[Tool.SKOPEO], "--version"], lambda out: out.split()[-1]),
    }
    env = environment(Path("/nonexistent"))
    # Debian builds crane and cosign without a version in them
    unsaid = {
        name: f"Debian's, {tools[tool].parent.name.rpartition('-')[2]}"
        for name, tool in (("crane", Tool.CRANE), ("cosign", Tool.COSIGN))
    }
    return {name: read(run(argv, env=env).output) for name, (argv, read) in asked.items()} | unsaid


def obtained() -> Tools:
    """The tools, from PATH or the cache."""
    return obtain(*TOOLS)
