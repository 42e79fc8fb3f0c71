"""A Fulcio and a Rekor v1 on this machine, and a mint that makes evidence without cosign.

    with LocalSigstore(folder) as sigstore:   # loopback, own thread; for the real cosign 2 and 3
        ...
    Mint().keyless_bundle(statement)          # in process, half a millisecond; for fast tests

What works with cosign 3.1.1, as tests/stack/test_local_sigstore.py runs it. KEYLESS stands for `--signing-config
{signing_config} --trusted-root {trusted_root} --identity-token {identity_token()}` (0.04 s a call), KEY for `--key
{private} --signing-config {key_signing_config} --trusted-root {trusted_root}` with COSIGN_PASSWORD set, even to nothing
(0.16 s: scrypt). Without a trusted root, cosign first asks the network for the public one.

    cosign sign        KEYLESS|KEY -y --upload=false --bundle OUT REPOSITORY@DIGEST
    cosign attest      KEYLESS|KEY -y --no-upload --bundle OUT --type TYPE --predicate FILE REPOSITORY@DIGEST
    cosign attest-blob KEYLESS|KEY -y --bundle OUT --statement FILE
    cosign sign-blob   KEYLESS|KEY -y --bundle OUT FILE
    cosign verify             IDENTITY|PUBLIC REPOSITORY@DIGEST
    cosign verify-attestation IDENTITY|PUBLIC --type TYPE REPOSITORY@DIGEST
    IDENTITY: --trusted-root {trusted_root} --certificate-identity URI --certificate-oidc-issuer URL
    PUBLIC:   --key {public} --insecure-ignore-tlog=true

- `sign` reads the manifest from the registry, which must answer, though a 404 will do. `attest`, `attest-blob` and
  `sign-blob` touch no registry when they upload nothing.
- `attest-blob --statement` signs the file's bytes as they are: any predicate type, any number of subjects. `attest
  --statement` doesn't: it says "predicate cannot be empty", and with `--predicate` beside it ignores the statement.
- `attest --predicate` writes a Statement v0.1 with one subject; `sign` a Statement v1 without a name.
- `sign-blob` of a simple signing payload has all that cosign 2's `.sig` layer needs; no deprecated flag is involved.
- cosign 2 (2.5.0): `sign|attest --fulcio-url {url} --rekor-url {url} --identity-token FILE -y`, and for verifying too,
  the variables of `environment`; cosign 3 writes the same with `--new-bundle-format=false --use-signing-config=false`.

Importing this package imports `cryptography` and `aiohttp`: import it where it is used.
"""

from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Fault, Layer, Mint, Workflow, sign_statement, simple_signing
from reconciler.local.sigstore.service import LocalSigstore

__all__ = [
    "GITHUB_ISSUER",
    "WORKFLOW",
    "Fault",
    "Key",
    "Layer",
    "LocalSigstore",
    "Mint",
    "Workflow",
    "sign_statement",
    "simple_signing",
]
