"""What a fault does to a request: one small type for each.

Those with `effect` may let the registry do what it was asked before the answer is lost; the others that bend an answer
always do. `matrix` names every fault that a client must survive.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from reconciler.local.registry.answer import JSON, Answer, Cut, Generated, Slice
from reconciler.local.registry.call import Call
from reconciler.local.registry.gate import Gate

GIB = 1024**3


class Stage(Protocol):
    """What an action may do to the registry itself."""

    @property
    def url(self) -> str:
        """Where the registry is."""
        ...

    async def stop_listening(self) -> None:
        """Refuse connections from now on and reset all there are."""
        ...

    def read_stale(self, repository: str, tag: str, seconds: float) -> None:
        """Let the tag read for so long as it was before its last write."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """One request struck by a fault; `proceed` has the registry answer it as usual."""

    call: Call
    proceed: Callable[[], Awaitable[Answer]]
    stage: Stage


class Action(Protocol):
    """What happens in place of the usual answer."""

    async def play(self, scene: Scene) -> Answer:
        """The answer to send, or what there is instead."""
        ...


async def _effect(scene: Scene, wanted: bool) -> None:
    if wanted:
        await scene.proceed()


def _place(scene: Scene, answer: Answer, after: int | None) -> int | None:
    """Where to break an answer off: one without a body has no middle, so before its headers."""
    return None if scene.call.method == "HEAD" or not answer.length else after


@dataclass(frozen=True, slots=True)
class Refuse:
    """Connections are refused, this request's included, until the fault is released."""

    async def play(self, scene: Scene) -> Answer:
        """Stop listening."""
        await scene.stage.stop_listening()
        return Answer(0, cut=Cut(reset=True))


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection ends before the first header: with RST, or with FIN where `polite`."""

    effect: bool = False
    polite: bool = False

    async def play(self, scene: Scene) -> Answer:
        """End it."""
        await _effect(scene, self.effect)
        return Answer(0, cut=Cut(reset=not self.polite))


@dataclass(frozen=True, slots=True)
class CutBody:
    """The connection ends after so many bytes of the body (None: half of it); without a body, before the headers."""

    after: int | None = None
    polite: bool = False

    async def play(self, scene: Scene) -> Answer:
        """Answer, but not to the end."""
        answer = await scene.proceed()
        after = _place(scene, answer, answer.length // 2 if self.after is None else self.after)
        return replace(answer, cut=Cut(after, reset=not self.polite))


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing comes any more until the fault is released or `seconds` have passed; then the answer goes on.

    `after`: so many bytes of the body come before; None, or without a body: not even the headers.
    """

    seconds: float | None = None
    after: int | None = None
    effect: bool = True
    gate: Gate = field(default_factory=Gate)

    async def play(self, scene: Scene) -> Answer:
        """Stand still, then go on."""
        if not self.effect:
            await self.gate.wait(self.seconds)
            return await scene.proceed()
        answer = await scene.proceed()
        cut = Cut(_place(scene, answer, self.after), gate=self.gate, seconds=self.seconds, resume=True)
        return replace(answer, cut=cut)


@dataclass(frozen=True, slots=True)
class Reply:
    """This answer instead; the registry isn't even asked, unless `effect`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    effect: bool = False

    async def play(self, scene: Scene) -> Answer:
        """Say it."""
        await _effect(scene, self.effect)
        return Answer(self.status, {"Content-Type": JSON, **self.headers}, self.body)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Half the body, with headers that fit it: whole as HTTP, broken as JSON."""

    async def play(self, scene: Scene) -> Answer:
        """Leave the second half out."""
        answer = await scene.proceed()
        match answer.body:
            case bytes() as body:
                return replace(answer, body=body[: len(body) // 2])
            case Slice() as body:
                return replace(answer, body=replace(body, length=body.length // 2))
            case _:
                return answer


@dataclass(frozen=True, slots=True)
class WrongDigest:
    """Docker-Content-Digest names something else."""

    digest: str = "sha256:" + "0" * 64

    async def play(self, scene: Scene) -> Answer:
        """Put the header."""
        answer = await scene.proceed()
        return replace(answer, headers={**answer.headers, "Docker-Content-Digest": self.digest})


@dataclass(frozen=True, slots=True)
class WrongBytes:
    """The body has as many bytes as it should, but one is another; all headers stay."""

    async def play(self, scene: Scene) -> Answer:
        """Change the middle one."""
        answer = await scene.proceed()
        body = answer.body
        if isinstance(body, Slice):
            with body.path.open("rb") as file:
                file.seek(body.start)
                body = file.read(body.length)
        if isinstance(body, Generated) or not body:
            return answer
        middle = len(body) // 2
        return replace(answer, body=body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])


@dataclass(frozen=True, slots=True)
class WrongType:
    """Content-Type says something else."""

    media_type: str = "text/html"

    async def play(self, scene: Scene) -> Answer:
        """Put the header."""
        answer = await scene.proceed()
        return replace(answer, headers={**answer.headers, "Content-Type": self.media_type})


@dataclass(frozen=True, slots=True)
class Huge:
    """A body without an end worth waiting for; with `declared`, Content-Length tells so."""

    size: int = GIB
    declared: bool = False

    async def play(self, scene: Scene) -> Answer:
        """Answer with it, under the headers of the real answer."""
        answer = await scene.proceed()
        return replace(answer, status=200, body=Generated(self.size, self.declared))


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go there instead."""

    location: str
    status: int = 307

    async def play(self, _scene: Scene) -> Answer:
        """Send the client away."""
        return Answer(self.status, {"Location": self.location, "Content-Length": "0"})


@dataclass(frozen=True, slots=True)
class Maze:
    """A redirect to a path of this registry that redirects to the next, and so on for ever."""

    async def play(self, scene: Scene) -> Answer:
        """Send the client in."""
        return Answer(307, {"Location": f"{scene.stage.url}/maze/0", "Content-Length": "0"})


@dataclass(frozen=True, slots=True)
class LinkToSelf:
    """A list whose next page is itself."""

    async def play(self, scene: Scene) -> Answer:
        """Put the header."""
        answer = await scene.proceed()
        here = scene.call.path + (f"?{scene.call.query}" if scene.call.query else "")
        return replace(answer, headers={**answer.headers, "Link": f'<{here}>; rel="next"'})


@dataclass(frozen=True, slots=True)
class Stale:
    """The tag asked for reads as before its last write, now and for so many seconds of the registry's clock."""

    seconds: float = 5.0

    async def play(self, scene: Scene) -> Answer:
        """Hide the last write."""
        route = scene.call.route
        if not route.by_digest:
            scene.stage.read_stale(route.repository, route.reference, self.seconds)
        return await scene.proceed()


def reply_error(status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None) -> Reply:
    """An error with the spec's body; any code, so also a wrong one."""
    return Reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers or {})


def reply_html(status: int = 200) -> Reply:
    """A page from some proxy in between."""
    page = b"<!doctype html><html><head><title>Please sign in</title></head><body>wifi</body></html>"
    return Reply(status, page, {"Content-Type": "text/html; charset=utf-8"})


def reply_rate_limited(hint: str = "880.092µs", per_minute: int = 44_000, *, status: int = 429) -> Reply:
    """GHCR's 429: the hint stands in the message, as a Go duration."""
    return reply_error(status, "TOOMANYREQUESTS", f"retry-after: {hint}, allowed: {per_minute}/minute")
