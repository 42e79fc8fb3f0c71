"""One builder with a native node per platform: buildx's own way to spread builds, which apply takes by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.local.bridge import Bridge
from reconciler.local.builder import Builder, docker_config
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.engine import Engine
from reconciler.local.images import BaseImages
from reconciler.local.tools import Tools
from tests.stack.mirror import AMD64, ARM64, Mirror
from tests.stack.running import run_tool

NODES = (AMD64, ARM64)


@pytest.fixture
def farm(tools: Tools, engine: Engine, tmp_path: Path) -> Iterator[tuple[Builder, list[Engine]]]:
    """A builder of two engines, each announced for one platform; `engine` has the other one emulated for both."""
    builder = Builder("farm", tools[Tool.DOCKER], docker_config(tools, tmp_path / "docker"))
    with ExitStack() as stack:
        engines = [stack.enter_context(Engine(tools)) for _ in NODES]
        for number, (one, platform) in enumerate(zip(engines, NODES, strict=True)):
            bridge = stack.enter_context(Bridge(one.socket, one.folder / "buildkit.sock"))
            words = ["create", "--name=farm", f"--node=farm-{platform.architecture}", "--driver=remote"]
            words += [f"--platform={platform}", *(["--append"] if number else []), f"unix://{bridge.socket}"]
            run_tool(*builder.buildx, *words, env=builder.environment())
        yield builder, engines


def steps(tools: Tools, engine: Engine) -> list[str]:
    """The RUN steps in an engine's build cache."""
    env = {"DOCKER_HOST": f"unix://{engine.socket}"}
    text = run_tool(tools[Tool.DOCKER], "system", "df", "--verbose", "--format=json", env=env).stdout
    cached = [str(entry.get("Description", "")) for entry in json.loads(text)["BuildCache"]]
    return [description for description in cached if "uname -m" in description]


async def test_each_platform_on_its_own_machine(
    farm: tuple[Builder, list[Engine]],
    registry: CncfRegistry,
    base_images: BaseImages,
    tools: Tools,
    tmp_path: Path,
) -> None:
    """With `--builder`, each platform is built on the node that is at home on it, and no other."""
    builder, engines = farm
    folder = tmp_path / "farmed"
    folder.mkdir()
    mirror = Mirror.on(registry.host, base_images, builder, tools, folder)
    outcome = await mirror.reconcile()
    assert outcome.exit_code == 0, outcome
    # both on one node would be two steps there, and none on the other
    assert [len(steps(tools, one)) for one in engines] == [1, 1]
