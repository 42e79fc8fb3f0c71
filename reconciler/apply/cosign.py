"""cosign: signs digests and statements, into bundles that it writes to files and `attach` publishes.

What signs is the program, so that every kind of key that cosign knows works (a file, env://, a KMS); what it makes is
verified in this process before a tag is put on anything. Attestations are made by `attest-blob --statement`, which
signs our statement byte by byte: `attest --statement` ignores it for images (cosign 3.1.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.apply.toolbox import Toolbox
from reconciler.errors import ToolError, ToolMissing
from reconciler.model.reference import DigestRef
from reconciler.model.signing import Keyless, KeyPair, Signing

LEAST = (3, 1)
MAX_BUNDLE = 64 * 1024 * 1024

_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_INSTALL = "install cosign 3.1 or newer (github.com/sigstore/cosign, its releases)"
# the ambient tokens that cosign can use by itself: GitHub Actions', and one that stands in the environment
OIDC_VARIABLES = frozenset({"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SIGSTORE_ID_TOKEN"})
_SIGSTORE_PREFIXES = ("SIGSTORE_", "TUF_")
# what each kind of key reads from its environment (cosign, KMS documentation)
_KMS_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "awskms": ("AWS_",),
    "gcpkms": ("GOOGLE_", "CLOUDSDK_"),
    "azurekms": ("AZURE_",),
    "hashivault": ("VAULT_", "TRANSIT_"),
    "k8s": ("KUBECONFIG", "KUBERNETES_"),
    "gitlab": ("GITLAB_",),
}
# a signer without any service: nothing is logged, and nothing is fetched by TUF to learn that
_NO_SERVICES = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
_NO_ROOTS = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}


class Cosign:
    """Makes bundles as `signing` says, at most `parallel` at a time.

    `key` overrides the key that the desired state names; `token` is a file with an OIDC token (no newline at its end)
    where the environment offers none; `plain_http`: the mirror's registry speaks http.
    """

    def __init__(
        self,
        tools: Toolbox,
        signing: Signing,
        *,
        key: str = "",
        token: Path | None = None,
        plain_http: bool = False,
        parallel: int = 4,
    ) -> None:
        self._tools = tools
        self._signing = signing
        self._key = key or (signing.method.private if isinstance(signing.method, KeyPair) else "")
        self._token = token
        self._plain_http = plain_http
        self._slots = asyncio.Semaphore(parallel)
        self._files: Sequence[str] | None = None

    @property
    def signing(self) -> Signing:
        """How it signs, and whose proofs count."""
        return self._signing

    def lacks(self) -> str:
        """What a signer needs and isn't there, or nothing (rule 10)."""
        if isinstance(self._signing.method, KeyPair):
            if not self._key:
                return "no private key to sign with: name one with --key (a file, env://NAME, a KMS)"
            if self._key.startswith("env://") and not self._tools.environ.get(self._key.removeprefix("env://")):
                return f"no private key to sign with: {self._key} isn't set"
            if "://" not in self._key and not Path(self._key).is_file():
                return f"no private key to sign with: {self._key} isn't there"
            return ""
        environ = self._tools.environ
        ambient = environ.get("SIGSTORE_ID_TOKEN") or (
            environ.get("ACTIONS_ID_TOKEN_REQUEST_URL") and environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        )
        if ambient or (self._token is not None and self._token.is_file()):
            return ""
        return (
            "no OIDC token to sign with: give the job `permissions: id-token: write`, "
            "or name a file that holds one with --identity-token"
        )

    async def check(self) -> None:
        """ToolMissing where cosign isn't there or is older than 3.1."""
        done = await self._run(["version", "--json"], "cosign version", capture=True)
        found = ""
        with contextlib.suppress(ValueError, AttributeError):
            found = str(json.loads(done).get("gitVersion", ""))
        match = _VERSION.match(found)
        if match is None:
            # distributions build it without a version: then what it can do counts
            help_text = await self._run(["sign", "--help"], "cosign sign --help", capture=True)
            # 3 made this the default, 2.6 had it off, and older ones don't know it (protocols 3.16)
            if b"--use-signing-config=true" in help_text:
                return
            raise ToolMissing(f"cosign says no version ({found[:40]!r}) and isn't 3.1 or newer", todo=_INSTALL)
        if (int(match[1]), int(match[2])) < LEAST:
            raise ToolMissing(f"cosign is {found[:40]}, and it takes 3.1 or newer", todo=_INSTALL)

    async def sign(self, target: DigestRef) -> bytes:
        """A bundle that signs the digest, as `cosign sign` makes it."""
        return await self._bundle(["sign", "--upload=false"], [str(target)], f"cosign sign {target}")

    async def attest(self, statement: bytes, what: str) -> bytes:
        """A bundle that holds the in-toto `statement` byte by byte; `what` names it in errors and logs."""
        file = self._tools.scratch(what, ".statement.json")
        file.write_bytes(statement)
        try:
            return await self._bundle(["attest-blob", "--statement", str(file)], [], f"cosign attest {what}")
        finally:
            file.unlink(missing_ok=True)

    async def sign_legacy(self, target: DigestRef) -> None:
        """Signs the digest as cosign 2 does and uploads it: the tag `sha256-<hex>.sig` has no other writer than us."""
        words = ["sign", "--new-bundle-format=false", "--use-signing-config=false", "--yes", *self._signer_words()]
        words += self._legacy_services() if isinstance(self._signing.method, Keyless) else ["--tlog-upload=false"]
        if self._plain_http:
            words.append("--allow-http-registry")
        await self._run([*words, str(target)], f"cosign sign {target} (legacy)")

    async def _bundle(self, verb: Sequence[str], target: Sequence[str], name: str) -> bytes:
        file = self._tools.scratch(name, ".sigstore.json")
        words = [*verb, "--yes", *self._signer_words(), *self._service_words(), "--bundle", str(file)]
        if self._plain_http and verb[0] == "sign":
            words.append("--allow-http-registry")
        await self._run([*words, *target], name)
        try:
            if file.stat().st_size > MAX_BUNDLE:
                raise ToolError(f"{name} made a bundle larger than {MAX_BUNDLE} bytes")
            return file.read_bytes()
        except OSError as error:
            raise ToolError(f"{name} left no bundle: {error.strerror}", where=str(file)) from None
        finally:
            file.unlink(missing_ok=True)

    async def _run(self, argv: Sequence[str], name: str, *, capture: bool = False) -> bytes:
        async with self._slots:
            done = await self._tools.sign(argv, name=name, env=self._environment(), capture=capture)
        return done.output

    def _environment(self) -> Mapping[str, str]:
        """The OIDC variables for a keyless signer, the password and the KMS's own variables for a key: never both."""
        if isinstance(self._signing.method, Keyless):
            names = frozenset[str]() if self._token else OIDC_VARIABLES
            # a token in a file must not compete with one in the environment
            env = self._tools.environment(names, _SIGSTORE_PREFIXES)
            return {k: v for k, v in env.items() if k != "SIGSTORE_ID_TOKEN"} if self._token else env
        scheme, separator, rest = self._key.partition("://")
        names = frozenset({"COSIGN_PASSWORD"} | ({rest} if scheme == "env" else set()))
        env = self._tools.environment(names, _KMS_PREFIXES.get(scheme, ()) if separator else ())
        # without it cosign asks a terminal that isn't there
        return {"COSIGN_PASSWORD": "", **env}

    def _signer_words(self) -> Sequence[str]:
        if isinstance(self._signing.method, KeyPair):
            return ("--key", self._key)
        return ("--identity-token", str(self._token)) if self._token else ()

    def _service_words(self) -> Sequence[str]:
        """Which services it uses, and what it trusts of their answers; without them it asks Sigstore's own by TUF."""
        if self._files is None:
            words: list[str] = []
            method = self._signing.method
            if isinstance(method, KeyPair):
                words += ["--signing-config", self._keep("signing-config.json", json.dumps(_NO_SERVICES))]
                words += ["--trusted-root", self._keep("trusted-root.json", json.dumps(_NO_ROOTS))]
            else:
                words += ["--signing-config", method.signing_config] if method.signing_config else []
                if self._signing.policy.trusted_root:
                    words += ["--trusted-root", self._keep("trusted-root.json", self._signing.policy.trusted_root)]
            self._files = words
        return self._files

    def _legacy_services(self) -> Sequence[str]:
        """cosign 2's way to name services: the URLs that stand in the signing config."""
        method = self._signing.method
        if not isinstance(method, Keyless) or not method.signing_config:
            return ()
        try:
            config = json.loads(Path(method.signing_config).read_bytes())
            return ["--fulcio-url", _url(config["caUrls"]), "--rekor-url", _url(config["rekorTlogUrls"])]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolError(
                f"the signing config names no Fulcio and Rekor: {error}",
                where=method.signing_config,
                todo="make it with `cosign signing-config create`, with a Rekor of API version 1 for the legacy layout",
            ) from None

    def _keep(self, name: str, text: str) -> str:
        path = self._tools.scratch(name)
        path.write_text(text, encoding="utf-8")
        return str(path)


def _url(services: Any) -> str:
    """The first service with the first API version: the only one that the legacy layout knows."""
    for service in services:
        if service.get("majorApiVersion", 1) == 1:
            return str(service["url"])
    raise KeyError("no service with API version 1")
