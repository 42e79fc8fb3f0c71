"""The CNCF registry (distribution) on a loopback port: somebody else's registry, to be tested against.

    with CncfRegistry(tools, folder) as registry:
        registry.host                      # "127.0.0.1:43210", plain http
        registry.stop(); registry.start()  # the same storage on the same port

Like GHCR it has no referrers API (clients fall back to the tag `sha256-<hex>`), and with `tokens` it demands bearer
tokens. Manifests can be deleted.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.errors import ToolError, ToolTimeout
from reconciler.local.catalogue import Tool
from reconciler.local.kept import Kept
from reconciler.local.tokens import TokenServer
from reconciler.local.tools import Tools

TOOLS = (Tool.REGISTRY,)
"""What `obtain` must have brought."""

_START = 30.0
_PAUSE = 0.02
_TRIES = 5


class CncfRegistry:
    """A context manager: the registry runs inside `with`; what was pushed stays in `folder`."""

    def __init__(self, tools: Tools, folder: Path, *, tokens: TokenServer | None = None, port: int = 0) -> None:
        """`folder` gets storage, configuration and log; `port` 0 takes a free one; `tokens` must be running by then."""
        self._program = tools[Tool.REGISTRY]
        self._folder = folder.absolute()
        self._tokens = tokens
        self._port = port
        self._kept: Kept | None = None

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as it stands in references."""
        return f"127.0.0.1:{self._port}"

    @property
    def storage(self) -> Path:
        """Where its blobs and manifests are."""
        return self._folder / "storage"

    @property
    def log(self) -> Path:
        """What it says, one line for each request."""
        return self._folder / "registry.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; raises ToolError with its last lines where it doesn't."""
        for attempt in range(_TRIES):
            port = self._port or _free_port()
            kept = self._run(port)
            try:
                self._wait(kept, port)
            except ToolError as error:
                kept.stop()
                # between our look for a free port and its bind, somebody else may take it
                taken = any("address already in use" in line for line in error.tail)
                if self._port or not taken or attempt == _TRIES - 1:
                    raise
            except BaseException:
                kept.stop()
                raise
            else:
                self._kept, self._port = kept, port
                return

    def stop(self) -> None:
        """Stop it; storage and port stay its own for another `start`."""
        if self._kept is not None:
            self._kept.stop()
            self._kept = None

    def _run(self, port: int) -> Kept:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.log.unlink(missing_ok=True)
            config = self._folder / "config.json"
            config.write_text(json.dumps(self._configuration(port)), encoding="utf-8")  # JSON is YAML
        except OSError as error:
            raise ToolError(
                f"the registry's folder can't be written: {error.strerror}", where=str(self._folder)
            ) from error
        return Kept.start([self._program, "serve", config], log=self.log, env={"PATH": "/usr/bin:/bin"}, grace=3)

    def _configuration(self, port: int) -> dict[str, object]:
        settings: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"127.0.0.1:{port}", "secret": secrets.token_hex(16)},
        }
        if self._tokens is not None:
            bundle = self._folder / "token-signer.pem"
            bundle.write_bytes(self._tokens.certificate)
            settings["auth"] = {
                "token": {
                    "realm": self._tokens.realm,
                    "service": self._tokens.service,
                    "issuer": self._tokens.issuer,
                    "rootcertbundle": str(bundle),
                }
            }
        return settings

    def _wait(self, kept: Kept, port: int) -> None:
        """Ask until it answers; it has no other way of saying that it's ready."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if kept.ended():
                raise ToolError("docker-registry ended at once", tail=kept.last_lines())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/v2/")
                answer = connection.getresponse()
                if answer.getheader("Docker-Distribution-Api-Version") and not kept.ended():
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE)
            finally:
                connection.close()
        raise ToolTimeout(
            f"docker-registry doesn't answer after {_START:.0f} s", tail=kept.last_lines(), log=str(kept.log)
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
