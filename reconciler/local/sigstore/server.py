"""Fulcio's and Rekor v1's HTTP APIs over one `Core`, as cosign 2 and 3 ask them.

cosign 3 (sigstore-go) wants status 200 from Fulcio's v2 API, and from Rekor the entry's UUID in the `ETag` header too;
cosign 2 asks Fulcio's v1 API, which answers 201 and a chain in PEM.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from reconciler.errors import EvidenceError
from reconciler.local.sigstore.authority import Chain
from reconciler.local.sigstore.core import Core
from reconciler.local.sigstore.entries import canonical, public_key
from reconciler.local.sigstore.log import Entry

LARGEST = 64 << 20  # a dsse entry is proposed with its whole envelope, and an SBOM is many megabytes
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(core: Core) -> web.Application:
    """The routes; nothing listens yet."""
    app = web.Application(client_max_size=LARGEST, middlewares=[_refusals])
    fulcio, rekor = _Fulcio(core), _Rekor(core)
    app.add_routes(
        [
            web.post("/api/v2/signingCert", fulcio.certify),
            web.get("/api/v2/trustBundle", fulcio.trust_bundle),
            web.post("/api/v1/signingCert", fulcio.certify_v1),
            web.get("/api/v1/rootCert", fulcio.root),
            web.post("/api/v1/log/entries", rekor.append),
            web.get("/api/v1/log/entries", rekor.by_index),
            web.post("/api/v1/log/entries/retrieve", rekor.retrieve),
            web.get("/api/v1/log/entries/{uuid:[0-9a-f]{64}([0-9a-f]{16})?}", rekor.by_uuid),
            web.post("/api/v1/index/retrieve", rekor.search),
            web.get("/api/v1/log", rekor.head),
            web.get("/api/v1/log/publicKey", rekor.key),
        ]
    )
    return app


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the core refuses is the client's mistake: 400 (404 for a look-up), with its words."""
    try:
        return await handler(request)
    except EvidenceError as error:
        status = 404 if request.method == "GET" else 400
        return web.json_response({"code": status, "message": str(error)}, status=status)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        return web.json_response({"code": 400, "message": f"malformed request: {error!r}"}, status=400)


class _Fulcio:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def certify(self, request: web.Request) -> web.Response:
        asked = (await request.json())["publicKeyRequest"]
        pem = asked["publicKey"]["content"].encode()
        chain = self._certify(request, pem, asked["proofOfPossession"])
        return web.json_response({"signedCertificateEmbeddedSct": {"chain": {"certificates": list(chain.pem)}}})

    async def certify_v1(self, request: web.Request) -> web.Response:
        asked = await request.json()
        pem = base64.b64decode(asked["publicKey"]["content"])
        chain = self._certify(request, pem, asked["signedEmailAddress"])
        return web.Response(
            status=201, body="".join(chain.pem).encode(), content_type="application/pem-certificate-chain"
        )

    async def trust_bundle(self, _: web.Request) -> web.Response:
        return web.json_response({"chains": [{"certificates": list(self._core.authority.chain.pem)}]})

    async def root(self, _: web.Request) -> web.Response:
        pem = "".join(self._core.authority.chain.pem).encode()
        return web.Response(body=pem, content_type="application/pem-certificate-chain")

    def _certify(self, request: web.Request, pem: bytes, proof: str) -> Chain:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise EvidenceError("no identity token in the Authorization header")
        return self._core.certify(token, public_key(pem), base64.b64decode(proof))


class _Rekor:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def append(self, request: web.Request) -> web.Response:
        proposed = await request.json()
        known = self._core.log.holds(canonical(proposed))
        entry = self._core.keep(proposed)
        place = {"Location": f"/api/v1/log/entries/{entry.uuid}"}
        if known:
            return web.json_response({"code": 409, "message": "already in the log"}, status=409, headers=place)
        return web.json_response(_named(entry), status=201, headers=place | {"ETag": entry.uuid})

    async def by_index(self, request: web.Request) -> web.Response:
        return web.json_response(_named(self._core.log.entry_at(int(request.query["logIndex"]))))

    async def by_uuid(self, request: web.Request) -> web.Response:
        return web.json_response(_named(self._core.log.entry(request.match_info["uuid"])))

    async def retrieve(self, request: web.Request) -> web.Response:
        """Those that are there, of all that were named by UUID, index or content."""
        asked: dict[str, list[Any]] = await request.json()
        log = self._core.log
        found = [log.entry(uuid) for uuid in asked.get("entryUUIDs") or []]
        found += [log.entry_at(index) for index in asked.get("logIndexes") or []]
        bodies = [canonical(proposed) for proposed in asked.get("entries") or []]
        found += [log.append(body, self._core.clock()) for body in bodies if log.holds(body)]
        return web.json_response([_named(entry) for entry in found])

    async def search(self, request: web.Request) -> web.Response:
        """UUIDs of the entries that speak of a SHA-256 or a public key or certificate."""
        asked = await request.json()
        wanted = [asked["hash"].removeprefix("sha256:").encode()] if asked.get("hash") else []
        wanted += [asked["publicKey"]["content"].encode()] if asked.get("publicKey") else []
        found = [e.uuid for e in self._core.log.entries() if any(text in e.body.content for text in wanted)]
        return web.json_response(found)

    async def head(self, _: web.Request) -> web.Response:
        log = self._core.log
        checkpoint = log.checkpoint()
        tree = checkpoint.partition(" - ")[2].partition("\n")[0]
        return web.json_response(
            {
                "inactiveShards": [],
                "rootHash": log.root.hex(),
                "signedTreeHead": checkpoint,
                "treeID": tree,
                "treeSize": len(log),
            }
        )

    async def key(self, _: web.Request) -> web.Response:
        return web.Response(text=self._core.log.key.public_pem, content_type="application/x-pem-file")


def _named(entry: Entry) -> dict[str, Any]:
    return {entry.uuid: entry.rekor}
