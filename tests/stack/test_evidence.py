"""The cases of `tests/evidence/cases.py` through the real cosign 3 and 2, and through us, on somebody else's registry.

cosign is asked with the commands that we print for the policy, so these are tested too. Where it differs, the case
says why ours is right.
"""

from __future__ import annotations

import os
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
from reconciler.local.sigstore.mint import Workflow
from reconciler.local.sigstore.service import LocalSigstore
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.evidence import MIRROR_PREDICATE, Finding, Invalid, Kind, Missing, Proven
from reconciler.model.reference import Repository
from reconciler.model.signing import Policy, PublicKey
from tests.evidence.attach import Attachments, Pusher
from tests.evidence.cases import CASES, SIGN, SLSA, SPDX, US, Case, World
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


async def findings(registry: CncfRegistry, policy: Policy, world: World) -> dict[Kind, Finding]:
    async with client(registry.host) as ours:
        evidence = await examine(ours, Judge(policy), world.repository, world.digest, world.image.platforms, {})
    return dict(evidence.findings)


async def test_what_cosign_3_writes_counts(
    tools: Tools, registry: CncfRegistry, sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """A signature and an attestation that cosign 3 made and uploaded itself, keyless, are proven."""
    with world_of("cosign 3 keyless", registry, sigstore) as (world, _):
        ref = world.repository.at(world.digest)
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"spdxVersion": "SPDX-2.3"}')
    for words in (["sign"], ["attest", "--type", "spdxjson", "--predicate", predicate]):
        run_tool(
            tools[Tool.COSIGN],
            *words,
            *("--signing-config", sigstore.signing_config, "--trusted-root", sigstore.trusted_root),
            *("--identity-token", sigstore.identity_token(), "--allow-http-registry", "--yes", ref),
            env={"HOME": str(tmp_path)},
        )
    found = await findings(registry, Policy((US,), sigstore.trusted_root.read_text()), world)
    for kind in (Kind.SIGNATURE, Kind.SBOM):
        proof = found[kind]
        assert isinstance(proof, Proven), proof
        assert (proof.by, proof.layout, bool(proof.at)) == (US.identity, "bundle", True)


@pytest.mark.parametrize("entry", ["dsse", "intoto"])
async def test_what_cosign_2_writes_counts(
    entry: str, tools: Tools, registry: CncfRegistry, sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """The same of cosign 2 in its own layout, with either kind of log entry."""
    with world_of(f"cosign 2 keyless {entry}", registry, sigstore) as (world, _):
        ref = world.repository.at(world.digest)
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"spdxVersion": "SPDX-2.3"}')
    attest = ["attest", "--type", "spdxjson", "--predicate", predicate, "--rekor-entry-type", entry]
    for words in (["sign"], attest):
        run_tool(
            tools[Tool.COSIGN2],
            *words,
            *("--fulcio-url", sigstore.url, "--rekor-url", sigstore.url, "--identity-token", sigstore.identity_token()),
            *("--allow-http-registry", "--yes", ref),
            env={"HOME": str(tmp_path), **sigstore.environment},
        )
    found = await findings(registry, Policy((US,), sigstore.trusted_root.read_text()), world)
    for kind in (Kind.SIGNATURE, Kind.SBOM):
        proof = found[kind]
        assert isinstance(proof, Proven), proof
        assert (proof.by, proof.layout, bool(proof.at)) == (US.identity, "legacy", True)


@pytest.mark.parametrize("legacy", [False, True], ids=["bundle", "legacy"])
async def test_what_cosign_signs_with_a_key_counts(
    legacy: bool, tools: Tools, registry: CncfRegistry, sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """A signature by a key that cosign 3 made, in both layouts, is proven by that key and by no other."""
    with world_of(f"cosign 3 key {legacy}", registry, sigstore) as (world, _):
        ref = world.repository.at(world.digest)
    key, private, _ = sigstore.key_pair("a password", f"pair-{legacy}")
    config = (
        ["--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"]
        if legacy
        else ["--signing-config", sigstore.key_signing_config, "--trusted-root", sigstore.trusted_root]
    )
    run_tool(
        tools[Tool.COSIGN],
        *("sign", "--key", private, *config, "--allow-http-registry", "--yes", ref),
        env={"HOME": str(tmp_path), "COSIGN_PASSWORD": "a password"},
    )
    found = await findings(registry, Policy((PublicKey(key.public_pem),)), world)
    proof = found[Kind.SIGNATURE]
    assert isinstance(proof, Proven), proof
    assert proof.layout == ("legacy" if legacy else "bundle")
    others = await findings(registry, Policy((PublicKey(Key.generate().public_pem),)), world)
    assert isinstance(others[Kind.SIGNATURE], Invalid)


@pytest.mark.parametrize("by", ["identity", "key"])
async def test_the_printed_commands_check_all_four_kinds(
    by: str, tools: Tools, registry: CncfRegistry, sigstore: LocalSigstore, tmp_path: Path
) -> None:
    """Each printed line passes as it stands, in a shell; without a signature, the line for its type fails."""
    with world_of(f"commands {by}", registry, sigstore) as (world, pusher):
        signer = world.key if by == "key" else Workflow()
        made = [
            world.statement(world.about(world.digest, type=predicate), predicate, signer)
            for predicate in (SPDX, SLSA, MIRROR_PREDICATE)
        ]
        pusher.attach(world.digest, Attachments([world.statement(world.sign(), SIGN, signer), *made]))
        policy = Policy((PublicKey(world.key.public_pem) if by == "key" else US,), sigstore.trusted_root.read_text())
        ref = world.repository.at(world.digest)
        lines = verify_commands(policy, [ref], Kind, trusted_root=str(sigstore.trusted_root), http=True)
        env = {
            "HOME": str(tmp_path),
            "PATH": f"{named(tools[Tool.COSIGN], 'cosign', tmp_path)}{os.pathsep}{os.environ['PATH']}",
        }
        assert len([line for line in lines if line.startswith("cosign ")]) == 5
        for line in lines:
            run_tool("sh", "-c", line, env=env, cwd=tmp_path)
        pusher.attach(world.digest, Attachments(made))
        without = [run_tool("sh", "-c", line, env=env, cwd=tmp_path, check=False) for line in lines[-5:-3]]
    # cosign's own `verify` is content with the SBOM (protocols 3.12), which is why the second line is there
    assert without[0].returncode == 0
    assert without[1].returncode != 0


def named(program: Path, name: str, folder: Path) -> Path:
    """A folder in which the program has this name."""
    (folder / "bin").mkdir()
    (folder / "bin" / name).symlink_to(program)
    return folder / "bin"
