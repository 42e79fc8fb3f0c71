"""A local registry as tests want it: a clock that they turn, and a client that shows everything as it is."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from reconciler.local.registry import LocalRegistry

ALL_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)

# loopback speaks plain HTTP: reading all the world's certificates for each client costs more than most tests
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Clock:
    """Stands still until it is turned; in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds


@contextmanager
def served(root: Path, **options: Any) -> Iterator[tuple[LocalRegistry, httpx.Client]]:
    """A registry in that folder and a client for it that follows nothing and retries nothing."""
    with (
        LocalRegistry(root, **options) as registry,
        httpx.Client(base_url=registry.url, headers={"Accept": ALL_TYPES}, verify=NO_TLS, trust_env=False) as client,
    ):
        yield registry, client


def basic(user: str, password: str) -> dict[str, str]:
    """The header that shows these credentials."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def code(answer: httpx.Response) -> str:
    """The first error's code in an answer's body."""
    return str(answer.json()["errors"][0]["code"])


def message(answer: httpx.Response) -> str:
    """The first error's message in an answer's body."""
    return str(answer.json()["errors"][0]["message"])
