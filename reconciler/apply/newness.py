"""Whether a repository that denies reading is new."""

from __future__ import annotations

from reconciler.errors import Denied, Refused, RegistryError
from reconciler.model.observed import Absent
from reconciler.model.wanted import Wanted
from reconciler.registry.client import Registry
from reconciler.registry.descriptor import Manifest
from reconciler.registry.push import NotGranted


async def settle_new(registry: Registry, wanted: Wanted) -> None:
    """A repository that denies reading is new only if we may push to it and then get a definite 404; else Refused.

    Where the desired state says that it may be new (`create`), the right to push is enough.
    """
    repository = wanted.target.repository
    todo = f"if it doesn't exist yet, write `create: [{wanted.image}]` in the desired file"
    try:
        may_push = await registry.can_push(repository)
        # with the token that may push: the unknown is denied to those who may only pull (protocols 2.7)
        found = await _found(registry, wanted)
    except RegistryError as error:
        raise Refused(f"whether it is new can't be settled: {error.reason}", where=str(repository), todo=todo) from None
    if isinstance(may_push, NotGranted) or not isinstance(found, Absent):
        why = f"we may not push: {may_push.reason}" if isinstance(may_push, NotGranted) else "its tag is there"
        raise Refused(f"presumed new, but {why}", where=str(repository), todo=todo)


async def _found(registry: Registry, wanted: Wanted) -> Manifest | Absent:
    try:
        return await registry.manifest(wanted.target.repository, wanted.target.tag, push=True)
    except Denied:
        if wanted.create:
            return Absent()
        raise
