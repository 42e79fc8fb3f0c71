"""The programs of this run: each with the environment that it may see, a log of its own, and a limit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.apply.lines import Redactor
from reconciler.apply.process import Finished, run
from reconciler.apply.runconfig import RunConfig

# what a program needs to run at all; everything else in the environment may be a secret
_BASIC = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {name for base in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (base, base.lower())}
)
_BASIC_PREFIXES = ("LC_", "XDG_")
# where the builder is; SSH_AUTH_SOCK for DOCKER_HOST=ssh://, KUBECONFIG for the kubernetes driver
_BUILDER = frozenset(
    {
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "DOCKER_API_VERSION",
        "BUILDX_BUILDER",
        "SSH_AUTH_SOCK",
        "KUBECONFIG",
    }
)
# GitHub's cache service, for cache exporters of type gha alone; the OIDC variables are other ones
_GHA_CACHE = frozenset(
    {"ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL", "ACTIONS_CACHE_SERVICE_V2"}
)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one call of a tool may take, in seconds."""

    build: float = 3 * 3600.0
    smoke: float = 900.0
    sign: float = 180.0
    ask: float = 60.0


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Runs docker and cosign. `environ` is the user's, of which a program sees only what it needs.

    `logs` gets a file per call. `redact` hides the known secrets in them. `docker` and `cosign` are names on PATH, or
    paths.
    """

    config: RunConfig
    logs: Path
    environ: Mapping[str, str]
    redact: Redactor = field(default_factory=Redactor)
    limits: Limits = field(default_factory=Limits)
    docker: str = "docker"
    cosign: str = "cosign"
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def environment(self, names: frozenset[str] = frozenset(), prefixes: tuple[str, ...] = ()) -> dict[str, str]:
        """The basic variables and the named ones, with DOCKER_CONFIG of this run."""
        kept = {
            name: value
            for name, value in self.environ.items()
            if name in _BASIC or name in names or name.startswith((*_BASIC_PREFIXES, *prefixes))
        }
        return {**kept, "DOCKER_CONFIG": str(self.config.docker)}

    async def buildx(
        self,
        argv: Sequence[str],
        *,
        name: str,
        limit: float,
        extra: Mapping[str, str] | None = None,
        gha_cache: bool = False,
        capture: bool = False,
    ) -> Finished:
        """Runs `docker buildx ARGV`; a build sees neither GITHUB_TOKEN nor the OIDC variables nor a credential."""
        env = self.environment(_BUILDER | (_GHA_CACHE if gha_cache else frozenset()))
        return await self._run([self.docker, "buildx", *argv], name, limit, {**env, **(extra or {})}, capture)

    async def sign(
        self,
        argv: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str],
        limit: float | None = None,
        capture: bool = False,
    ) -> Finished:
        """Runs `cosign ARGV` with `env`, which `cosign.environment` made for the signer."""
        return await self._run([self.cosign, *argv], name, limit or self.limits.sign, env, capture)

    def scratch(self, name: str, suffix: str = "") -> Path:
        """The path of a new file or folder that goes with the run; it isn't made."""
        return self.config.scratch / f"{next(self._count):05}-{_UNSAFE.sub('-', name)[:100]}{suffix}"

    async def _run(
        self, argv: Sequence[str], name: str, limit: float, env: Mapping[str, str], capture: bool
    ) -> Finished:
        log = self.logs / f"{next(self._count):05}-{_UNSAFE.sub('-', name)[:150]}.log"
        return await run(argv, name=name, env=env, limit=limit, log=log, redact=self.redact, capture=capture)
