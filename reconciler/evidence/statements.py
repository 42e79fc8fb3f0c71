"""In-toto statements: ours are built here, everybody's are read here; all of it pure and byte for byte repeatable.

Our predicate (`MIRROR_PREDICATE`) says what a digest is and where it comes from:

| field | meaning |
|---|---|
| `repository` | `registry/name` that the digest was published to |
| `version` | the upstream version that it is |
| `upstream.source`, `.ref`, `.commit` | where upstream's source is, the ref that was built, and its commit in full |
| `platforms[].platform`, `.digest` | the images in the index |
| `recipe` | hash of everything that decided the content |
| `mirror.source`, `.revision` | the repository with the desired state, and its commit |
| `adopted` | where the digest came from, only where it wasn't built here but named by the desired state |

Fields without a value are left out. Images from before reconcile carry a former type of it (v1), which is read too.

An SBOM or provenance statement is about one platform's image: its subjects are the index digest, so that it is found
and verified there, and that platform's manifest digest, so that it says what it is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.evidence.parse import Unreadable, items, json_object, member, text
from reconciler.evidence.verdict import kind_of
from reconciler.model.digest import Digest
from reconciler.model.evidence import MIRROR_PREDICATE, Binding, Kind
from reconciler.model.platform import Platform

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# cosign 2 and `cosign attest` of cosign 3 still write this one
_STATEMENT_TYPES = (STATEMENT_TYPE, "https://in-toto.io/Statement/v0.1")
# a provenance of GitHub's for a release can name hundreds of files
MAX_SUBJECTS = 4096
_LONGEST = 512


def statement(
    predicate_type: str, predicate: Mapping[str, Any], name: str, subjects: Sequence[Digest]
) -> dict[str, Any]:
    """An in-toto v1 statement that says `predicate` of `subjects`, each called `name` (a repository)."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {digest.algorithm: digest.hex}} for digest in subjects],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def mirror_statement(
    digest: Digest,
    binding: Binding,
    *,
    source: str,
    ref: str,
    platforms: Mapping[Platform, Digest],
    mirror_source: str = "",
    mirror_revision: str = "",
    adopted: str = "",
) -> dict[str, Any]:
    """Our own statement about an index digest; the module's docstring says what its fields mean."""
    predicate = {
        "repository": binding.repository,
        "version": binding.version,
        "upstream": _filled({"source": source, "ref": ref, "commit": binding.commit}),
        "platforms": [{"platform": str(p), "digest": str(platforms[p])} for p in sorted(platforms)],
        "recipe": binding.recipe,
        "mirror": _filled({"source": mirror_source, "revision": mirror_revision}),
        "adopted": adopted,
    }
    return statement(MIRROR_PREDICATE, _filled(predicate), binding.repository, [digest])


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def dump(content: Mapping[str, Any]) -> bytes:
    """The statement's bytes, as they are signed: the same statement gives the same bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as read: its predicate type, all its subjects, and the predicate of a mirror statement."""

    predicate_type: str
    subjects: frozenset[Digest]
    predicate: Mapping[str, Any] | None


def read(payload: bytes) -> Statement:
    """The in-toto statement (v1 or v0.1) that a DSSE payload holds; Unreadable where it holds none.

    Subjects without a sha256 are left out: nothing of ours is named by another hash.
    """
    content = json_object(payload, "the statement")
    if content.get("_type") not in _STATEMENT_TYPES:
        raise Unreadable("the payload is no in-toto statement")
    predicate_type = text(content, "predicateType", "the statement")
    subjects = []
    for entry in items(content, "subject", "the statement", MAX_SUBJECTS):
        digests = entry.get("digest") if isinstance(entry, dict) else None
        sha256 = digests.get("sha256") if isinstance(digests, dict) else None
        if isinstance(sha256, str):
            try:
                subjects.append(Digest.parse(f"sha256:{sha256}"))
            except ValueError:
                raise Unreadable("a subject's sha256 is no digest") from None
    predicate = content.get("predicate") if kind_of(predicate_type) is Kind.MIRROR else None
    if predicate is not None and not isinstance(predicate, dict):
        raise Unreadable("the statement's predicate is no object")
    return Statement(predicate_type, frozenset(subjects), predicate)


def binding(predicate: Mapping[str, Any]) -> Binding:
    """What a mirror statement's predicate, ours or the former one, binds its subject to; Unreadable if nothing."""
    what = "the mirror statement"
    if "repository" not in predicate and "mirror" in predicate:
        predicate = _formerly(predicate, what)
    upstream = member(predicate, "upstream", what) if "upstream" in predicate else {}
    fields = {
        "repository": text(predicate, "repository", what),
        "version": text(predicate, "version", what),
        "recipe": text({"recipe": "", **predicate}, "recipe", what),
        "commit": text({"commit": "", **upstream}, "commit", what),
    }
    if not fields["repository"] or not fields["version"]:
        raise Unreadable(f"{what} names no repository and version")
    if not all(len(value) <= _LONGEST and value.isprintable() for value in fields.values()):
        raise Unreadable(f"{what} has a text that can't be printed, or is too long")
    return Binding(**fields)


def _formerly(predicate: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """A predicate of the former type (`mirror.registry`, `.namespace`, `.image`) in today's words."""
    mirror, upstream = member(predicate, "mirror", what), member(predicate, "upstream", what)
    place = [text(mirror, name, what) for name in ("registry", "namespace", "image")]
    return {"repository": "/".join(place) if all(place) else "", "version": text(upstream, "version", what)}
