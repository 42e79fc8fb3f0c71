"""Who signs: the claims of GitHub's OIDC token and the certificate extensions that Fulcio makes of them.

Source: fulcio's docs/oid-info.md and docs/oidc.md. The arc is 1.3.6.1.4.1.57264.1; .1 to .6 are raw strings, .8 and up
are DER UTF8Strings. The subject alternative name is the URI of the workflow that runs (`job_workflow_ref`): for a
reusable workflow that is the called one, while the source repository stays the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"
_HOST = "https://github.com/"
_ARC = "1.3.6.1.4.1.57264.1"
_RAW = {2: "event_name", 3: "sha", 4: "workflow", 5: "repository", 6: "ref"}
_PLAIN = {
    10: "job_workflow_sha",
    11: "runner_environment",
    13: "sha",
    14: "ref",
    15: "repository_id",
    17: "repository_owner_id",
    19: "workflow_sha",
    20: "event_name",
    22: "repository_visibility",
    23: "environment",
    24: "sub",
}
_URIS = {9: "job_workflow_ref", 12: "repository", 16: "repository_owner", 18: "workflow_ref"}


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension of Fulcio's arc: dotted OID and the bytes of its value."""

    oid: str
    value: bytes


def github_claims(identity: str, issuer: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """The claims with which the certificate names `identity` and `issuer`; `overrides` replaces or adds single ones.

    A workflow's URI gives all of GitHub's claims, with the workflow's own repository as the source repository unless
    overrides name another; an e-mail address gives `email`; any other text is the `sub` alone.
    """
    claims = {"iss": issuer, "aud": "sigstore"}
    path, at, ref = identity.removeprefix(_HOST).partition("@")
    if identity.startswith(_HOST) and at and "/.github/workflows/" in path:
        own = "/".join(path.split("/")[:2])
        repository = overrides.get("repository", own)
        source_ref = overrides.get("ref", ref if repository == own else "refs/heads/main")
        owner = repository.split("/")[0]
        claims |= {
            "sub": f"repo:{repository}:ref:{source_ref}",
            "repository": repository,
            "repository_owner": owner,
            "repository_id": "1001",
            "repository_owner_id": "2002",
            "repository_visibility": "public",
            "ref": source_ref,
            "sha": "1" * 40,
            "workflow": "mirror",
            "workflow_ref": f"{repository}/.github/workflows/mirror.yml@{source_ref}" if repository != own else "",
            "workflow_sha": "1" * 40,
            "job_workflow_ref": identity.removeprefix(_HOST),
            "job_workflow_sha": "1" * 40,
            "event_name": "schedule",
            "runner_environment": "github-hosted",
            "run_id": "42",
            "run_attempt": "1",
        }
        claims["workflow_ref"] = claims["workflow_ref"] or claims["job_workflow_ref"]
    elif "@" in identity and "://" not in identity:
        claims |= {"sub": identity, "email": identity}
    else:
        claims["sub"] = identity
    return {name: value for name, value in (claims | dict(overrides)).items() if value}


def subject(claims: Mapping[str, str]) -> str:
    """The subject alternative name: an e-mail address or a URI."""
    workflow = claims.get("job_workflow_ref")
    return _HOST + workflow if workflow else claims.get("email") or claims["sub"]


def proven_subject(claims: Mapping[str, str]) -> bytes:
    """What the holder of the key signs to prove that it holds it."""
    return (claims.get("email") or claims["sub"]).encode()


def extensions(claims: Mapping[str, str]) -> list[Extension]:
    """The issuer, and of GitHub's claims those that are there, in the order of their numbers."""
    raw = {1: claims["iss"]} | {n: claims[name] for n, name in _RAW.items() if name in claims}
    text = {8: claims["iss"]}
    if "job_workflow_ref" in claims:
        text |= {n: claims[name] for n, name in _PLAIN.items() if name in claims}
        text |= {n: _HOST + claims[name] for n, name in _URIS.items() if name in claims}
        run, attempt = claims.get("run_id", ""), claims.get("run_attempt", "")
        text[21] = f"{_HOST}{claims.get('repository', '')}/actions/runs/{run}/attempts/{attempt}"
    encoded = {n: value.encode() for n, value in raw.items()} | {n: der(0x0C, v.encode()) for n, v in text.items()}
    return [Extension(f"{_ARC}.{n}", encoded[n]) for n in sorted(encoded)]


def der(tag: int, value: bytes) -> bytes:
    """One DER element: the tag, the length in its shortest form, the value (X.690 section 10.1)."""
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value
