"""One request, as the registry's parts see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

from multidict import CIMultiDictProxy

from reconciler.local.registry.answer import Code, Refusal
from reconciler.local.registry.route import Route


class Content(Protocol):
    """Where a request's body comes from: aiohttp's StreamReader is one."""

    async def readany(self) -> bytes:
        """The next bytes; none at the end."""
        ...


@dataclass(slots=True)
class Call:
    """A request; `number` counts all since the start, `user` is known once it was authorised."""

    number: int
    method: str
    path: str
    query: str
    route: Route
    headers: CIMultiDictProxy[str]
    content: Content
    user: str = ""
    received: int = 0

    def parameters(self, name: str) -> list[str]:
        """Every value of a query parameter, in order; with too many fields, a refusal."""
        if not self.query:
            return []
        try:
            return parse_qs(self.query, keep_blank_values=True, max_num_fields=1000).get(name, [])
        except ValueError as error:
            raise Refusal(400, Code.UNSUPPORTED, "too many query parameters") from error

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, or nothing."""
        return next(iter(self.parameters(name)), "")

    def listed(self, header: str) -> set[str]:
        """The members of a list header, which may come in one line or several (RFC 9110, 5.3); skopeo sends several."""
        lines = self.headers.getall(header, [])
        return {part.strip() for line in lines for part in line.split(",") if part.strip()}

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, in pieces as they come."""
        while piece := await self.content.readany():
            self.received += len(piece)
            yield piece

    async def body(self, cap: int) -> bytes:
        """The whole body; a refusal (413) where it is larger than `cap`."""
        whole = bytearray()
        if int(self.headers.get("Content-Length") or 0) > cap:
            raise Refusal(413, Code.SIZE_INVALID, f"the body has more than {cap} bytes")
        async for piece in self.pieces():
            whole += piece
            if len(whole) > cap:
                raise Refusal(413, Code.SIZE_INVALID, f"the body has more than {cap} bytes")
        return bytes(whole)
