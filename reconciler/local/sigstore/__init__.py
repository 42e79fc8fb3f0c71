"""A Fulcio and a Rekor v1 on this machine, and a mint that makes evidence without cosign."""

from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Fault, Layer, Mint, Workflow, sign_statement
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
]
