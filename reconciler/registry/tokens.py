"""How one host is authenticated to, learnt from its first answer; one token per image and scope, shared by all."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum, auto

import httpx

from reconciler.errors import Denied, Malformed, RateLimited, RegistryError, Unreachable
from reconciler.registry import auth
from reconciler.registry.credential import Credential, Use
from reconciler.registry.credentials import Credentials
from reconciler.registry.flight import SingleFlight
from reconciler.registry.headers import Challenge, challenges

Fetch = Callable[[httpx.Request, str], Awaitable[httpx.Response]]
# scopes in one token: the URL of the request for it must stay well below 8 KiB
_PER_TOKEN = 20
# who is denied isn't asked for again for so long: not once per tag, but again in a run of hours
_DENIED_FOR = 60.0
# a token is not used in its last seconds: it must not expire on the way
_MARGIN = 5.0


class Manner(Enum):
    """How a host wants to be spoken to."""

    OPEN = auto()
    BASIC = auto()
    BEARER = auto()


class HostAuth:
    """The authorization of requests to one host.

    The first request goes out bare and the others wait for what it meets, so that a host that asks for nothing costs
    no request and one that does costs one in all. `fetch` sends a token request (with its retries).
    """

    def __init__(
        self,
        host: str,
        *,
        origin: str,
        plain: bool,
        credentials: Credentials,
        realms: Mapping[str, frozenset[str]],
        fetch: Fetch,
        clock: Callable[[], float],
        share: bool = False,
    ) -> None:
        self.host = host
        self.origin = origin
        self.manner: Manner | None = None
        self._plain = plain
        self._credentials = credentials
        self._realms = realms
        self._fetch = fetch
        self._clock = clock
        self._share = share
        self._realm = ""
        self._service = ""
        if host in auth.KNOWN_CHALLENGES:
            self._realm, self._service = auth.KNOWN_CHALLENGES[host]
            self.manner = Manner.BEARER
        self._learning: asyncio.Future[RegistryError | None] | None = None
        self._credential: tuple[Credential | None] | None = None
        self._tokens: dict[tuple[tuple[str, ...], bool], tuple[str, float]] = {}
        self._denied: dict[tuple[tuple[str, ...], bool], tuple[Denied, float]] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._flight: SingleFlight[tuple[tuple[str, ...], bool], str] = SingleFlight()

    async def enter(self) -> bool:
        """Waits until the host's manner is known; True for the one request that finds out (and must `settle`)."""
        while self.manner is None:
            if self._learning is None:
                self._learning = asyncio.get_running_loop().create_future()
                return True
            error = await asyncio.shield(self._learning)
            if error is not None:
                raise error.with_traceback(None)
        return False

    def settle(self, error: BaseException | None = None) -> None:
        """The first request is through. Only that the host is out of reach holds for those who waited, too."""
        learning, self._learning = self._learning, None
        if learning is not None and not learning.done():
            learning.set_result(error if isinstance(error, Unreachable | RateLimited) else None)

    def bare_was_fine(self) -> None:
        """The host answered a request without authorization."""
        if self.manner is None:
            self.manner = Manner.OPEN
        self.settle()

    async def header(self, name: str, *, push: bool) -> str:
        """The Authorization header for a request about the repository `name`, empty for none.

        Raises Denied where there can't be one, and whatever kept us from a token.
        """
        if self.manner is Manner.BEARER:
            key = self._key(name, push=push)
            cached = self._tokens.get(key)
            if cached is not None and cached[1] > self._clock():
                return cached[0]
            denied = self._denied.get(key)
            if denied is not None and denied[1] > self._clock():
                raise denied[0].with_traceback(None)
            return await self._flight.do(key, lambda: self._obtain(key))
        if self.manner is Manner.BASIC:
            credential = await self.credential()
            if credential is None or credential.use is not Use.PASSWORD:
                raise Denied(f"{self.host} asks for a name and a password", where=self._where(name), todo=self._login())
            return credential.basic
        return ""

    def _key(self, name: str, *, push: bool) -> tuple[tuple[str, ...], bool]:
        return (name,) if push else self._groups.get(name, (name,)), push

    def refused(self, name: str, used: str, values: list[str], *, push: bool) -> None:
        """A 401: forget the token that was used, and learn from the challenge, if there is one and it isn't known.

        Raises Denied or Malformed where there is no way on.
        """
        where = self._where(name)
        key = self._key(name, push=push)
        if used and len(key[0]) > 1:
            # a token for several repositories may be granted for some of them only: from now on, one of its own
            del self._groups[name]
        elif key in self._tokens and self._tokens[key][0] == used:
            del self._tokens[key]
        try:
            found = challenges(values)
        except ValueError as error:
            raise Malformed(str(error), where=where) from None
        bearer = auth.bearer_of(found)
        if bearer is not None:
            auth.check_realm(bearer[0], self.origin, plain=self._plain, where=where)
            self._realm, self._service = bearer
            self.manner = Manner.BEARER
        elif any(c.scheme == "basic" for c in found):
            self.manner = Manner.BASIC
        elif found or self.manner is not Manner.BEARER or not used:
            raise Denied(f"{self.host} answers 401 {_schemes(found)}", where=where, todo=self._login(), status=401)

    async def credential(self) -> Credential | None:
        """Our credential for this host, looked up once; a credential helper must not stop the event loop."""
        if self._credential is None:
            self._credential = (await asyncio.to_thread(self._credentials.for_host, self.host),)
        return self._credential[0]

    def expect(self, names: Iterable[str]) -> None:
        """These repositories will be asked for: where tokens may be shared, they are asked for in few tokens."""
        if self._share:
            ordered = sorted(set(names) - set(self._groups))
            for start in range(0, len(ordered), _PER_TOKEN):
                group = tuple(ordered[start : start + _PER_TOKEN])
                self._groups.update(dict.fromkeys(group, group))

    async def close(self) -> None:
        """Ends what is under way."""
        self.settle()
        await self._flight.close()

    async def _obtain(self, key: tuple[tuple[str, ...], bool]) -> str:
        names, push = key
        where = self._where(names[0])
        url = auth.check_realm(self._realm, self.origin, plain=self._plain, where=where)
        credential = await self.credential()
        if credential is not None and credential.use is Use.BEARER:
            self._tokens[key] = (f"Bearer {credential.secret}", float("inf"))
            return self._tokens[key][0]
        withheld = credential is not None and not auth.may_have(credential, url, self.host, self.origin, self._realms)
        actions = "pull,push" if push else "pull"
        flow = auth.obtain(
            url,
            self._service,
            [f"repository:{name}:{actions}" for name in names],
            None if withheld else credential,
            where,
        )
        asked = self._clock()
        try:
            token = await self._drive(flow, where)
        except Denied as error:
            error.todo = self._withheld(url) if withheld else self._login()
            self._denied[key] = error, self._clock() + _DENIED_FOR
            raise
        self._credentials.remember(token.value)
        header = f"Bearer {token.value}"
        self._tokens[key] = (header, asked + max(token.life - _MARGIN, token.life / 2))
        return header

    async def _drive(self, flow: auth.Flow, where: str) -> auth.Token:
        request = next(flow)
        try:
            while True:
                request = flow.send(await self._fetch(request, where))
        except StopIteration as done:
            token: auth.Token = done.value
            return token
        finally:
            flow.close()

    def _where(self, name: str) -> str:
        return f"{self.host}/{name}" if name else self.host

    def _login(self) -> str:
        notes = "; ".join(self._credentials.notes[:2])
        return f"log in with a user who may: docker login {self.host}" + (f" ({notes})" if notes else "")

    def _withheld(self, url: httpx.URL) -> str:
        there = auth.authority(url)
        return (
            f"it asks to send your credentials to {there}, which isn't its own host: if that is right, "
            f"set {auth.REALMS}={self.host}={there}"
        )


def _schemes(found: tuple[Challenge, ...]) -> str:
    names = ", ".join(sorted({c.scheme[:20] for c in found}))
    return f"and asks for {names}" if names else "without saying how to log in"


def granted(header: str, name: str) -> frozenset[str] | None:
    """The actions on `name` that a token says it grants, where it is one that can be read (a JWT); None where not.

    Not verified: the registry does that. It only saves an upload that is started to find out (auth/jwt.md).
    """
    parts = header.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        access = claims["access"]
        return frozenset(
            str(action)
            for entry in access
            if entry["type"] == "repository" and entry["name"] == name
            for action in entry["actions"]
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
