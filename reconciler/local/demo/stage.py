"""The stage of a demo: registry, upstream, signer and builder, started side by side, and gone in the end.

    in this thread                      in a second one
    registry, upstream, Sigstore        tools, engine, builder
                        \\              /
                     base images, desired files

What takes long is the engine and what is built on it, so everything else happens meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError, ToolMissing
from reconciler.local import binfmt, builder, debian, engine, images
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.demo import desired, hello
from reconciler.local.demo.witness import Witness
from reconciler.local.engine import Engine
from reconciler.local.registry import LocalRegistry
from reconciler.local.sigstore import LocalSigstore
from reconciler.local.tools import Tools, obtain, on_path
from reconciler.local.upstream import LocalUpstream
from reconciler.model.platform import Platform

# what a program needs to run at all, and where the operator's own builder is; all else of the environment could lead
# the demo to somebody's registry, token or signer
_KEPT = frozenset({"HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLUMNS", "TMPDIR", "NO_COLOR"})
_OWN_BUILDER = frozenset(
    {"DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "BUILDX_CONFIG"}
)
# a token lives for five minutes
_RENEWED_EVERY = 120.0
# where nothing can be made from Debian's packages, and an own builder can reach Docker Hub
_PUBLIC_BASE = "docker.io/library/busybox:stable"

# this machine's loopback is where registry and upstream are
_OR_NAME_ONE = (
    "or name a builder that sees this machine's network: docker buildx create --name demo --driver docker-container "
    "--driver-opt network=host --bootstrap, then reconcile demo --builder demo"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a demo plays on.

    `folder` holds everything; `env` is what the verbs must see, `builder` buildx's name for who builds (`engine` is
    None where that is the operator's own), `token` a file with an OIDC token that is always valid.
    """

    folder: Path
    platforms: tuple[Platform, ...]
    registry: LocalRegistry
    upstream: LocalUpstream
    sigstore: LocalSigstore
    witness: Witness
    tools: Tools
    builder: str
    engine: Engine | None
    token: Path
    env: Mapping[str, str]

    @property
    def desired(self) -> Path:
        """The desired files."""
        return self.folder / "desired"

    @property
    def state(self) -> Path:
        """The records."""
        return self.folder / "state"


@contextmanager
def stage(
    folder: Path,
    environ: Mapping[str, str],
    *,
    own_builder: str = "",
    more: tuple[Tool, ...] = (),
    say: Say,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Stage]:
    """Everything ready to plan and apply, in `folder`.

    `environ` is the user's, `own_builder` one that buildx knows already (empty: a private engine is started, as root),
    `more` are tools that are nice to have; `meanwhile` is called while the engine starts. Raises
    ToolMissing or ToolError with what to install or to say.
    """
    platforms = images.PLATFORMS
    with ExitStack() as outer:
        side = outer.enter_context(ExitStack())  # what the second thread starts
        with ThreadPoolExecutor(1, "demo") as pool:
            building = pool.submit(_side, side, own_builder, environ, platforms, more, say)
            registry = outer.enter_context(LocalRegistry(folder / "registry"))
            upstream = outer.enter_context(LocalUpstream(folder / "upstream"))
            local = own_builder == "" or _is_debian()
            base = f"{registry.host}/base/busybox:latest" if local else _PUBLIC_BASE
            hello.publish(upstream.repository(hello.REPOSITORY), base)
            sigstore = outer.enter_context(LocalSigstore(folder / "sigstore"))
            token = outer.enter_context(_renewed(sigstore))
            meanwhile()
            tools, by, private = building.result()
        scanner = ""
        if local:
            scanner = str(images.make(tools, by, registry.host).scanner)
        place = desired.Place(registry.host, upstream.url, platforms, scanner)
        desired.write(folder / "desired", place, (sigstore.trusted_root, sigstore.signing_config))
        witness = Witness(desired.NAMESPACE, platforms)
        registry.on_tag_put(witness)
        env = _environment(environ, tools, by, upstream, folder, own=bool(own_builder))
        yield Stage(
            folder=folder,
            platforms=platforms,
            registry=registry,
            upstream=upstream,
            sigstore=sigstore,
            witness=witness,
            tools=tools,
            builder=by.name,
            engine=private,
            token=token,
            env=env,
        )


def _side(
    stack: ExitStack,
    own_builder: str,
    environ: Mapping[str, str],
    platforms: tuple[Platform, ...],
    more: tuple[Tool, ...],
    say: Say,
) -> tuple[Tools, Builder, Engine | None]:
    """The tools and the builder; what has to be ended is put on `stack`."""
    wanted = (*builder.TOOLS, Tool.COSIGN, *(tool for tool in more if _is_debian() or on_path(tool)))
    if own_builder:
        tools = obtain(*wanted, *(images.tools_for(platforms) if _is_debian() else ()), say=say)
        return tools, Builder(own_builder, tools[Tool.DOCKER], _users_config(environ)), None
    if os.geteuid() != 0:
        raise ToolError(
            "the demo starts a builder of its own, which takes root on Linux", todo=f"run it as root, {_OR_NAME_ONE}"
        )
    wanted += (*engine.TOOLS, *images.tools_for(platforms), *binfmt.tools_for(platforms))
    try:
        tools = obtain(*wanted, say=say)
    except ToolMissing as error:
        todo = f"{error.todo};\n  {_OR_NAME_ONE}"
        raise ToolMissing(error.what, where=error.where, todo=todo, tail=error.tail, log=error.log) from None
    stack.enter_context(binfmt.emulation(platforms, tools))
    private = stack.enter_context(Engine(tools, say=say))
    return tools, stack.enter_context(builder.private_builder(tools, private, platforms=platforms)), private


def _is_debian() -> bool:
    return debian.release().get("ID") == "debian"


def _users_config(environ: Mapping[str, str]) -> Path:
    """Where the user's docker keeps its builders."""
    own = environ.get("DOCKER_CONFIG")
    return Path(own).absolute() if own else Path(environ.get("HOME") or Path.home(), ".docker")


def _environment(
    environ: Mapping[str, str], tools: Tools, by: Builder, upstream: LocalUpstream, folder: Path, *, own: bool
) -> Mapping[str, str]:
    kept = _KEPT | _OWN_BUILDER if own else _KEPT
    found = {name: value for name, value in environ.items() if name in kept}
    path = ":".join(filter(None, (tools.search_path, environ.get("PATH", ""))))
    return {
        **found,
        **upstream.env,
        "PATH": path,
        "DOCKER_CONFIG": str(by.docker_config),
        "RECONCILE_CACHE": str(folder / "cache"),
    }


@contextmanager
def _renewed(sigstore: LocalSigstore) -> Iterator[Path]:
    """A file with an OIDC token that is replaced before it expires."""
    path = sigstore.folder / "token.jwt"
    over = threading.Event()

    def renew() -> None:
        sigstore.identity_token(desired.IDENTITY).replace(path)

    def keep() -> None:
        while not over.wait(_RENEWED_EVERY):
            with suppress(OSError):  # a full disk is noticed by whoever signs
                renew()

    try:
        renew()
    except OSError as error:
        raise ToolError(f"the signer's token can't be written: {error.strerror}", where=str(path)) from None
    thread = threading.Thread(target=keep, name="token", daemon=True)
    thread.start()
    try:
        yield path
    finally:
        over.set()
        thread.join()
