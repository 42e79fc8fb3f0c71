"""A Sigstore that listens on this machine, with the files that cosign 2 and 3 need to use and to trust it."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from reconciler.errors import EvidenceError
from reconciler.local.sigstore.core import Clock, Core, no_services, wall_clock
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Mint
from reconciler.local.sigstore.server import application

_PATIENCE = 30.0


class LocalSigstore:
    """A Fulcio and a Rekor on one loopback port, served from a thread and an event loop of their own.

        with LocalSigstore(folder) as sigstore:
            token = sigstore.identity_token()        # GitHub's issuer, a workflow's identity
            cosign sign --signing-config {sigstore.signing_config} --trusted-root {sigstore.trusted_root}
                        --identity-token {token} ...
            cosign2 verify ...                       # with sigstore.environment

    `mint` makes bundles that the same trusted root accepts, without cosign. EvidenceError where it can't listen.
    """

    def __init__(self, folder: Path | None = None, *, clock: Clock = wall_clock, host: str = "127.0.0.1") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sigstore-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else folder or Path()
        self.core = Core(clock)
        self.mint = Mint(self.core)
        self.url = ""
        self._host = host
        self._tokens = 0
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    @property
    def trusted_root(self) -> Path:
        """For cosign 3's `--trusted-root`, and for sigstore-python's `TrustedRoot.from_file`."""
        return self.folder / "trusted_root.json"

    @property
    def signing_config(self) -> Path:
        """For cosign 3's `--signing-config`, signing keyless."""
        return self.folder / "signing_config.json"

    @property
    def key_signing_config(self) -> Path:
        """For cosign 3's `--signing-config`, signing with a key and without a log."""
        return self.folder / "signing_config_key.json"

    @property
    def environment(self) -> dict[str, str]:
        """What makes cosign 2, and cosign 3's legacy paths, trust this Sigstore."""
        return {
            "SIGSTORE_ROOT_FILE": str(self.folder / "fulcio.pem"),
            "SIGSTORE_REKOR_PUBLIC_KEY": str(self.folder / "rekor.pub"),
            "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": str(self.folder / "ctlog.pub"),
        }

    def identity_token(self, identity: str = WORKFLOW, issuer: str = GITHUB_ISSUER, **github_claims: str) -> Path:
        """A file with a token for this identity, without a newline, valid for five minutes.

        `github_claims` replaces single claims: `repository="o/caller"` is a reusable workflow called from there.
        """
        self._tokens += 1
        path = self.folder / f"token-{self._tokens}.jwt"
        _write(path, self.core.token(identity, issuer, github_claims))
        return path

    def key_pair(self, password: str = "", name: str = "cosign") -> tuple[Key, Path, Path]:
        """A new key, and its files for cosign: private (sealed with `password`) and public."""
        key = Key.generate()
        private, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        _write(private, key.cosign_pem(password))
        _write(public, key.public_pem)
        return key, private, public

    def __enter__(self) -> Self:
        listening: Future[tuple[str, Callable[[], object]]] = Future()
        self._thread = threading.Thread(target=self._serve, args=[listening], name="sigstore", daemon=True)
        self._thread.start()
        try:
            self.url, self._stop = listening.result(_PATIENCE)
            self._write_trust()
        except (OSError, EvidenceError) as error:
            self.__exit__(None, None, None)
            raise EvidenceError(f"the local Sigstore can't start: {error}", where=self._host) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._temporary is not None:
            self._temporary.cleanup()

    def _serve(self, listening: Future[tuple[str, Callable[[], object]]]) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            runner = web.AppRunner(application(self.core), access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, 0).start()
                host, port = runner.addresses[0][:2]
                listening.set_result((f"http://{host}:{port}", lambda: loop.call_soon_threadsafe(stop.set)))
                await stop.wait()
            finally:
                await runner.cleanup()

        try:
            asyncio.run(run())
        except Exception as error:
            if listening.done():
                raise
            listening.set_exception(error)

    def _write_trust(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, document in (
            (self.trusted_root, self.core.trusted_root(self.url)),
            (self.signing_config, self.core.signing_config(self.url)),
            (self.key_signing_config, no_services()),
        ):
            _write(path, json.dumps(document, indent=1))
        pems = ("".join(self.core.authority.chain.pem), self.core.log.key.public_pem, self.core.ct_key.public_pem)
        for name, pem in zip(self.environment.values(), pems, strict=True):
            _write(Path(name), pem)


def _write(path: Path, text: str) -> None:
    """A new file that only its owner can read; EvidenceError where it can't be written."""
    try:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
    except OSError as error:
        raise EvidenceError(f"can't be written: {error.strerror}", where=str(path)) from error
