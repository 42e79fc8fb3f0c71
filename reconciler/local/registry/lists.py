"""Lists over HTTP: tags (end-8) and referrers (end-12), page by page."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from reconciler.local.registry.answer import Answer, Code, Refusal, as_json
from reconciler.local.registry.call import Call
from reconciler.local.registry.contents import OCI_INDEX
from reconciler.local.registry.manners import Referrers
from reconciler.local.registry.place import Place


async def tags(place: Place, call: Call) -> Answer:
    """Answer `GET /v2/<name>/tags/list?n=…&last=…`."""
    _only_get(call)
    repository, manners = call.route.repository, place.manners
    if not place.store.exists(repository):
        raise Refusal(404, Code.NAME_UNKNOWN, "repository name not known to registry")
    there = place.visible.tags(repository)
    if not manners.oldest_first:
        there.sort(key=lambda tag: (tag.lower(), tag))
    size = _size(call, manners.page, len(there))
    size = min(size, manners.max_page) if manners.max_page else size
    rest = _after(there, call.parameter("last"), in_order=not manners.oldest_first)
    page = rest[:size]
    headers = {}
    if page and len(rest) > size:
        more = urlencode({"last": page[-1], "n": size})
        headers["Link"] = f'</v2/{repository}/tags/list?{more}>; rel="next"'
    return as_json({"name": repository, "tags": page}, headers=headers)


def _size(call: Call, default: int, everything: int) -> int:
    asked = call.parameter("n")
    if not asked:
        return default or everything
    if not asked.isdecimal() or len(asked) > 9:
        raise Refusal(400, Code.UNSUPPORTED, f"n={asked[:20]!r} is no number of tags")
    return int(asked)


def _after(there: list[str], last: str, *, in_order: bool) -> list[str]:
    if not last:
        return there
    if in_order:
        return [tag for tag in there if (tag.lower(), tag) > (last.lower(), last)]
    return there[there.index(last) + 1 :] if last in there else []


async def referrers(place: Place, call: Call) -> Answer:
    """Answer `GET /v2/<name>/referrers/<digest>?artifactType=…`, in the way that the manners say."""
    _only_get(call)
    manners = place.manners
    if manners.referrers is Referrers.PAGE:
        return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
    if manners.referrers is Referrers.UNKNOWN:
        raise Refusal(404, Code.MANIFEST_UNKNOWN, "manifest unknown")
    found = place.store.referrers(call.route.repository, call.route.digest)
    if manners.referrers is Referrers.EMPTY:
        found = []
    headers = {}
    if wanted := call.parameter("artifactType"):
        found = [entry for entry in found if entry.get("artifactType") == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    start = call.parameter("start")
    first = int(start) if start.isdecimal() and len(start) < 9 else 0
    size = manners.referrers_page or len(found)
    if first + size < len(found):
        more = {"start": first + size} | ({"artifactType": wanted} if wanted else {})
        path = f"/v2/{call.route.repository}/referrers/{quote(call.route.reference, safe=':')}"
        headers["Link"] = f'<{path}?{urlencode(more)}>; rel="next"'
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found[first : first + size]}
    return as_json(index, media_type=OCI_INDEX, headers=headers)


def _only_get(call: Call) -> None:
    if call.method != "GET":
        raise Refusal(405, Code.UNSUPPORTED, f"{call.method} means nothing for a list")
