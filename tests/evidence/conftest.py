"""A registry in this process, and our client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from reconciler.local.registry import LocalRegistry, Manners
from reconciler.registry.client import Registry
from tests.evidence.clients import client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    """One registry for a file's tests, each with a repository of its own."""
    with LocalRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def local(shared: LocalRegistry) -> Iterator[LocalRegistry]:
    """That registry with good manners, no faults and an empty log."""
    shared.manners = Manners()
    shared.requests.reset()
    yield shared
    shared.faults.clear()


@pytest.fixture
async def registry(local: LocalRegistry) -> AsyncIterator[Registry]:
    """Our client for it."""
    async with client(local.host) as registry:
        yield registry
