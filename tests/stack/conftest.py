"""The real parts, started once for all stack tests; where one can't start, the tests fail (they never skip)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local import binfmt, images
from reconciler.local.builder import Builder, private_builder
from reconciler.local.cncf import CncfRegistry
from reconciler.local.engine import Engine
from reconciler.local.images import BaseImages
from reconciler.local.tools import EVERY, Tools, obtain

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder is a stack test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Every tool, from PATH or from the cache."""
    return obtain(*EVERY)


@pytest.fixture(scope="session")
def engine(tools: Tools) -> Iterator[Engine]:
    """A private engine that builds for the platforms of `images.PLATFORMS`, natively or emulated."""
    with binfmt.emulation(images.PLATFORMS, tools), Engine(tools) as engine:
        yield engine


@pytest.fixture(scope="session")
def builder(tools: Tools, engine: Engine) -> Iterator[Builder]:
    """A buildx builder on it that can push by digest."""
    with private_builder(tools, engine, platforms=images.PLATFORMS) as builder:
        yield builder


@pytest.fixture(scope="session")
def registry(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CncfRegistry]:
    """The CNCF registry, open to all; tests use repositories of their own in it."""
    with CncfRegistry(tools, tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def base_images(tools: Tools, builder: Builder, registry: CncfRegistry) -> BaseImages:
    """A busybox and an SBOM generator in `registry`, by digest."""
    return images.make(tools, builder, registry.host)
