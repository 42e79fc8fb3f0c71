"""Who we are, at each registry: the environment, docker's own config, podman's; asked once per host and run."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.errors import ToolError
from reconciler.redact import Redactor
from reconciler.registry import dockerconfig, helper
from reconciler.registry.credential import Credential, Use
from reconciler.registry.dockerconfig import DockerConfig, canonical_host

USERNAME = "RECONCILE_REGISTRY_USERNAME"
PASSWORD = "RECONCILE_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable


class Credentials:
    """The credentials of this run. A credential is given out for the host it belongs to, and for no other.

    For a host, the first of these that has one: RECONCILE_REGISTRY_USERNAME and _PASSWORD (the mirror's own host only),
    docker's config (a credential helper, then its `auths`), podman's auth.json, GITHUB_TOKEN (ghcr.io only).
    """

    def __init__(
        self,
        *,
        fixed: Mapping[str, Credential] | None = None,
        configs: Iterable[DockerConfig] = (),
        environ: Mapping[str, str] | None = None,
        helper_limit: float = 30.0,
        known: set[str] | None = None,
    ) -> None:
        self._found: dict[str, Credential | None] = dict(fixed or {})
        self._configs = tuple(configs)
        self._environ = dict(environ or {})
        self._limit = helper_limit
        self._lock = threading.Lock()
        self._notes = [note for config in self._configs for note in config.notes]
        self._secrets = set[str]() if known is None else known
        self._tokens: set[str] = set()
        self._redactor: tuple[int, Redactor] | None = None
        self._secrets.update(c.secret for c in self._found.values() if c is not None)
        self._secrets.update(c.secret for config in self._configs for c in config.auths.values())
        self._secrets.update(v for k in ("GITHUB_TOKEN", PASSWORD) if (v := self._environ.get(k)))

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, *, mirror: str = "", known: set[str] | None = None
    ) -> Credentials:
        """The credentials of this machine and environment; `mirror` is the host of the mirror's own registry.

        `known` gets every secret but tokens, also those that are learnt later. Raises nothing: what can't be read is
        passed over and named in `notes`.
        """
        environ = os.environ if environ is None else environ
        fixed = {}
        if mirror and environ.get(USERNAME) and environ.get(PASSWORD):
            fixed[canonical_host(mirror)] = Credential(environ[USERNAME], environ[PASSWORD], Use.PASSWORD, PASSWORD)
        return cls(fixed=fixed, configs=[_file(path) for path in _paths(environ)], environ=environ, known=known)

    def for_host(self, host: str) -> Credential | None:
        """The credential for `host[:port]`, or None. May run a credential helper: not on the event loop."""
        host = canonical_host(host)
        with self._lock:
            if host not in self._found:
                self._found[host] = found = self._find(host)
                if found is not None:
                    self._secrets.add(found.secret)
            return self._found[host]

    def _find(self, host: str) -> Credential | None:
        for config in self._configs:
            for name in dict.fromkeys(filter(None, (config.helpers.get(host), config.store))):
                try:
                    found = helper.get(name, dockerconfig.server_url(host), environ=self._environ, limit=self._limit)
                except ToolError as error:
                    self._notes.append(f"{host}: {error.reason}")
                    continue
                if found is not None:
                    return found
            if host in config.auths:
                return config.auths[host]
        if host == "ghcr.io" and self._environ.get("GITHUB_TOKEN"):
            # GHCR looks at the token alone; the name may be any but not empty (protocols 2.4)
            name = self._environ.get("GITHUB_ACTOR") or "x-access-token"
            return Credential(name, self._environ["GITHUB_TOKEN"], Use.PASSWORD, "GITHUB_TOKEN")
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each thing that was passed over, and why; no secret in it."""
        return tuple(dict.fromkeys(self._notes))

    def remember(self, token: str) -> None:
        """Adds a token, which was given to us on the way, to what no output may hold."""
        self._tokens.add(token)

    def redact(self, text: str) -> str:
        """`text` without any secret known so far but for tokens: whoever is shown one may say it back."""
        # secrets are only ever added
        if self._redactor is None or self._redactor[0] != len(self._secrets):
            self._redactor = len(self._secrets), Redactor(filter(None, self._secrets))
        return self._redactor[1](text)

    def secrets(self) -> frozenset[str]:
        """Every secret known so far, as it is, tokens too."""
        return frozenset(filter(None, self._secrets | self._tokens))

    def __repr__(self) -> str:
        return f"<Credentials for {', '.join(sorted(h for h, c in self._found.items() if c)) or 'no host yet'}>"


def _paths(environ: Mapping[str, str]) -> list[Path]:
    """Where docker and podman keep their credentials (docker login --help; containers-auth.json(5))."""
    paths = []
    home = environ.get("HOME", "")
    if environ.get("DOCKER_CONFIG"):
        paths.append(Path(environ["DOCKER_CONFIG"], "config.json"))
    elif home:
        paths.append(Path(home, ".docker", "config.json"))
    if environ.get("REGISTRY_AUTH_FILE"):
        paths.append(Path(environ["REGISTRY_AUTH_FILE"]))
    elif environ.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environ["XDG_RUNTIME_DIR"], "containers", "auth.json"))
    if home and not environ.get("REGISTRY_AUTH_FILE"):
        paths.append(Path(home, ".config", "containers", "auth.json"))
    return paths


def _file(path: Path) -> DockerConfig:
    """What one file says; a note instead of an error, for most commands need no credentials at all."""
    try:
        # O_NONBLOCK: a pipe in the file's place must not hang us
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return DockerConfig()
    except (OSError, ValueError) as error:
        return DockerConfig(notes=(f"{path} can't be read ({type(error).__name__}); no credentials come from it",))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return DockerConfig(notes=(f"{path} is no file; no credentials come from it",))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(dockerconfig.MAX_BYTES + 1)
    except OSError as error:
        return DockerConfig(notes=(f"{path} can't be read ({type(error).__name__}); no credentials come from it",))
    finally:
        os.close(descriptor)
    if len(data) > dockerconfig.MAX_BYTES:
        return DockerConfig(notes=(f"{path} is over 1 MiB; no credentials come from it",))
    return dockerconfig.read(data, str(path))
