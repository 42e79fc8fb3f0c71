"""The other host that blobs come from: signed addresses that expire (protocols 2.21)."""

from __future__ import annotations

import hashlib
import hmac

from reconciler.local.registry.answer import Answer, Slice
from reconciler.local.registry.call import Call
from reconciler.local.registry.place import Place
from reconciler.local.registry.ranges import ranged
from reconciler.model.digest import Digest


def url(place: Place, digest: Digest) -> str:
    """A signed address of that content, good for a while."""
    until = int(place.clock() + place.manners.storage_seconds)
    return f"{place.storage}/storage/{digest}?until={until}&signature={_sign(place, str(digest), str(until))}"


async def serve(place: Place, call: Call) -> Answer:
    """Send the content, to whoever has the address and shows nothing else."""
    until, signature = call.parameter("until"), call.parameter("signature")
    if call.headers.get("Authorization"):
        # as the storage behind GHCR: a second way to sign in is a mistake, and here a leak
        return _error(400, "InvalidAuthenticationInfo", "only the signature in the address may be shown")
    if call.method != "GET":
        return _error(403, "AuthenticationFailed", "the signature is for GET")
    if not hmac.compare_digest(signature.encode(), _sign(place, call.route.reference, until).encode()):
        return _error(403, "AuthenticationFailed", "signature did not match")
    if int(until) <= place.clock():
        return _error(403, "AuthenticationFailed", "signature not valid in the specified time frame")
    path = place.store.files.path(Digest.parse(call.route.reference))
    if not path.exists():
        return _error(404, "BlobNotFound", "the specified blob does not exist")
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    return ranged(Slice(path, 0, path.stat().st_size), call.headers.get("Range", ""), headers)


def _sign(place: Place, digest: str, until: str) -> str:
    return hmac.new(place.secret, f"{digest}\n{until}".encode(), hashlib.sha256).hexdigest()


def _error(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())
