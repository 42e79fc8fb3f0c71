"""The cases of `tests/evidence/cases.py` through the real cosign 3 and 2, and through us, on somebody else's registry.

cosign is asked with the commands that we print for the policy, so these are tested too. Where it differs, the case
says why ours is right.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.evidence.commands import verify_commands
from reconciler.evidence.examine import examine
from reconciler.evidence.judge import Judge
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.service import LocalSigstore
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind, Missing
from reconciler.model.reference import Repository
from reconciler.model.signing import Policy
from tests.evidence.attach import Pusher
from tests.evidence.cases import CASES, SIGN, Case, World
from tests.evidence.clients import client
from tests.stack.running import run_tool

TYPES = {SIGN: Kind.SIGNATURE, "spdxjson": Kind.SBOM, "slsaprovenance1": Kind.PROVENANCE}


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    """A Fulcio and a Rekor on this machine, and the files that make cosign trust them."""
    with LocalSigstore(tmp_path_factory.mktemp("sigstore")) as sigstore:
        yield sigstore


@contextmanager
def world_of(name: str, registry: CncfRegistry, sigstore: LocalSigstore) -> Iterator[tuple[World, Pusher]]:
    """An image of that name in a repository of its own, and what pushes there."""
    repository = Repository.parse(f"{registry.host}/evidence/{Digest.of(name.encode()).hex[:16]}")
    with Pusher(repository) as pusher:
        yield World(sigstore.mint, Key.generate(), repository, pusher.image(name)), pusher


class Cosign:
    """Runs the commands that we print, with a cosign of either version."""

    def __init__(self, tools: Tools, sigstore: LocalSigstore, policy: Policy, world: World, folder: Path) -> None:
        self.tools, self.sigstore, self.folder = tools, sigstore, folder
        ref = world.repository.at(world.digest)
        lines = verify_commands(policy, [ref], Kind, trusted_root=str(sigstore.trusted_root), http=True)
        for line in lines:
            if line.startswith("printf"):
                subprocess.run(["sh", "-c", line], cwd=folder, check=True)
        self.commands = [shlex.split(line) for line in lines if line.startswith("cosign ")]

    def passes(self, command: str, kind: Kind, tool: Tool = Tool.COSIGN) -> bool:
        """Whether that command, for that kind, says yes; a no for want of trust material is no answer."""
        types = {value: key for key, value in TYPES.items()}
        words = next(
            words
            for words in self.commands
            if words[1] == command and (command == "verify" or words[words.index("--type") + 1] == types[kind])
        )
        env = {"HOME": str(self.folder), "TUF_ROOT": str(self.folder / "tuf")}
        if tool is Tool.COSIGN2:
            # it knows no trusted root for its own layout, but single files
            at = words.index("--trusted-root")
            words = [*words[:at], *words[at + 2 :]]
            env |= self.sigstore.environment
        done = run_tool(self.tools[tool], *words[1:], env=env, cwd=self.folder, check=False)
        assert "updating local metadata" not in done.stderr, done.stderr
        return done.returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_case(
    case: Case, tools: Tools, registry: CncfRegistry, sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """We say what the case says, each cosign says what the case says of it, and differences have a reason."""
    with world_of(case.name, registry, sigstore) as (world, pusher):
        pusher.attach(world.digest, case.given(world))
    policy = case.policy(world, sigstore.trusted_root.read_text())
    async with client(registry.host) as ours:
        evidence = await examine(ours, Judge(policy), world.repository, world.digest, world.image.platforms, {})
    for kind in Kind:
        assert isinstance(evidence.findings[kind], case.ours.get(kind, Missing)), (kind, evidence.findings[kind])
    cosign = Cosign(tools, sigstore, policy, world, tmp_path)
    if case.verify is not None:
        assert cosign.passes("verify", Kind.SIGNATURE) is case.verify, case.why
    if case.verify_2 is not None:
        assert cosign.passes("verify", Kind.SIGNATURE, Tool.COSIGN2) is case.verify_2, case.why
    if case.attested is not None:
        assert cosign.passes("verify-attestation", TYPES[case.type]) is case.attested, case.why
