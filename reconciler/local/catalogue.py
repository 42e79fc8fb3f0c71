"""Which tools there are, how old they may be, and where each is had: on PATH, in a Debian package, or by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Tool(StrEnum):
    """A program that reconcile's demo and tests use; the value is what people call it."""

    DOCKER = "docker"
    BUILDX = "docker-buildx"
    DOCKERD = "dockerd"
    CONTAINERD = "containerd"
    SHIM = "containerd-shim-runc-v2"
    RUNC = "runc"
    COSIGN = "cosign"
    COSIGN2 = "cosign-2"
    REGISTRY = "docker-registry"
    CRANE = "crane"
    ORAS = "oras"
    SKOPEO = "skopeo"
    QEMU_AMD64 = "qemu-x86_64-static"
    QEMU_ARM64 = "qemu-aarch64-static"
    QEMU_ARM = "qemu-arm-static"
    BUSYBOX_AMD64 = "busybox-static (amd64)"
    BUSYBOX_ARM64 = "busybox-static (arm64)"
    BUSYBOX_ARM = "busybox-static (armhf)"


OWN = ""  # the machine's own suite


@dataclass(frozen=True, slots=True)
class Debian:
    """The file `file` of a Debian package; `suite` is empty for the machine's own, `architecture` for its own."""

    package: str
    file: str
    suite: str = "sid"
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class OnPath:
    """How a tool that the machine has says its version (`version` matches it), and the least one that will do."""

    program: str
    ask: tuple[str, ...]
    version: re.Pattern[str]
    least: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tool is had; `by_hand` says where people usually get it."""

    debian: Debian
    by_hand: str
    on_path: OnPath | None = None


def _number(before: str = "") -> re.Pattern[str]:
    return re.compile(before + r"v?(\d+)\.(\d+)(?:\.(\d+))?")


_DOCKER = "Docker Engine, docs.docker.com/engine/install"

CATALOGUE: dict[Tool, Entry] = {
    Tool.DOCKER: Entry(
        Debian("docker-cli", "docker"),
        _DOCKER,
        OnPath("docker", ("--version",), _number("Docker version "), (23, 0)),
    ),
    Tool.BUILDX: Entry(
        Debian("docker-buildx", "docker-buildx"),
        "github.com/docker/buildx, its releases",
        OnPath("docker-buildx", ("version",), _number("buildx "), (0, 20)),
    ),
    Tool.DOCKERD: Entry(
        Debian("docker.io", "dockerd"), _DOCKER, OnPath("dockerd", ("--version",), _number("Docker version "), (27, 0))
    ),
    Tool.CONTAINERD: Entry(
        Debian("containerd", "containerd"), _DOCKER, OnPath("containerd", ("--version",), _number(), (1, 7))
    ),
    Tool.SHIM: Entry(
        Debian("containerd", "containerd-shim-runc-v2"),
        _DOCKER,
        OnPath("containerd-shim-runc-v2", ("-v",), _number(), (1, 7)),
    ),
    Tool.RUNC: Entry(
        Debian("runc", "runc", OWN), _DOCKER, OnPath("runc", ("--version",), _number("runc version "), (1, 1))
    ),
    Tool.COSIGN: Entry(
        Debian("cosign", "cosign"),
        "github.com/sigstore/cosign, its releases",
        OnPath("cosign", ("version",), _number("GitVersion: +"), (3, 1)),
    ),
    Tool.COSIGN2: Entry(Debian("cosign", "cosign", "trixie"), "github.com/sigstore/cosign, its releases"),
    Tool.REGISTRY: Entry(
        Debian("docker-registry", "docker-registry"),
        "github.com/distribution/distribution, its releases",
        OnPath("docker-registry", ("--version",), _number(), (2, 8)),
    ),
    Tool.CRANE: Entry(
        Debian("crane", "crane"),
        "github.com/google/go-containerregistry, its releases",
        OnPath("crane", ("version",), _number(), (0, 10)),
    ),
    Tool.ORAS: Entry(
        Debian("oras", "oras"),
        "github.com/oras-project/oras, its releases",
        OnPath("oras", ("version",), _number("Version: +"), (1, 1)),
    ),
    Tool.SKOPEO: Entry(
        Debian("skopeo", "skopeo", OWN),
        "github.com/containers/skopeo, install.md",
        OnPath("skopeo", ("--version",), _number("skopeo version "), (1, 9)),
    ),
    Tool.QEMU_AMD64: Entry(Debian("qemu-user-static", "qemu-x86_64-static", OWN), "the package qemu-user-static"),
    Tool.QEMU_ARM64: Entry(Debian("qemu-user-static", "qemu-aarch64-static", OWN), "the package qemu-user-static"),
    Tool.QEMU_ARM: Entry(Debian("qemu-user-static", "qemu-arm-static", OWN), "the package qemu-user-static"),
    Tool.BUSYBOX_AMD64: Entry(Debian("busybox-static", "busybox", OWN, "amd64"), "the package busybox-static"),
    Tool.BUSYBOX_ARM64: Entry(Debian("busybox-static", "busybox", OWN, "arm64"), "the package busybox-static"),
    Tool.BUSYBOX_ARM: Entry(Debian("busybox-static", "busybox", OWN, "armhf"), "the package busybox-static"),
}

# dockerd is used with the containerd, shim and runc it was made for: all of them from one place
ENGINE = (Tool.DOCKERD, Tool.CONTAINERD, Tool.SHIM, Tool.RUNC)
EVERY = tuple(Tool)
