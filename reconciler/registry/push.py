"""Writing to a registry: manifests and blobs, and whether we may (distribution-spec, push)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from reconciler.errors import Malformed, RegistryError
from reconciler.model.digest import Digest
from reconciler.model.reference import Repository, check_tag
from reconciler.registry import answers, auth, media
from reconciler.registry.answers import Answer
from reconciler.registry.wire import Call, Host, Wire


@dataclass(frozen=True, slots=True)
class Granted:
    """We may push there."""


@dataclass(frozen=True, slots=True)
class NotGranted:
    """We may not, and who says so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that is there now. `subject`: the registry lists it as a referrer of that by itself (OCI-Subject)."""

    digest: Digest
    subject: Digest | None = None


class Pusher:
    """The writing half of a registry's client."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def put_manifest(
        self,
        repository: Repository,
        reference: str | Digest,
        data: bytes,
        media_type: str,
        *,
        if_match: str = "",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Pushed:
        """Writes a manifest under a tag or its digest, and checks the digest that the registry says it has.

        `before` is awaited right before each attempt, to look once more (rule 7). With `if_match` (an ETag) raises
        Conflict where someone wrote meanwhile; after a lost answer to a write of ours, that someone may be us.
        """
        digest = Digest.of(data)
        separator = "@" if isinstance(reference, Digest) else ":"
        where = f"{repository}{separator}{reference}"
        if isinstance(reference, Digest):
            if not reference.matches(data):
                raise Malformed("what is to be written there has another digest", where=where)
            digest = reference
            tail = str(reference)
        else:
            tail = quote(check_tag(reference), safe="")
        if media_type not in media.MANIFESTS:
            raise Malformed(f"{media_type[:80]} is no type of a manifest", where=where)
        call = Call(
            "PUT",
            f"/v2/{repository.name}/manifests/{tail}",
            repository.name,
            where,
            "put",
            push=True,
            content_type=media_type,
            body=data,
            if_match=if_match,
            before=before,
        )
        answer = await self._ask(repository, call, 200, 201, 202)
        stated = answer.headers.get("docker-content-digest", "").strip()
        if answer.status != 201 and not stated:
            # distribution-spec, pushing manifests: 201; a page of some proxy's says 200 to anything
            raise Malformed(
                f"{repository.registry} answers {answer.status}, but doesn't say that it has it",
                where=where,
                todo="check the registry's name in mirror.yaml, and what is on the way to it",
            )
        if stated and stated != str(digest):
            raise Malformed(f"the registry says that it has {stated[:80]} there now", where=where)
        return Pushed(digest, _subject(answer))

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """Whether a HEAD finds it."""
        host = self._wire.host(repository.registry)
        where = f"{repository}@{digest}"
        path = f"/v2/{repository.name}/blobs/{digest}"
        answer = await self._wire.ask(host, Call("HEAD", path, repository.name, where, "blob", push=True))
        if answer.status in (401, 403):
            raise answers.refusal(answer, where, host=host.name)
        return answer.status == 200

    async def upload(self, repository: Repository, digest: Digest, data: bytes) -> None:
        """Uploads a blob in one piece (distribution-spec, POST then PUT)."""
        where = f"{repository}@{digest}"
        host = self._wire.host(repository.registry)
        path = self._location(host, await self._start(repository, where), where)
        path += ("&" if "?" in path else "?") + "digest=" + quote(str(digest), safe="")
        call = Call(
            "PUT",
            path,
            repository.name,
            where,
            "upload",
            push=True,
            content_type="application/octet-stream",
            body=data,
            long=True,
        )
        await self._ask(repository, call, 201, 204)

    async def try_upload(self, repository: Repository) -> None:
        """Starts an upload and cancels it; Denied where we may not."""
        where = str(repository)
        host = self._wire.host(repository.registry)
        started = await self._start(repository, where)
        try:
            path = self._location(host, started, where)
            await self._wire.ask(host, Call("DELETE", path, repository.name, where, "upload", push=True))
        except RegistryError:
            # not every registry can cancel; it drops what is never finished, and it did say that we may
            return

    async def _start(self, repository: Repository, where: str) -> Answer:
        path = f"/v2/{repository.name}/blobs/uploads/"
        return await self._ask(repository, Call("POST", path, repository.name, where, "upload", push=True), 202)

    def _location(self, host: Host, answer: Answer, where: str) -> str:
        """The path of a started upload. One on another host is refused: what we write goes to the registry itself."""
        try:
            target = httpx.URL(host.base).join(answer.headers["location"])
        except (KeyError, ValueError, httpx.InvalidURL):
            raise Malformed("it starts an upload without saying where", where=where) from None
        if auth.authority(target) != host.authority or not host.base.startswith(f"{target.scheme}://"):
            raise Malformed("it wants the upload on another host", where=where)
        return target.raw_path.decode("ascii")

    async def _ask(self, repository: Repository, call: Call, *expected: int) -> Answer:
        host = self._wire.host(repository.registry)
        answer = await self._wire.ask(host, call)
        if answer.status not in expected:
            raise answers.refusal(answer, call.where, host=host.name)
        return answer


def _subject(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("oci-subject", "").strip())
    except ValueError:
        return None
