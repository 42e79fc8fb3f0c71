"""Cosign, and what it would sign with; whether what it signed could be verified."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.apply.cosign import Cosign
from reconciler.apply.toolbox import Toolbox
from reconciler.commands.doctor.finding import Check, Finding, fail, ok
from reconciler.errors import ToolMissing
from reconciler.evidence.trust import Trust
from reconciler.model.signing import Identity, Keyless, KeyPair, Policy, Signing

_INSTALL = "install cosign 3.1 or newer (github.com/sigstore/cosign, its releases)"
_NOBODY = Signing(Keyless(Identity("", "")), Policy(()))


def checks(
    tools: Toolbox, signing: Signing | None, environ: Mapping[str, str], key: str, token: Path | None
) -> list[Check]:
    """All about signing; of the program alone where there is no desired state."""
    cosign = Cosign(tools, signing or _NOBODY, key=key, token=token)

    async def program() -> Sequence[Finding]:
        try:
            await cosign.check()
        except ToolMissing as error:
            return [
                fail("cosign", error.what, "install cosign 3.1 or newer (github.com/sigstore/cosign, its releases)")
            ]
        return [ok("cosign", "3.1 or newer")]

    async def signer() -> Sequence[Finding]:
        what, _, todo = cosign.lacks().partition(": ")
        return [fail("signer", what, todo)] if what else [ok("signer", _source(cosign.signing, environ, key, token))]

    async def trust() -> Sequence[Finding]:
        return [ok("trust", await asyncio.to_thread(_trusted, cosign.signing.policy))]

    found = [Check("cosign", program)]
    if signing is not None:
        found += [Check("signer", signer), Check("trust", trust)]
    return found


def _source(signing: Signing, environ: Mapping[str, str], key: str, token: Path | None) -> str:
    """Where the key or the token comes from; never what it is."""
    if isinstance(signing.method, KeyPair):
        return f"the key {key or signing.method.private}"
    if token is not None:
        return f"an OIDC token in {token}"
    if environ.get("SIGSTORE_ID_TOKEN"):
        return "the OIDC token in SIGSTORE_ID_TOKEN"
    return "OIDC tokens of GitHub Actions"


def _trusted(policy: Policy) -> str:
    """What proofs are verified with; EvidenceError where that is out of reach."""
    trust = Trust(policy)
    found = []
    if trust.identities:
        trust.verifier()
        origin = "the trusted root beside mirror.yaml" if policy.trusted_root else "Sigstore's own trusted root"
        found.append(f"{_count(len(trust.identities), 'identity', 'identities')}, by {origin}")
    if trust.public_keys:
        found.append(_count(len(trust.keys()), "public key", "public keys"))
    return " and ".join(found)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
