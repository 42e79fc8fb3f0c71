"""Manifests over HTTP (distribution-spec v1.1.1: end-3, end-7, end-9)."""

from __future__ import annotations

import asyncio

from reconciler.local.registry import contents
from reconciler.local.registry.answer import Answer, Code, Refusal, Slice
from reconciler.local.registry.call import Call
from reconciler.local.registry.index import Manifest
from reconciler.local.registry.manners import Referrers
from reconciler.local.registry.place import OnTagPut, Place, Violation
from reconciler.local.registry.store import View
from reconciler.model.digest import Digest

# as CNCF Distribution words it, and GHCR after it (protocols 2.9)
_NOT_ACCEPTED = {
    contents.OCI_INDEX: "OCI index found, but Accept header does not support OCI indexes",
    contents.OCI_MANIFEST: "OCI manifest found, but Accept header does not support OCI manifests",
    contents.DOCKER_LIST: "manifest list found, but Accept header does not support manifest lists",
    contents.DOCKER_MANIFEST: "schema 2 manifest found, but Accept header does not support schema 2 manifests",
}


async def serve(place: Place, call: Call) -> Answer:
    """Answer one request for a manifest."""
    match call.method:
        case "GET" | "HEAD":
            return _get(place, call)
        case "PUT":
            return await _put(place, call)
        case "DELETE":
            return _delete(place, call)
    raise Refusal(405, Code.UNSUPPORTED, f"{call.method} means nothing for a manifest")


def _get(place: Place, call: Call) -> Answer:
    repository = call.route.repository
    digest = call.route.digest if call.route.by_digest else place.visible.resolve(repository, call.route.reference)
    manifest = None if digest is None else place.store.manifest(repository, digest)
    if manifest is None:
        raise _unknown(place, call)
    if place.manners.strict_accept:
        _check_accept(manifest, call)
    headers = {"Content-Type": manifest.media_type}
    if place.manners.digest_header:
        headers["Docker-Content-Digest"] = manifest.text
    if place.manners.conditional:
        headers["ETag"] = f'"{manifest.text}"'
        if headers["ETag"] in call.listed("If-None-Match"):
            return Answer(304, headers)
    if call.method == "HEAD":
        return Answer(200, headers, Slice(place.store.files.path(manifest.digest), 0, manifest.size))
    return Answer(200, headers, manifest.data)


def _unknown(place: Place, call: Call) -> Refusal:
    if place.store.exists(call.route.repository) or place.manners.hides_unknown:
        return Refusal(404, Code.MANIFEST_UNKNOWN, "manifest unknown", detail={"Tag": call.route.reference})
    return Refusal(404, Code.NAME_UNKNOWN, "repository name not known to registry")


def _check_accept(manifest: Manifest, call: Call) -> None:
    accepted = {part.partition(";")[0].strip() for part in call.listed("Accept")}
    if manifest.media_type not in accepted:
        what = _NOT_ACCEPTED.get(manifest.media_type, "manifest unknown")
        raise Refusal(404, Code.MANIFEST_UNKNOWN, what)


async def _put(place: Place, call: Call) -> Answer:
    repository, store = call.route.repository, place.store
    tag = "" if call.route.by_digest else call.route.tag
    expected = call.route.digest if call.route.by_digest else None
    data = await call.body(contents.MANIFEST_CAP)
    digest = store.put_manifest(repository, data, call.headers.get("Content-Type", ""), digest=expected)
    if tag:
        await _put_tag(place, call, tag, digest)
    headers = {
        "Location": f"/v2/{repository}/manifests/{digest}",
        "Docker-Content-Digest": str(digest),
        "Content-Length": "0",
    }
    manifest = store.manifest(repository, digest)
    if place.manners.referrers is Referrers.API and manifest is not None and manifest.subject is not None:
        headers["OCI-Subject"] = str(manifest.subject)
    if place.manners.conditional:
        headers["ETag"] = f'"{digest}"'
    return Answer(201, headers)


async def _put_tag(place: Place, call: Call, tag: str, digest: Digest) -> None:
    repository = call.route.repository
    # a hook may take its time (it may ask this registry): another PUT must not come between it and the tag
    async with place.turn:
        for hook in place.hooks:
            error = await asyncio.to_thread(_ask, place, hook, repository, tag, digest)
            if error is not None:
                place.violations.append(Violation(repository, tag, digest, error))
                raise Refusal(500, Code.UNKNOWN, f"a hook refused this tag: {type(error).__name__}: {error}")
        before = place.store.resolve(repository, tag)
        _check_conditions(call, before)
        place.store.tag(repository, tag, digest)
        place.visible.wrote(repository, tag, before, place.manners.lag)


def _ask(place: Place, hook: OnTagPut, repository: str, tag: str, digest: Digest) -> BaseException | None:
    try:
        hook(repository, tag, digest, View(place.store))
    except BaseException as error:  # pytest.fail() raises no Exception
        return error
    return None


def _check_conditions(call: Call, before: Digest | None) -> None:
    etag = f'"{before}"' if before else ""
    wanted, unwanted = call.listed("If-Match"), call.listed("If-None-Match")
    matches = etag in wanted or ("*" in wanted and before is not None)
    clashes = etag in unwanted or ("*" in unwanted and before is not None)
    if (wanted and not matches) or (unwanted and clashes):
        raise Refusal(412, Code.DENIED, f"the tag names {before or 'nothing'} now")


def _delete(place: Place, call: Call) -> Answer:
    if not place.manners.deletes:
        raise Refusal(405, Code.UNSUPPORTED, "this registry deletes nothing")
    repository = call.route.repository
    if call.route.by_digest:
        digest = call.route.digest
        if place.store.manifest(repository, digest) is None:
            raise _unknown(place, call)
        place.store.delete_manifest(repository, digest)
    else:
        before = place.store.resolve(repository, call.route.reference)
        if before is None:
            raise _unknown(place, call)
        place.store.untag(repository, call.route.reference)
        place.visible.wrote(repository, call.route.reference, before, place.manners.lag)
    return Answer(202, {"Content-Length": "0"})
