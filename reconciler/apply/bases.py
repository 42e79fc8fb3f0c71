"""What an image is built on, where that is there already: signed with it inside, so it must be proven as well."""

from __future__ import annotations

from reconciler.apply.content import read_content
from reconciler.apply.proofs import Prover
from reconciler.errors import BuildError
from reconciler.model.digest import Digest
from reconciler.model.reference import DigestRef, TagRef
from reconciler.model.wanted import Wanted
from reconciler.registry.client import Registry


async def proven_base(
    registry: Registry, prover: Prover, name: str, tag: TagRef, wanted: Wanted, digest: Digest | None = None
) -> DigestRef:
    """The digest that `tag` names, or `digest`; BuildError where it isn't proven to be ours and that version's.

    `name` is what FROM calls it, `wanted` what is built on it (rules 4 and 5). Raises RegistryError, EvidenceError.
    """
    content = await read_content(registry, tag.repository, digest or tag.tag)
    evidence = await prover.examine(tag.repository, content.subject)
    binding = evidence.binding
    if not await prover.authority(tag.repository, content.subject, evidence) or binding is None:
        raise BuildError(f"it is built on {tag} ({name}), which isn't proven to be ours", where=str(wanted.target))
    if binding.repository != str(tag.repository) or binding.version != tag.tag:
        what = f"it is built on {tag} ({name}), which is proven to be {binding.repository} {binding.version}"
        raise BuildError(what, where=str(wanted.target))
    return tag.repository.at(content.subject.digest)
