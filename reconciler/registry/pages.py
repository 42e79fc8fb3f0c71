"""The pages of a list, wherever they say that they go on."""

from __future__ import annotations

from typing import Self

import httpx

from reconciler.model.reference import Repository
from reconciler.registry import headers, media, parsing
from reconciler.registry.answers import Answer
from reconciler.registry.wire import Call, Host, Wire

_MAX_PAGES = 1000


class Pages:
    """The pages of a list, following Link within the same path of the same host; loops and endless lists are errors."""

    def __init__(
        self,
        wire: Wire,
        host: Host,
        repository: Repository,
        path: str,
        where: str,
        kind: str,
        cap: int,
        first: Answer | None = None,
    ) -> None:
        self._wire, self._host, self._repository = wire, host, repository
        self._where, self._kind, self._cap = where, kind, cap
        self._path = path
        self._first = first
        self._seen: set[str] = set()
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer:
        if self._done:
            raise StopAsyncIteration
        self._seen.add(self._path)
        answer, self._first = self._first, None
        if answer is None:
            accept = media.OCI_INDEX if self._kind == "referrers" else "application/json"
            call = Call("GET", self._path, self._repository.name, self._where, self._kind, cap=self._cap, accept=accept)
            answer = await self._wire.ask(self._host, call)
        following = self._next(answer) if answer.status == 200 else ""
        self._done = not following
        if following in self._seen:
            raise parsing.malformed("its pages go in a circle", self._where)
        if len(self._seen) >= _MAX_PAGES and following:
            raise parsing.malformed(f"it has over {_MAX_PAGES} pages", self._where)
        self._path = following
        return answer

    def _next(self, answer: Answer) -> str:
        """The path of the next page, empty on the last. A Link to anywhere else is refused, token or not."""
        try:
            link = headers.next_link(answer.headers.get_list("link"))
            url = httpx.URL(self._host.base + self._path)
            target = url.join(link)
        except (ValueError, httpx.InvalidURL) as error:
            raise parsing.malformed(str(error), self._where) from None
        if not link:
            return ""
        same = (target.scheme, target.netloc, target.path) == (url.scheme, url.netloc, url.path)
        if not same:
            raise parsing.malformed("its next page is on another host or path", self._where)
        return target.raw_path.decode("ascii")
