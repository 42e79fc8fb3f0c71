"""What the answer to a request for a manifest says, its digest checked: pure."""

from __future__ import annotations

from urllib.parse import quote

from reconciler.errors import Malformed
from reconciler.model.digest import Digest
from reconciler.model.reference import Repository, check_tag
from reconciler.registry import media, parsing
from reconciler.registry.answers import Answer
from reconciler.registry.descriptor import Descriptor, Manifest


def where_of(repository: Repository, reference: str | Digest) -> str:
    """How an error names it."""
    return f"{repository}@{reference}" if isinstance(reference, Digest) else f"{repository}:{reference}"


def manifest_path(repository: Repository, reference: str | Digest) -> str:
    """The path of its manifest; ValueError where `reference` is no tag."""
    tail = str(reference) if isinstance(reference, Digest) else quote(check_tag(reference), safe="")
    return f"/v2/{repository.name}/manifests/{tail}"


def _stated(answer: Answer) -> Digest | None:
    """The digest that the answer states, None where it states none; ValueError where it is garbled."""
    stated = answer.headers.get("docker-content-digest", "")
    return Digest.parse(stated.strip()) if stated else None


def described(answer: Answer, reference: str | Digest) -> Descriptor | None:
    """What a HEAD says, None where it says too little to be believed: then a GET tells, and its bytes are hashed."""
    kind = media.essence(answer.headers.get("content-type", ""))
    length = answer.headers.get("content-length", "")
    try:
        digest = _stated(answer)
    except ValueError:
        return None
    if digest is None or kind not in media.MANIFESTS or not length.isdecimal() or len(length) > 15:
        return None
    if isinstance(reference, Digest) and reference != digest:
        return None
    return Descriptor(kind, digest, int(length))


def manifest_of(answer: Answer, reference: str | Digest, where: str) -> Manifest:
    """The manifest in a 200 to a GET; Malformed where it is no manifest or its bytes don't match."""
    kind = media.essence(answer.headers.get("content-type", ""))
    if kind not in media.MANIFESTS:
        shown = "".join(c for c in kind[:60] if c.isprintable()) or "nothing"
        raise Malformed(
            f"the answer says it is {shown}, which is no image", where=where, todo="check the registry's name"
        )
    try:
        stated = _stated(answer)
    except ValueError as error:
        raise parsing.malformed(str(error), where) from None
    digest = stated or Digest.of(answer.body)
    if not digest.matches(answer.body) or (isinstance(reference, Digest) and not reference.matches(answer.body)):
        raise Malformed("its bytes don't match its digest", where=where, todo="try again; someone may tamper with it")
    if isinstance(reference, Digest):
        digest = reference
    return Manifest(answer.body, digest, kind, len(answer.body), answer.headers.get("etag", ""), where)
