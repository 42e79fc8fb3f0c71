"""The commands that anyone can run; tests/stack runs them."""

from __future__ import annotations

import shlex

from reconciler.evidence.commands import verify_commands
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.reference import Repository
from reconciler.model.signing import Identity, Policy, PublicKey

REF = Repository.parse("r.test/o/i").at(Digest.of(b"x"))
ISSUER = "https://token.actions.githubusercontent.com"


def test_keyless_commands_name_identity_issuer_and_type() -> None:
    """The signature is asked for twice: as cosign does it, and by its predicate type; the rest by type."""
    policy = Policy((Identity(ISSUER, "https://github.com/o/r/.github/workflows/w.yml@refs/heads/main"),))
    who = (
        "--certificate-identity https://github.com/o/r/.github/workflows/w.yml@refs/heads/main "
        f"--certificate-oidc-issuer {ISSUER}"
    )
    assert verify_commands(policy, [REF], [Kind.SBOM, Kind.SIGNATURE]) == (
        f"cosign verify {who} {REF}",
        f"cosign verify-attestation --type https://sigstore.dev/cosign/sign/v1 {who} {REF}",
        f"cosign verify-attestation --type spdxjson {who} {REF}",
    )


def test_an_expression_is_anchored_and_quoted() -> None:
    """What a shell or cosign's search would make more of than we do is taken from them."""
    policy = Policy((Identity(ISSUER, "a$(b)' .*|c", regex=True, source_repository="https://github.com/o/m"),))
    words = shlex.split(verify_commands(policy, [REF], [Kind.SIGNATURE])[0])
    assert words[words.index("--certificate-identity-regexp") + 1] == "^(?:a$(b)' .*|c)$"
    assert words[words.index("--certificate-github-workflow-repository") + 1] == "o/m"


def test_key_commands_write_the_key_first() -> None:
    """The key comes with the commands, and no log is asked for; each signer has a block of its own."""
    policy = Policy((PublicKey("-----BEGIN\nA'A\n-----END\n"), PublicKey("B")), "{}")
    lines = verify_commands(policy, [REF], [Kind.PROVENANCE], http=True, trusted_root="/my root.json")
    rest = f"--insecure-ignore-tlog=true --trusted-root '/my root.json' --allow-http-registry {REF}"
    assert lines == (
        "printf '%s\\n' -----BEGIN 'A'\"'\"'A' -----END > cosign.pub",
        f"cosign verify-attestation --type slsaprovenance1 --key cosign.pub {rest}",
        "# or, signed by another who is accepted:",
        "printf '%s\\n' B > cosign-2.pub",
        f"cosign verify-attestation --type slsaprovenance1 --key cosign-2.pub {rest}",
    )
