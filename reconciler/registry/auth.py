"""How a token is had: a generator of requests, without a socket, a clock or a retry (distribution auth/token.md).

Where a credential may go is decided here and only here. A registry names its token service (the realm) itself, so a
hostile or careless one could name anybody's. Ours is sent to a realm only if it is https (or http where registry and
realm are both on loopback, or on one host spoken to without TLS), and
    its host is the registry's own, or
    WELL_KNOWN names it for that registry, or
    the operator does (`realms`, from RECONCILE_TOKEN_REALMS or a flag: `registry=realm-host`, comma-separated).
Any other realm is asked too, but anonymously. Redirects of a realm are never followed.
"""

from __future__ import annotations

import math
import urllib.parse
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from reconciler import net
from reconciler.errors import Denied
from reconciler.registry import answers, parsing
from reconciler.registry.answers import Answer
from reconciler.registry.credential import Credential, Use, is_bearer
from reconciler.registry.headers import Challenge

# registries whose token service is on another host, by their own documentation
WELL_KNOWN: Mapping[str, frozenset[str]] = {
    "docker.io": frozenset({"auth.docker.io"}),
    "registry.gitlab.com": frozenset({"gitlab.com"}),
    "lscr.io": frozenset({"ghcr.io"}),
}
# GHCR's first 401 needn't be waited for (protocols 2.1); should it ever say something else, that is learnt from it
KNOWN_CHALLENGES: Mapping[str, tuple[str, str]] = {"ghcr.io": ("https://ghcr.io/token", "ghcr.io")}

REALMS = "RECONCILE_TOKEN_REALMS"

# what a token lives where the service doesn't say (distribution auth/token.md: 60 seconds)
DEFAULT_LIFE = 60.0
_CLIENT_ID = "reconcile"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and how long it may be used, in seconds from when it was asked for."""

    value: str = field(repr=False)
    life: float


Flow = Generator[httpx.Request, httpx.Response, Token]


def parse_realms(text: str) -> dict[str, frozenset[str]]:
    """RECONCILE_TOKEN_REALMS: `registry=realm-host`, comma-separated; ValueError where it is anything else."""
    found: dict[str, frozenset[str]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        registry, equals, realm = part.partition("=")
        if not equals or not registry.strip() or not realm.strip() or "/" in part:
            raise ValueError(
                f"{part[:80]!r} names no token service: write registry=host, like registry.a.org=auth.a.org"
            )
        key = registry.strip().lower()
        found[key] = found.get(key, frozenset()) | {realm.strip().lower()}
    return found


def authority(url: httpx.URL) -> str:
    """`host` or `host:port` of a URL, without the port that its scheme has anyway."""
    return url.netloc.decode("ascii").rpartition("@")[2].lower()


def check_realm(realm: str, origin: str, *, plain: bool, where: str) -> httpx.URL:
    """The realm's URL; Malformed where it is none, carries a user, or isn't https.

    `origin` is the authority of the registry's API; `plain` says that it is spoken to by http: then its own host may
    be so too, and loopback.
    """
    try:
        url = httpx.URL(realm)
    except (httpx.InvalidURL, ValueError, TypeError):
        url = httpx.URL("")
    if not url.host or url.userinfo or url.scheme not in ("http", "https") or url.fragment:
        raise parsing.malformed("it names no token service that can be asked", where)
    if url.scheme == "http" and not (plain and (authority(url) == origin or _both_here(url, origin))):
        raise parsing.malformed(f"its token service {authority(url)[:80]} isn't https", where)
    return url


def may_have(
    credential: Credential, url: httpx.URL, registry: str, origin: str, realms: Mapping[str, frozenset[str]]
) -> bool:
    """Whether the credential of `registry` may be sent to the realm `url` (the module's docstring says when).

    `origin` is the authority of the registry's API: another one than its name for Docker Hub alone.
    """
    host = authority(url)
    named = WELL_KNOWN.get(registry, frozenset()) | realms.get(registry, frozenset())
    return credential.use is not Use.BEARER and (host in {registry, origin} | named or _both_here(url, origin))


def _both_here(url: httpx.URL, origin: str) -> bool:
    """Whether realm and registry are both on this machine: one token server may serve several ports."""
    return net.is_loopback(url.host) and net.is_loopback(httpx.URL(f"http://{origin}").host)


def obtain(url: httpx.URL, service: str, scopes: Sequence[str], credential: Credential | None, where: str) -> Flow:
    """Yields the request for a token of `scopes`, is sent its answer, and returns the token.

    An identity token is exchanged by POST (auth/oauth.md), all else is a GET, with Basic where there is a credential.
    Raises Denied or Malformed. What is retried, and that no redirect is followed, is up to whoever sends.
    """
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if credential is not None and credential.use is Use.IDENTITY:
        form = {"grant_type": "refresh_token", "service": service, "client_id": _CLIENT_ID, "scope": " ".join(scopes)}
        form["refresh_token"] = credential.secret
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = urllib.parse.urlencode(form).encode()
        response = yield httpx.Request("POST", url.copy_with(query=None), headers=headers, content=body)
    else:
        query = [*url.params.multi_items(), *([("service", service)] if service else ())]
        query += [("scope", scope) for scope in scopes]
        if credential is not None:
            headers["authorization"] = credential.basic
        response = yield httpx.Request("GET", url.copy_with(params=query), headers=headers)
    return _token(response, credential, where)


def _token(response: httpx.Response, credential: Credential | None, where: str) -> Token:
    status = response.status_code
    if status in (401, 403):
        who = f"the credential from {credential.source or 'docker login'}" if credential else "anonymous access"
        text = answers.said(Answer(status, response.headers, response.content))
        why = f"{status}: {text}" if text else str(status)
        raise Denied(f"its token service refuses {who} ({why})", where=where, status=status)
    if status != 200:
        raise parsing.malformed(f"its token service answers {status}", where)
    value = parsing.load_object(response.content, f"{where}: its token service")
    found = value.get("token") or value.get("access_token")
    if not isinstance(found, str) or not is_bearer(found):
        raise parsing.malformed("its token service gives no token that can be sent", where)
    life = value.get("expires_in", DEFAULT_LIFE)
    if not isinstance(life, int | float) or isinstance(life, bool) or not math.isfinite(life) or life <= 0:
        life = DEFAULT_LIFE
    return Token(found, float(min(life, 24 * 3600)))


def bearer_of(challenges: Sequence[Challenge]) -> tuple[str, str] | None:
    """Realm and service of the first Bearer challenge, or None where there is none with a realm."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return challenge.parameters["realm"], challenge.parameters.get("service", "")
    return None
