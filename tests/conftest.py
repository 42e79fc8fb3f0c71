"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The transport under httpx is aiohttp's, so asyncio is the only loop."""
    return "asyncio"
