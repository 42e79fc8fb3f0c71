"""Reading what is attached to a digest: every layout, whatever descriptors and annotations claim of it (protocols 3).

Three places are asked, side by side: the referrers of the digest (the API, or the index under the fallback tag), and
cosign 2's tags `sha256-<hex>.sig` and `.att`. Each referrer's manifest is fetched, because descriptors are wrong or
bare with most writers (3.10, 3.11); its `subject` must be the digest, or anyone could list it under any.

What can't be read is a `Fault` and says which kinds could have been in it: those are unknown then, not missing
(rule 1). What is definitely gone, or definitely no evidence, is a note.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import Malformed, RegistryError
from reconciler.evidence.parse import clean
from reconciler.evidence.raw import Attached, Fault, Form, Raw
from reconciler.evidence.verdict import kind_of
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.observed import Absent
from reconciler.model.reference import Repository
from reconciler.registry import manifests, media
from reconciler.registry.descriptor import Descriptor

if TYPE_CHECKING:
    from reconciler.registry.client import Registry

# one signature, one mirror statement, SBOM and provenance of a few platforms, signed a few times over; an index with
# more than this was filled by someone who wants it read for ever
MAX_REFERRERS = 256
MAX_LAYERS = 256
# what is larger is spooled to disk, a few at a time
LARGE = 256 * 1024
# what the registry's client reads of a manifest
MAX_MANIFEST = 4 * 1024 * 1024
# of all that is attached to one digest
MAX_TOTAL = 512 * 1024 * 1024
_BUNDLE_LAYER = "application/vnd.dev.sigstore.bundle"
_SIG_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
_ATT_LAYER = "application/vnd.dsse.envelope.v1+json"
_PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"


@dataclass(slots=True)
class _Found:
    """What the concurrent reads of one digest have found so far."""

    attached: list[Attached] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    index: Digest | None = None
    legacy: dict[str, Digest] = field(default_factory=dict)


async def gather(
    registry: Registry, repository: Repository, digest: Digest, known: frozenset[Digest] = frozenset()
) -> Raw:
    """All that is attached to `digest`. Bundles in `known`, and large blobs, are named but not fetched.

    Raises nothing of the registry's: what it didn't answer is in `faults`.
    """
    found = _Found()
    async with asyncio.TaskGroup() as group:
        group.create_task(_referrers(registry, repository, digest, known, found))
        for form in (Form.SIG, Form.ATT):
            group.create_task(_legacy(registry, repository, digest, form, known, found))
    attached = {(one.form, one.digest, *sorted(one.annotations.items())): one for one in found.attached}
    kept, total = [], 0
    for one in sorted(attached.values(), key=lambda one: (one.size, one.digest)):
        total += one.size
        if total <= MAX_TOTAL:
            kept.append(one)
        else:
            found.faults.append(
                Fault(
                    f"more than {MAX_TOTAL} bytes are attached to {digest.short}, and no more are read", one.form.kinds
                )
            )
            break
    return Raw(
        tuple(sorted(kept, key=lambda one: (one.form.value, one.digest))),
        tuple(sorted(found.faults, key=lambda fault: fault.reason)),
        tuple(sorted(found.notes)),
        found.index,
        dict(sorted(found.legacy.items())),
    )


async def _referrers(
    registry: Registry, repository: Repository, digest: Digest, known: frozenset[Digest], found: _Found
) -> None:
    try:
        referrers = await registry.referrers(repository, digest)
    except RegistryError as error:
        found.faults.append(Fault(f"the referrers of {digest.short}: {error.reason}"))
        return
    found.index = referrers.index
    # those that say they are bundles come first, should there be too many
    entries = {entry.digest: entry for entry in referrers.descriptors}
    ordered = sorted(entries.values(), key=lambda entry: (not _says_bundle(entry), entry.digest))
    if len(ordered) > MAX_REFERRERS:
        found.faults.append(
            Fault(f"{len(ordered)} manifests refer to {digest.short}, and only {MAX_REFERRERS} of them are read")
        )
    async with asyncio.TaskGroup() as group:
        for entry in ordered[:MAX_REFERRERS]:
            group.create_task(_referrer(registry, repository, digest, entry, known, found))


def _says_bundle(entry: Descriptor) -> bool:
    return entry.artifact_type.startswith(_BUNDLE_LAYER) or _PREDICATE_TYPE in entry.annotations


async def _referrer(
    registry: Registry,
    repository: Repository,
    digest: Digest,
    entry: Descriptor,
    known: frozenset[Digest],
    found: _Found,
) -> None:
    where = f"referrer {entry.digest.short}"
    if entry.size > MAX_MANIFEST:
        found.notes.append(f"{where}: {entry.size} bytes, more than the {MAX_MANIFEST} that are read")
        return
    try:
        manifest = await registry.manifest(repository, entry.digest)
    except RegistryError as error:
        if _is_no_image(entry, error):
            # of a type that no bundle has, and so no evidence
            return
        found.faults.append(Fault(f"{where}: {error.reason}"))
        return
    if isinstance(manifest, Absent):
        found.notes.append(f"{where}: listed, but its manifest is gone")
        return
    try:
        image = manifests.parse(manifest)
    except Malformed as error:
        found.notes.append(f"{where}: {clean(error.what)}")
        return
    if not isinstance(image, manifests.Image) or not any(
        layer.media_type.startswith(_BUNDLE_LAYER) for layer in image.layers
    ):
        # some other artifact that refers to the image: no evidence, and nothing wrong with it
        return
    if image.subject is None or image.subject.digest != digest:
        about = image.subject.digest.short if image.subject else "nothing"
        found.notes.append(f"{where}: its subject is {about}, not {digest.short}")
        return
    if len(image.layers) != 1:
        found.notes.append(f"{where}: it has {len(image.layers)} layers, a bundle is one")
        return
    claims = kind_of(image.annotations.get(_PREDICATE_TYPE, ""))
    await _blob(registry, repository, Form.BUNDLE, image.layers[0], claims, known, found)


def _is_no_image(entry: Descriptor, error: RegistryError) -> bool:
    """Whether a manifest wasn't had because it is of some other type, as its descriptor says and the registry too."""
    return entry.media_type not in media.MANIFESTS and (isinstance(error, Malformed) or error.status == 404)


async def _legacy(
    registry: Registry, repository: Repository, digest: Digest, form: Form, known: frozenset[Digest], found: _Found
) -> None:
    where = f"{digest.short}{form.value}"
    tag = f"{digest.fallback_tag}{form.value}"
    try:
        manifest = await registry.manifest(repository, tag)
    except RegistryError as error:
        found.faults.append(Fault(f"{where}: {error.reason}", form.kinds))
        return
    if isinstance(manifest, Absent):
        return
    found.legacy[form.value] = manifest.digest
    try:
        image = manifests.parse(manifest)
    except Malformed as error:
        found.notes.append(f"{where}: {clean(error.what)}")
        return
    wanted = _SIG_LAYER if form is Form.SIG else _ATT_LAYER
    layers = [one for one in image.layers if one.media_type == wanted] if isinstance(image, manifests.Image) else []
    if len(layers) > MAX_LAYERS:
        found.faults.append(Fault(f"{where} has {len(layers)} layers, and only {MAX_LAYERS} are read", form.kinds))
    async with asyncio.TaskGroup() as group:
        for layer in layers[:MAX_LAYERS]:
            claims = Kind.SIGNATURE if form is Form.SIG else kind_of(layer.annotations.get("predicateType", ""))
            group.create_task(_blob(registry, repository, form, layer, claims, known, found))


async def _blob(
    registry: Registry,
    repository: Repository,
    form: Form,
    layer: Descriptor,
    claims: Kind | None,
    known: frozenset[Digest],
    found: _Found,
) -> None:
    one = Attached(form, layer.digest, layer.size, layer.annotations, claims)
    where = f"{form.layout} {layer.digest.short}"
    if layer.size > form.cap:
        found.notes.append(f"{where}: {layer.size} bytes, more than the {form.cap} that are read")
        return
    if (form is Form.BUNDLE and layer.digest in known) or layer.size > LARGE:
        found.attached.append(one)
        return
    try:
        data = await registry.blob(repository, layer.digest, cap=LARGE)
    except RegistryError as error:
        # also where it is larger than its manifest says: some proxy's page without end must hide no evidence
        found.faults.append(Fault(f"{where}: {error.reason}", form.kinds))
    else:
        if isinstance(data, Absent):
            found.notes.append(f"{where}: listed, but its blob is gone")
        else:
            found.attached.append(Attached(form, one.digest, one.size, one.annotations, claims, data))
