"""How a person looks around in a demo that is kept: the commands, and a file that makes them work in a shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reconciler.errors import ToolError
from reconciler.evidence.commands import verify_commands
from reconciler.local.catalogue import Tool
from reconciler.local.demo.desired import NAMESPACE
from reconciler.local.demo.stage import Stage
from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.reference import Repository
from reconciler.model.signing import Policy

_SHELL = "env.sh"
_SHOWN = ("PATH", "DOCKER_CONFIG", "GITHUB_API_URL", "GITHUB_SERVER_URL", "RECONCILE_CACHE")


def plan_words() -> Sequence[str]:
    """What a user types to see the plan, in the demo's folder."""
    return ("reconcile", "plan", "--allow-private")


def apply_words(on: Stage) -> Sequence[str]:
    """What a user types to apply it, in the demo's folder."""
    token = on.token.relative_to(on.folder)
    return ("reconcile", "apply", "--allow-private", f"--builder={on.builder}", f"--identity-token={token}")


def shell_file(on: Stage) -> Path:
    """Write the file to be read by a shell (`. FILE`), in which every command of `commands` works."""
    # the `reconcile` that runs here may be in a virtual environment that the other shell hasn't entered
    env = {**on.env, "PATH": f"{on.env['PATH']}:{Path(sys.executable).parent}"}
    lines = [f"export {name}={shlex.quote(env[name])}" for name in _SHOWN]
    if on.engine is not None:
        lines.append(f"export DOCKER_HOST={shlex.quote(f'unix://{on.engine.socket}')}")
    path = on.folder / _SHELL
    try:
        path.write_text("\n".join([*lines, f"cd {shlex.quote(str(on.folder))}", ""]), encoding="utf-8")
    except OSError as error:
        raise ToolError(f"it can't be written: {error.strerror}", where=str(path)) from None
    return path


def commands(on: Stage, policy: Policy) -> Sequence[tuple[str, Sequence[str]]]:
    """Groups of command lines, each with what it shows."""
    hello = Repository.parse(f"{on.registry.host}/{NAMESPACE}/hello")
    latest = on.registry.store.resolve(hello.name, "latest")
    groups: list[tuple[str, Sequence[str]]] = []
    if Tool.CRANE in on.tools.paths:
        tags = [
            f"crane ls {hello} --omit-digest-tags",
            f"crane digest {hello}:latest",
            f"crane manifest {hello}:latest",
        ]
        groups.append(("the tags, what latest names, and its platforms", tags))
    else:
        inspect = f"docker buildx imagetools inspect --builder={on.builder} {hello}:latest"
        groups.append(("what latest names, and its platforms", [inspect]))
    if latest is not None:
        groups.append(("signature and SBOM, by cosign alone", _cosign(hello, latest, policy)))
        groups.append(
            ("how to check every proof of all tags so", ["reconcile verify --allow-private --print-commands"])
        )
    if on.engine is not None:
        words = [f"docker run --rm --network=none --platform={one} {hello}:latest" for one in on.platforms]
        groups.append(("the images, run", words))
    doctor = shlex.join(["reconcile", "doctor", *apply_words(on)[2:]])
    again = [doctor, shlex.join(plan_words()), shlex.join(apply_words(on))]
    groups.append(("reconcile itself, after an edit of desired/*.yaml", again))
    return groups


def _cosign(repository: Repository, digest: Digest, policy: Policy) -> Sequence[str]:
    root = "desired/trusted_root.json"
    return verify_commands(policy, [repository.at(digest)], (Kind.SIGNATURE, Kind.SBOM), trusted_root=root, http=True)
