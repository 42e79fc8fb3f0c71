"""The desired files of the demo, as a person would write them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError
from reconciler.local.demo.hello import REPOSITORY
from reconciler.local.sigstore import GITHUB_ISSUER
from reconciler.model.platform import Platform

IDENTITY = "https://github.com/acme/mirror/.github/workflows/apply.yml@refs/heads/main"
NAMESPACE = "mirror"
WINDOW = 3


@dataclass(frozen=True, slots=True)
class Place:
    """What differs from machine to machine: where registry and upstream are, what is built, and by what.

    `scanner` is the SBOM generator's image, pinned by digest; empty for reconcile's default one.
    """

    registry: str
    upstream: str
    platforms: tuple[Platform, ...]
    scanner: str = ""


def mirror_yaml(place: Place) -> str:
    """`mirror.yaml`."""
    lines = [
        "# What all apps share. Each other file here is one app.",
        f"registry: {place.registry}",
        f"namespace: {NAMESPACE}",
        "source: https://github.com/acme/mirror",
        "plain-http: true # on this machine alone",
        "",
        "defaults:",
        f"  platforms: [{', '.join(map(str, place.platforms))}]",
        "  pointers: [latest]",
        "  evidence: [signature, sbom, provenance, mirror]",
        "",
        "signing:",
        "  keyless:",
        f"    issuer: {GITHUB_ISSUER}",
        f"    identity: {IDENTITY}",
        "  trusted-root: trusted_root.json # a Sigstore on this machine",
        "  signing-config: signing_config.json",
    ]
    if place.scanner:
        lines += ["", f"sbom-generator: {place.scanner}"]
    return "\n".join(lines) + "\n"


def hello_yaml(place: Place) -> str:
    """`hello.yaml`: an app with two images, of which one is built on the other."""
    source = f'{{git: {place.upstream}/{REPOSITORY}.git, ref: "v{{version}}"}}'
    return f"""\
app: hello
title: Hello
description: Says hello, and on which machine
licenses: MIT

upstream:
  github: {REPOSITORY}
  tag: v{{version}}

window: {WINDOW}

images:
  hello:
    source: {source}
    smoke:
      command: [hello]
      output: hello {{version}}

  greeter:
    title: Greeter
    source: {source}
    dockerfile: Dockerfile.greeter
    bases: {{acme/hello: hello}}
"""


def write(folder: Path, place: Place, trust: Iterable[Path]) -> None:
    """Write them into `folder`, with the files of the signer beside them (`trust`)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mirror.yaml").write_text(mirror_yaml(place), encoding="utf-8")
        (folder / "hello.yaml").write_text(hello_yaml(place), encoding="utf-8")
        for path in trust:
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise ToolError(f"the desired files can't be written: {error.strerror}", where=str(folder)) from None
