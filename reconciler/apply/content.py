"""What stands in the registry under a digest or a tag, as something that can be proven and tagged."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.apply.proofs import Subject
from reconciler.errors import RegistryError
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.reference import Repository
from reconciler.registry.client import Registry
from reconciler.registry.manifests import Index, config_platform, parse

CONFIG_CAP = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A subject with its very bytes: a tag is put on these, so that its digest stays."""

    subject: Subject
    data: bytes


async def read_content(registry: Registry, repository: Repository, reference: str | Digest) -> Content:
    """The index or image there; RegistryError where it is gone, lacks its config, or gives no definite answer."""
    manifest = await registry.manifest(repository, reference)
    where = f"{repository}@{reference}" if isinstance(reference, Digest) else f"{repository}:{reference}"
    if isinstance(manifest, Absent):
        raise RegistryError("it isn't there any more", where=where, todo="make a new plan")
    content = parse(manifest)
    if isinstance(content, Index):
        platforms = content.platforms
    else:
        config = await registry.blob(repository, content.config.digest, cap=CONFIG_CAP)
        if isinstance(config, Absent):
            raise RegistryError("its config is gone, so its platform can't be told", where=where)
        platforms = {config_platform(config, where): content.child}
    return Content(Subject(manifest.descriptor, platforms, content.annotations), manifest.data)
