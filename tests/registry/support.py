"""What the tests of the client share: time that passes at once, a client for a local registry, scripted answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from reconciler.local.registry import LocalRegistry
from reconciler.model.reference import Repository
from reconciler.registry.client import Registry
from reconciler.registry.credential import Credential
from reconciler.registry.credentials import Credentials
from reconciler.registry.wire import Timeouts

# what passes is retried once; nothing times out, however busy the machine is
QUICK = Timeouts(connect=60.0, read=60.0, answer=60.0, blob=60.0, patience=60.0, attempts=2, dial_attempts=2)


class Time:
    """A clock and a sleep that turns it: waits cost nothing and are noted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass the time."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def client(
    registry: LocalRegistry | None = None,
    *,
    time: Time | None = None,
    user: str = "",
    password: str = "",
    **options: Any,
) -> Registry:
    """A client for a local registry, with a credential for it where `user` is given."""
    time = time or Time()
    fixed = {registry.host: Credential(user, password, source="a test")} if registry and user else {}
    options.setdefault("timeouts", QUICK)
    return Registry(Credentials(fixed=fixed), allow_private=True, clock=time, sleep=time.sleep, **options)


def repository(registry: LocalRegistry, name: str = "mirror/hello") -> Repository:
    """A repository of a local registry."""
    return Repository(registry.host, name)


def names_in(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


class Script:
    """A transport that answers by a function and keeps every request."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.seen: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self._answer(request)

    @property
    def transport(self) -> httpx.MockTransport:
        """It, for a client."""
        return httpx.MockTransport(self)

    def sent(self, host: str) -> list[httpx.Request]:
        """The requests to one host."""
        return [request for request in self.seen if request.url.host == host]


def scripted(
    script: Script,
    credentials: Mapping[str, Credential] | None = None,
    *,
    time: Time | None = None,
    **options: Any,
) -> Registry:
    """A client whose answers are made up."""
    time = time or Time()
    options.setdefault("timeouts", QUICK)
    return Registry(
        Credentials(fixed=credentials or {}), clock=time, sleep=time.sleep, transport=script.transport, **options
    )


def error(status: int, code: str, message: str = "", **headers: str) -> httpx.Response:
    """An error answer with the spec's body."""
    body = {"errors": [{"code": code, "message": message}]}
    return httpx.Response(status, content=json.dumps(body).encode(), headers=headers)
