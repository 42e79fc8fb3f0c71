"""What the parts of one registry share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.local.registry.access import Access
from reconciler.local.registry.manners import Manners
from reconciler.local.registry.store import Store, View
from reconciler.local.registry.uploads import Uploads
from reconciler.local.registry.visible import Visible
from reconciler.model.digest import Digest

OnTagPut = Callable[[str, str, Digest, View], None]


@dataclass(frozen=True, slots=True)
class Violation:
    """What a hook raised when a tag was to be put."""

    repository: str
    tag: str
    digest: Digest
    error: BaseException

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}@{self.digest.short}: {type(self.error).__name__}: {self.error}"


@dataclass(slots=True)
class Place:
    """The store, the door, and all that goes with them; `url` and `storage` are known once the registry serves."""

    store: Store
    clock: Callable[[], float]
    access: Access
    manners: Manners
    visible: Visible
    uploads: Uploads
    hooks: list[OnTagPut] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    url: str = ""
    storage: str = ""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
