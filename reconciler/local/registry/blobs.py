"""Blobs over HTTP (distribution-spec v1.1.1: end-2, end-4 to end-6, end-10, end-11, end-13)."""

from __future__ import annotations

from reconciler.local.registry import storage
from reconciler.local.registry.answer import Answer, Code, Refusal, Slice
from reconciler.local.registry.call import Call
from reconciler.local.registry.place import Place
from reconciler.local.registry.ranges import ranged
from reconciler.local.registry.route import digest_of
from reconciler.local.registry.uploads import Upload


async def serve(place: Place, call: Call) -> Answer:
    """Answer one request for a finished blob."""
    repository, digest = call.route.repository, call.route.digest
    size = place.store.blob_size(repository, digest)
    if size is None:
        raise Refusal(404, Code.BLOB_UNKNOWN, "blob unknown to registry", detail=str(digest))
    match call.method:
        case "HEAD":
            return Answer(200, _headers(str(digest)), Slice(place.store.files.path(digest), 0, size))
        case "GET" if place.manners.redirects:
            return Answer(307, {"Location": storage.url(place, digest), "Content-Length": "0"})
        case "GET":
            whole = Slice(place.store.files.path(digest), 0, size)
            return ranged(whole, call.headers.get("Range", ""), _headers(str(digest)))
        case "DELETE" if place.manners.deletes:
            place.store.delete_blob(repository, digest)
            return Answer(202, {"Content-Length": "0"})
    raise Refusal(405, Code.UNSUPPORTED, f"{call.method} means nothing for a blob here")


def _headers(digest: str) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}


async def upload(place: Place, call: Call) -> Answer:
    """Answer one request about a blob on its way in."""
    repository, session = call.route.repository, call.route.reference
    if not session:
        if call.method != "POST":
            raise Refusal(405, Code.UNSUPPORTED, "an upload starts with POST")
        return await _start(place, call)
    current = place.uploads.get(repository, session)
    match call.method:
        case "GET":
            return Answer(204, current.headers())
        case "PATCH":
            current.check_order(call.headers.get("Content-Range", ""))
            await current.append(call)
            return Answer(202, current.headers())
        case "PUT":
            current.check_order(call.headers.get("Content-Range", ""))
            return await _finish(place, call, current)
        case "DELETE":
            place.uploads.cancel(current)
            return Answer(204)
    raise Refusal(405, Code.UNSUPPORTED, f"{call.method} means nothing for an upload")


async def _start(place: Place, call: Call) -> Answer:
    repository = call.route.repository
    if (mount := call.parameter("mount")) and (answer := _mount(place, call, mount)):
        return answer
    if call.parameter("digest"):
        current = place.uploads.start(repository)
        try:
            return await _finish(place, call, current)
        except BaseException:
            place.uploads.cancel(current)
            raise
    return Answer(202, place.uploads.start(repository).headers())


def _mount(place: Place, call: Call, mount: str) -> Answer | None:
    """The answer to a mount that works; None where an ordinary upload has to do it (spec, "Mounting a blob")."""
    digest, source = digest_of(mount), call.parameter("from")
    size = place.store.blob_size(source, digest)
    if size is None or not place.access.may_read(call, source, place.manners):
        return None
    place.store.link_blob(call.route.repository, digest, size)
    return _created(call, str(digest))


async def _finish(place: Place, call: Call, current: Upload) -> Answer:
    digest = digest_of(call.parameter("digest"))
    await current.append(call)
    place.uploads.finish(current, digest)
    place.store.link_blob(call.route.repository, digest, current.size)
    return _created(call, str(digest))


def _created(call: Call, digest: str) -> Answer:
    location = f"/v2/{call.route.repository}/blobs/{digest}"
    return Answer(201, {"Location": location, "Docker-Content-Digest": digest, "Content-Length": "0"})
