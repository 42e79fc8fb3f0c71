"""Whether anyone can pull what was published: GHCR starts packages private, and no API changes that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from reconciler.commands import Settings
from reconciler.desired.state import Desired
from reconciler.errors import Denied, RegistryError
from reconciler.model.observed import Absent
from reconciler.model.reference import Repository, TagRef
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.together import together


async def hidden(settings: Settings, desired: Desired, tags: Iterable[TagRef]) -> Mapping[Repository, str]:
    """What to say of each repository whose tag can't be pulled without credentials; one tag of each is enough.

    A registry that can't be asked now is passed over: that isn't what this is about.
    """
    one_each = {tag.repository: tag for tag in sorted(tags)}
    if not one_each:
        return {}
    host = desired.mirror.registry
    insecure = frozenset({host}) if desired.mirror.plain_http else frozenset[str]()
    async with Registry(Credentials(), insecure=insecure, allow_private=settings.allow_private) as anyone:
        found = await together(_why(anyone, tag) for tag in one_each.values())
    return {repository: why for repository, why in zip(one_each, found, strict=True) if why}


async def _why(anyone: Registry, tag: TagRef) -> str:
    try:
        seen = await anyone.head(tag.repository, tag.tag)
    except Denied:
        return f"nobody can pull {tag.repository} without credentials: {make_public(tag.repository)}"
    except RegistryError:
        return ""
    if isinstance(seen, Absent):
        return f"nobody can see {tag} without credentials: {make_public(tag.repository)}"
    return ""


def make_public(repository: Repository) -> str:
    """Where a package is made public, as far as that is known of its registry."""
    if repository.registry != "ghcr.io":
        return "make the repository public in the registry's settings"
    owner, _, name = repository.name.partition("/")
    package = quote(name, safe="")
    return (
        "GHCR starts packages private; make it public at "
        f"https://github.com/users/{owner}/packages/container/{package}/settings "
        f"(for an organisation: https://github.com/orgs/{owner}/packages/container/{package}/settings)"
    )
