"""The registry without a socket: a call in, an answer out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from reconciler.errors import ReconcileError
from reconciler.local.registry import blobs, lists, manifests, storage
from reconciler.local.registry.answer import Answer, Code, Refusal, failure
from reconciler.local.registry.call import Call
from reconciler.local.registry.limiter import Limiter
from reconciler.local.registry.place import Place
from reconciler.local.registry.route import Kind

Serve = Callable[[Place, Call], Awaitable[Answer]]

_SERVES: Mapping[Kind, Serve] = {
    Kind.MANIFEST: manifests.serve,
    Kind.BLOB: blobs.serve,
    Kind.UPLOAD: blobs.upload,
    Kind.TAGS: lists.tags,
    Kind.REFERRERS: lists.referrers,
}
_ACTIONS = {"GET": "pull", "HEAD": "pull", "POST": "push", "PUT": "push", "PATCH": "push"}


class Core:
    """Decides who answers a call, and turns refusals into answers."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._limiter = Limiter(place.clock)

    async def answer(self, call: Call) -> Answer:
        """Answer one call; never raises but for a broken connection."""
        try:
            return await self._answer(call)
        except Refusal as refusal:
            return refusal.answer()
        except ReconcileError as error:
            return failure(500, Code.UNKNOWN, str(error))
        except ConnectionError:
            raise
        except OSError as error:
            return failure(500, Code.UNKNOWN, f"the registry's disk: {error}")

    async def _answer(self, call: Call) -> Answer:
        place, kind = self._place, call.route.kind
        manners = place.manners
        if manners.per_minute and (slow := self._limiter.check(manners.per_minute)):
            return slow
        if kind is Kind.TOKEN:
            return place.access.token(call, manners)
        if kind is Kind.STORAGE:
            return await storage.serve(place, call)
        if kind is Kind.MAZE:
            step = call.route.reference[:9]
            return Answer(307, {"Location": f"{place.url}/maze/{int(step) + 1 if step.isdecimal() else 0}"})
        if kind is Kind.BASE:
            place.access.check(call, "pull", manners, place.url)
            headers = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}
            return Answer(200, headers, b"{}")
        serve = _SERVES.get(kind)
        if serve is None:
            return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        call.route.check()
        place.access.check(call, self._action(call), manners, place.url)
        return await serve(place, call)

    def _action(self, call: Call) -> str:
        if call.method == "DELETE" and call.route.kind is not Kind.UPLOAD and self._place.manners.deletes:
            return "delete"
        return _ACTIONS.get(call.method, "push") if call.route.kind is not Kind.UPLOAD else "push"
