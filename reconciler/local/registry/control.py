"""A registry in a process of its own, looked at and changed from outside: for benchmarks.

    GET    /control/requests   {"tally": {"GET manifest": 20}, "statuses": {"200": 20}, "max_in_flight": 8}
    DELETE /control/requests   forget them
    PUT    /control/latency    the body is a number of milliseconds, added to every answer

These requests aren't counted themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Protocol

from aiohttp import web

from reconciler.local.registry.log import Log


class Controlled(Protocol):
    """What can be looked at and changed."""

    latency: float

    @property
    def requests(self) -> Log:
        """The requests so far."""
        ...


async def serve(registry: Controlled, request: web.BaseRequest) -> web.Response:
    """Answer one request for `/control/…`."""
    match request.method, request.path:
        case "GET", "/control/requests":
            return web.json_response(summary(registry.requests))
        case "DELETE", "/control/requests":
            registry.requests.reset()
            return web.Response(status=204)
        case "PUT", "/control/latency":
            try:
                milliseconds = float(await request.text())
            except ValueError:
                return web.Response(status=400, text="a number of milliseconds, please")
            if not math.isfinite(milliseconds) or milliseconds < 0:
                return web.Response(status=400, text="a number of milliseconds, please")
            registry.latency = milliseconds / 1000
            return web.Response(status=204)
    return web.Response(status=404)


def summary(log: Log) -> dict[str, object]:
    """What came, as JSON can say it."""
    return {
        "tally": dict(log.tally()),
        "statuses": dict(Counter(str(seen.status) for seen in log)),
        "max_in_flight": log.max_in_flight,
    }
