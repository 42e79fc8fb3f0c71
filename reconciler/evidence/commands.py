"""The plain cosign commands with which anyone can check a digest without us: pure text, quoted for a shell.

`cosign verify` of version 3 takes any verified bundle on the digest for the signature, an SBOM too (protocols 3.12). So
the signature is also asked for by its predicate type, as the other kinds are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from reconciler.model.evidence import MIRROR_PREDICATE, PREDICATES, Kind
from reconciler.model.reference import DigestRef
from reconciler.model.signing import Identity, Policy, PublicKey, Signer

# what cosign calls the predicate types that apply writes; a type without a short name is given in full
_TYPES = {
    Kind.SIGNATURE: PREDICATES[Kind.SIGNATURE][0],
    Kind.SBOM: "spdxjson",
    Kind.PROVENANCE: "slsaprovenance1",
    Kind.MIRROR: MIRROR_PREDICATE,
}
_GITHUB = "https://github.com/"


def verify_commands(
    policy: Policy,
    digests: Iterable[DigestRef],
    kinds: Iterable[Kind],
    *,
    trusted_root: str = "trusted_root.json",
    http: bool = False,
) -> tuple[str, ...]:
    """One line for each command (and comment) that checks `kinds` on `digests`, ready to be pasted.

    Where the policy accepts several signers, any of them may have signed: there is a block for each. `trusted_root` is
    the path of the policy's own trusted root, used where it has one. `http`: the registry speaks plain HTTP.
    """
    wanted = set(kinds)
    asked = [kind for kind in Kind if kind in wanted]
    refs = sorted(set(digests))
    lines: list[str] = []
    for number, signer in enumerate(policy.accept):
        if number:
            lines.append("# or, signed by another who is accepted:")
        setup, options = _options(signer, number, policy, trusted_root)
        lines += setup
        if http:
            options = [*options, "--allow-http-registry"]
        for ref in refs:
            for kind in asked:
                if kind is Kind.SIGNATURE:
                    lines.append(_line("verify", *options, str(ref)))
                lines.append(_line("verify-attestation", "--type", _TYPES[kind], *options, str(ref)))
    return tuple(lines)


def _options(signer: Signer, number: int, policy: Policy, trusted_root: str) -> tuple[list[str], list[str]]:
    """What must be run first, and the options that say whose signature counts."""
    root = ["--trusted-root", trusted_root] if policy.trusted_root else []
    match signer:
        case PublicKey():
            path = f"cosign-{number + 1}.pub" if number else "cosign.pub"
            lines = [line for line in signer.pem.splitlines() if line]
            # signatures by a key are in no log of ours, and a key doesn't expire
            return [f"printf '%s\\n' {shlex.join(lines)} > {path}"], [
                "--key",
                path,
                "--insecure-ignore-tlog=true",
                *root,
            ]
        case Identity():
            # cosign searches for the expression anywhere in the identity; here it must match all of it
            identity = (
                ["--certificate-identity-regexp", f"^(?:{signer.identity})$"]
                if signer.regex
                else ["--certificate-identity", signer.identity]
            )
            return [], [*identity, "--certificate-oidc-issuer", signer.issuer, *_source(signer), *root]


def _source(signer: Identity) -> list[str]:
    """cosign can't ask for OID .12; GitHub's older extension .5 says the same without the host."""
    if not signer.source_repository.startswith(_GITHUB):
        return []
    return ["--certificate-github-workflow-repository", signer.source_repository.removeprefix(_GITHUB)]


def _line(command: str, *words: str) -> str:
    return shlex.join(["cosign", command, *words])
