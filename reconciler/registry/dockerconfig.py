"""Docker's config.json (and podman's auth.json), as far as it says who we are: a pure reader of a hostile file."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.registry.credential import Credential, Use, is_bearer

MAX_BYTES = 1024 * 1024
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
HUB_KEY = "https://index.docker.io/v1/"
# what a credential helper says in the place of a name when the secret is an identity token
TOKEN_USERNAME = "<token>"  # noqa: S105 - a marker, no secret


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What one file says: credentials and helpers by host, the store for all other hosts, what was passed over."""

    auths: Mapping[str, Credential] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""
    notes: tuple[str, ...] = ()


def canonical_host(key: str) -> str:
    """The host that a key of `auths` or `credHelpers` is about, empty where it is about one namespace of it only.

    Keys are written as `ghcr.io`, `https://ghcr.io`, `https://ghcr.io/v2/`, `https://index.docker.io/v1/`.
    """
    rest = re.sub(r"^https?://", "", key.strip(), count=1)
    host, _, path = rest.partition("/")
    host = host.lower()
    if path.strip("/") not in ("", "v1", "v2"):
        return ""
    return "docker.io" if host in _HUB else host


def server_url(host: str) -> str:
    """How docker names a host to its credential helpers."""
    return HUB_KEY if host == "docker.io" else host


def read(data: bytes, source: str) -> DockerConfig:
    """What the config in `data` says; whatever can't be understood is passed over, with a note. Raises nothing."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return DockerConfig(notes=(f"{source} isn't JSON; no credentials are taken from it",))
    if not isinstance(value, dict):
        return DockerConfig(notes=(f"{source} is no JSON object; no credentials are taken from it",))
    notes: list[str] = []
    auths: dict[str, Credential] = {}
    for key, entry in _map(value, "auths", source, notes).items():
        host = canonical_host(key)
        if not host:
            notes.append(f"{source}: the entry {key[:80]!r} is for one namespace only; it isn't used")
            continue
        credential, note = _entry(entry, source)
        if note:
            notes.append(f"{source}: the entry for {host[:80]} {note}; it isn't used")
        if credential is not None:
            auths.setdefault(host, credential)
    helpers: dict[str, str] = {}
    for key, name in _map(value, "credHelpers", source, notes).items():
        if isinstance(name, str) and _HELPER.fullmatch(name):
            helpers.setdefault(canonical_host(key), name)
        else:
            notes.append(f"{source}: the credential helper for {key[:80]!r} has no name that a program could have")
    helpers.pop("", None)
    store = value.get("credsStore") or ""
    if not isinstance(store, str) or (store and _HELPER.fullmatch(store) is None):
        notes.append(f"{source}: credsStore has no name that a program could have")
        store = ""
    return DockerConfig(auths, helpers, store, tuple(notes))


def _map(value: Mapping[str, object], key: str, source: str, notes: list[str]) -> Mapping[str, object]:
    found = value.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        notes.append(f"{source}: {key} is no map; it isn't used")
        return {}
    return found


def _entry(entry: object, source: str) -> tuple[Credential | None, str]:
    """The credential in one entry of `auths`, and what is wrong with it. An empty entry says: ask the store."""
    if not isinstance(entry, dict):
        return None, "is no map"
    values = {key: entry.get(key) or "" for key in ("auth", "username", "password", "identitytoken", "registrytoken")}
    if not all(isinstance(v, str) for v in values.values()):
        return None, "holds something else than text"
    if not all(_printable(v) for v in values.values()):
        return None, "holds characters that no credential has"
    if values["registrytoken"]:
        if not is_bearer(values["registrytoken"]):
            return None, "has a registrytoken that can't be sent"
        return Credential("", values["registrytoken"], Use.BEARER, source), ""
    username, password = values["username"], values["password"]
    if values["auth"]:
        decoded = _decode(values["auth"])
        if decoded is None:
            return None, "has an auth that isn't base64 of name:password"
        username, password = decoded
    if values["identitytoken"]:
        return Credential(username, values["identitytoken"], Use.IDENTITY, source), ""
    if username == TOKEN_USERNAME and password:
        return Credential("", password, Use.IDENTITY, source), ""
    return (Credential(username, password, Use.PASSWORD, source) if username and password else None), ""


def _decode(auth: str) -> tuple[str, str] | None:
    try:
        text = base64.b64decode(auth, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    # docker itself strips NULs from the end: old versions padded with them
    password = password.rstrip("\0")
    return (username, password) if colon and _printable(text.rstrip("\0")) else None


def _printable(text: str) -> bool:
    return all(ord(c) >= 0x20 and not 0x7F <= ord(c) <= 0x9F and not 0xD800 <= ord(c) <= 0xDFFF for c in text)
