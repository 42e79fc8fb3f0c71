"""Who may do what: bearer tokens as GHCR hands them out, or Basic, or an open door."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from reconciler.local.registry.answer import Answer, Code, Refusal, as_json
from reconciler.local.registry.call import Call
from reconciler.local.registry.manners import Manners
from reconciler.local.registry.route import Kind

_SCOPE = re.compile(r"repository:([^\s:]+):([a-z,*]+)")
_DENIED = "requested access to the resource is denied"


class Scheme(StrEnum):
    """How the registry wants to be asked."""

    BEARER = "Bearer"
    BASIC = "Basic"


@dataclass(frozen=True, slots=True)
class User:
    """Someone with a password; what they may, as shell patterns over repository names (`*` spans slashes)."""

    name: str
    password: str = field(repr=False)
    pull: tuple[str, ...] = ("*",)
    push: tuple[str, ...] = ("*",)
    delete: tuple[str, ...] = ("*",)

    def may(self, action: str, repository: str) -> bool:
        """Whether a pattern for the action fits."""
        patterns = {"pull": (*self.pull, *self.push), "push": self.push, "delete": self.delete}.get(action, ())
        return any(fnmatchcase(repository, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Auth:
    """Who there is. `public`: patterns of repositories that anyone may pull.

    `realm` and `service` are the registry's own where empty. Without `multi_scope` a token is for the first scope
    asked for, whatever else is.
    """

    users: tuple[User, ...] = ()
    public: tuple[str, ...] = ()
    scheme: Scheme = Scheme.BEARER
    token_seconds: float = 300.0
    multi_scope: bool = True
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a token stands for."""

    user: User | None
    scopes: Mapping[str, frozenset[str]]
    until: float


class Access:
    """The door: hands out tokens and looks at them. Without `auth` it stands open."""

    def __init__(self, auth: Auth | None, exists: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self.auth = auth
        self.public = set(auth.public if auth else ())
        self._exists = exists
        self._clock = clock
        self._tokens: dict[str, _Grant] = {}

    def forget_tokens(self) -> None:
        """Let every token handed out so far be worth nothing."""
        self._tokens.clear()

    # asking for a token

    def token(self, call: Call, manners: Manners) -> Answer:
        """Answer `GET /token?service=…&scope=repository:NAME:pull,push` (protocols 2.1 to 2.6)."""
        if self.auth is None:
            return as_json({"token": "open"})
        if call.method != "GET":
            raise Refusal(405, Code.UNSUPPORTED, "ask with GET", headers={"Allow": "GET"})
        user = self._basic(call.headers.get("Authorization", ""), manners)
        asked = [part for value in call.parameters("scope") for part in value.split(" ") if part]
        scopes: dict[str, frozenset[str]] = {}
        for scope in asked if self.auth.multi_scope else asked[:1]:
            if found := _SCOPE.fullmatch(scope):
                actions = frozenset(a for a in found[2].split(",") if self._may(user, a, found[1], manners))
                scopes[found[1]] = scopes.get(found[1], frozenset()) | actions
        if asked and manners.hides_unknown and not any(scopes.values()):
            raise Refusal(403, Code.DENIED, _DENIED)
        call.user = user.name if user else ""
        token = secrets.token_urlsafe(32)
        self._prune()
        self._tokens[token] = _Grant(user, scopes, self._clock() + self.auth.token_seconds)
        says: dict[str, object] = {"token": token}
        if manners.expires_in:
            says |= {"access_token": token, "expires_in": int(self.auth.token_seconds)}
        return as_json(says)

    # showing it

    def check(self, call: Call, action: str, manners: Manners, url: str) -> None:
        """Let the call pass, noting whose it is, or refuse with 401 or 403."""
        if self.auth is None:
            return
        header = call.headers.get("Authorization", "")
        repository = call.route.repository
        if not header:
            if self.auth.scheme is Scheme.BASIC and action == "pull" and self._is_public(repository):
                return
            raise self._challenge(call, action, manners, url, "authentication required")
        grant = self._shown(header, manners)
        if grant is None:
            raise self._challenge(call, action, manners, url, "invalid token", error="invalid_token")
        call.user = grant.user.name if grant.user else ""
        if call.route.kind is Kind.BASE or action in grant.scopes.get(repository, ()):
            return
        if self._may(grant.user, action, repository, manners):
            if self.auth.scheme is Scheme.BASIC or "*" in grant.scopes:
                return
            raise self._challenge(call, action, manners, url, "insufficient scope", error="insufficient_scope")
        if manners.hides_unknown:
            what = "permission_denied: write_package" if action == "push" else _DENIED
            raise Refusal(403, Code.DENIED, what)
        raise self._challenge(call, action, manners, url, _DENIED, error="insufficient_scope")

    def may_read(self, call: Call, repository: str, manners: Manners) -> bool:
        """Whether the caller could pull from another repository: a mount needs that."""
        user = next((u for u in self.auth.users if u.name == call.user), None) if self.auth else None
        return self.auth is None or self._may(user, "pull", repository, manners)

    def _may(self, user: User | None, action: str, repository: str, manners: Manners) -> bool:
        if action == "pull" and self._is_public(repository):
            return not manners.hides_unknown or self._exists(repository) or self._creates(user, repository)
        if user is None or not user.may(action, repository):
            return False
        # who can't create it can't tell a package that isn't there from one that is hidden
        return not manners.hides_unknown or self._exists(repository) or self._creates(user, repository)

    def _creates(self, user: User | None, repository: str) -> bool:
        return user is not None and user.may("push", repository)

    def _is_public(self, repository: str) -> bool:
        return any(fnmatchcase(repository, pattern) for pattern in tuple(self.public))

    def _shown(self, header: str, manners: Manners) -> _Grant | None:
        assert self.auth is not None  # noqa: S101 - only asked where there is a door
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "basic" and self.auth.scheme is Scheme.BASIC:
            user = self._basic(header, manners)
            return _Grant(user, {}, 0.0)
        if scheme.lower() != "bearer" or self.auth.scheme is Scheme.BASIC:
            return None
        grant = self._tokens.get(value)
        if grant is not None:
            return grant if self._clock() < grant.until else None
        if manners.bearer_password and (password := _decode(value)):
            for user in self.auth.users:
                if hmac.compare_digest(user.password.encode(), password.encode()):
                    return _Grant(user, {"*": frozenset()}, 0.0)
        return None

    def _basic(self, header: str, manners: Manners) -> User | None:
        """Whose Basic credentials these are; None without any; a refusal where they are wrong."""
        assert self.auth is not None  # noqa: S101 - only asked where there is a door
        if not header:
            return None
        scheme, _, value = header.partition(" ")
        name, _, password = _decode(value).partition(":")
        if scheme.lower() == "basic":
            for user in self.auth.users:
                if user.name == name and hmac.compare_digest(user.password.encode(), password.encode()):
                    return user
        if manners.hides_unknown and scheme.lower() == "basic":
            raise Refusal(403, Code.DENIED, "denied")
        raise Refusal(401, Code.UNAUTHORIZED, "wrong user name or password")

    def _challenge(self, call: Call, action: str, manners: Manners, url: str, what: str, *, error: str = "") -> Refusal:
        assert self.auth is not None  # noqa: S101 - only asked where there is a door
        service = self.auth.service or url.partition("://")[2]
        if self.auth.scheme is Scheme.BASIC:
            wants = f'Basic realm="{service}"'
        else:
            wants = f'Bearer realm="{self.auth.realm or url + "/token"}",service="{service}"'
            if call.route.repository:
                actions = "pull" if action == "pull" else f"pull,{action}"
                wants += f',scope="repository:{call.route.repository}:{actions}"'
            elif manners.hides_unknown:
                wants += ',scope="repository:user/image:pull"'  # GHCR's own placeholder (protocols 2.2)
            wants += f',error="{error}"' if error else ""
        headers = {"WWW-Authenticate": wants, "Docker-Distribution-Api-Version": "registry/2.0"}
        return Refusal(401, Code.UNAUTHORIZED, what, headers=headers)

    def _prune(self) -> None:
        if len(self._tokens) >= 10_000:
            now = self._clock()
            self._tokens = {token: grant for token, grant in self._tokens.items() if grant.until > now}


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
