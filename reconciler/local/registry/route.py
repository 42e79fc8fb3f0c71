"""Which of the registry's ends a path names (distribution-spec v1.1.1, "Endpoints")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from reconciler.local.registry.answer import Code, Refusal
from reconciler.model.digest import Digest
from reconciler.model.reference import check_name, check_tag

# the name is greedy: a repository may itself be called "manifests"
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]*)", re.DOTALL)
_OTHER = re.compile(r"/v2/(.+)/(manifests|blobs|referrers|tags)/([^/]+)", re.DOTALL)


class Kind(StrEnum):
    """What a request is about."""

    BASE = "base"
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOAD = "upload"
    TAGS = "tags"
    REFERRERS = "referrers"
    STORAGE = "storage"
    MAZE = "maze"
    OTHER = "other"


_KINDS = {"manifests": Kind.MANIFEST, "blobs": Kind.BLOB, "referrers": Kind.REFERRERS, "tags": Kind.TAGS}
_FIXED = {"/v2/": Kind.BASE, "/v2": Kind.BASE, "/token": Kind.TOKEN}
_PREFIXES = (("/storage/", Kind.STORAGE), ("/maze/", Kind.MAZE))


@dataclass(frozen=True, slots=True)
class Route:
    """What a path names; `repository` and `reference` are as written and not yet checked."""

    kind: Kind
    repository: str = ""
    reference: str = ""

    def check(self) -> None:
        """Refuse a repository whose name doesn't follow the grammar: no path on disk is ever made of it."""
        try:
            check_name(self.repository)
        except ValueError as error:
            raise Refusal(400, Code.NAME_INVALID, str(error)) from error

    @property
    def digest(self) -> Digest:
        """The reference as a digest; a refusal where it is none."""
        return digest_of(self.reference)

    @property
    def by_digest(self) -> bool:
        """Whether the reference is meant as a digest: a tag has no colon."""
        return ":" in self.reference

    @property
    def tag(self) -> str:
        """The reference as a tag; a refusal where it is none."""
        try:
            return check_tag(self.reference)
        except ValueError as error:
            raise Refusal(400, Code.TAG_INVALID, str(error)) from error


def digest_of(text: str) -> Digest:
    """The digest that a client wrote; a refusal where it is none."""
    try:
        return Digest.parse(text)
    except ValueError as error:
        raise Refusal(400, Code.DIGEST_INVALID, str(error)) from error


def route(raw: str) -> Route:
    """The route of a path as it stands in the request line, without its query."""
    path = unquote(raw) if "%" in raw else raw
    if kind := _FIXED.get(path):
        return Route(kind)
    if found := _UPLOAD.fullmatch(path):
        return Route(Kind.UPLOAD, found[1], found[2])
    if found := _OTHER.fullmatch(path):
        if found[2] == "tags" and found[3] != "list":
            return Route(Kind.OTHER)
        return Route(_KINDS[found[2]], found[1], found[3])
    for prefix, kind in _PREFIXES:
        if path.startswith(prefix):
            return Route(kind, reference=path.removeprefix(prefix))
    return Route(Kind.OTHER)
