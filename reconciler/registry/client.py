"""What a registry holds, and writing to it: the OCI distribution API as questions with definite answers (rule 1)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from reconciler import net
from reconciler.errors import Denied, Malformed, RateLimited, RegistryError, Unreachable
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.reference import Repository, check_tag
from reconciler.registry import answers, media, parsing, referrers, tokens
from reconciler.registry.answers import Answer
from reconciler.registry.credentials import Credentials
from reconciler.registry.descriptor import Descriptor, Manifest
from reconciler.registry.flight import SingleFlight
from reconciler.registry.pages import Pages
from reconciler.registry.push import Granted, NotGranted, Pushed, Pusher
from reconciler.registry.read import described, manifest_of, manifest_path, where_of
from reconciler.registry.referrers import Referrers
from reconciler.registry.sink import FileSink
from reconciler.registry.wire import Call, Host, Timeouts, Wire

MAX_MANIFEST = 4 * 1024 * 1024  # what a registry should take at most (distribution-spec, pushing manifests)
_MAX_TAG_PAGE = 16 * 1024 * 1024
_MAX_TAGS = 500_000
_ABSENT = Absent()


class Registry:
    """All registries of a run. One per run, to be entered with `async with`.

    Every method names its repository and raises a RegistryError where there is no definite answer. `credentials` says
    as whom. `insecure` are hosts spoken to by plain http (loopback is, always); `allow_private` lets requests reach
    addresses of this machine and its network, `trusted` only those hosts. `realms` are token services that the
    operator names (auth.parse_realms). `share_tokens` are hosts that grant several repositories in one token.
    `requests` counts what was sent, by kind: head, manifest, blob, referrers, tags, token, put, upload.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        concurrency: int = 16,
        insecure: frozenset[str] = frozenset(),
        allow_private: bool = False,
        trusted: frozenset[str] = frozenset(),
        realms: Mapping[str, frozenset[str]] | None = None,
        share_tokens: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeouts: Timeouts | None = None,
        streams: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._credentials = credentials
        self._plain_http = insecure
        self._wire = Wire(
            transport
            or net.guarded_transport(
                allow_private=allow_private,
                trusted=trusted,
                plain_http=insecure | {host for host in trusted if self._is_plain(host)},
                connections=4 * concurrency,
                # a write is looked at once more before it is sent again (rule 7)
                resend=False,
            ),
            credentials,
            concurrency=concurrency,
            plain=self._is_plain,
            realms=realms or {},
            timeouts=timeouts or Timeouts(),
            clock=clock,
            sleep=sleep,
            share_tokens=share_tokens,
        )
        self._streams = asyncio.Semaphore(streams)
        self._has_api: dict[str, bool] = {}
        self._learning: SingleFlight[str, bool] = SingleFlight()
        self._pusher = Pusher(self._wire)

    def _is_plain(self, host: str) -> bool:
        return host in self._plain_http or net.is_loopback(httpx.URL(f"http://{host}").host)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._learning.close()
        await self._wire.close()

    @property
    def requests(self) -> Counter[str]:
        """How many requests were sent, by kind; attempts and redirects count each."""
        return self._wire.requests

    def secrets(self) -> frozenset[str]:
        """Every secret that no output may hold: credentials and the tokens had for them."""
        return self._credentials.secrets()

    def expect(self, repositories: Iterable[Repository]) -> None:
        """Says which repositories will be asked for, so that tokens can be shared (`share_tokens`)."""
        names: dict[str, list[str]] = {}
        for repository in repositories:
            names.setdefault(repository.registry, []).append(repository.name)
        for registry, found in names.items():
            self._wire.host(registry).auth.expect(found)

    # ---- reading

    async def head(self, repository: Repository, reference: str | Digest, *, push: bool = False) -> Descriptor | Absent:
        """What `reference` points to, by one HEAD; by a GET where a HEAD can't tell (no digest, or no reason).

        `push`: ask with the token that may push; a registry may deny the unknown to those who may only pull.
        """
        where = where_of(repository, reference)
        call = Call(
            "HEAD",
            manifest_path(repository, reference),
            repository.name,
            where,
            "head",
            accept=media.ACCEPT,
            push=push,
        )
        answer = await self._wire.ask(self._wire.host(repository.registry), call)
        if answer.status == 200:
            found = described(answer, reference)
            if found is not None:
                return found
        # neither a reason nor a code comes with a HEAD: 404 isn't absence yet, 403 may be a rate limit (rule 1)
        manifest = await self.manifest(repository, reference, push=push)
        return manifest if isinstance(manifest, Absent) else manifest.descriptor

    async def manifest(
        self, repository: Repository, reference: str | Digest, *, push: bool = False
    ) -> Manifest | Absent:
        """The manifest or index that `reference` points to, its digest checked over the bytes. At most 4 MiB."""
        where = where_of(repository, reference)
        host = self._wire.host(repository.registry)
        call = Call(
            "GET",
            manifest_path(repository, reference),
            repository.name,
            where,
            "manifest",
            cap=MAX_MANIFEST,
            accept=media.ACCEPT,
            push=push,
        )
        answer = await self._wire.ask(host, call)
        if answer.status == 200:
            return manifest_of(answer, reference, where)
        if answers.is_absence(answer, answers.MANIFEST_ABSENT):
            return _ABSENT
        raise answers.refusal(answer, where, host=host.name)

    async def blob(self, repository: Repository, digest: Digest, *, cap: int) -> bytes | Absent:
        """The bytes of a blob, checked; TooLarge where they are more than `cap`. Redirects get no credential."""
        answer = await self._blob(repository, digest, Call("GET", "", "", "", "blob", cap=cap))
        if isinstance(answer, Absent):
            return answer
        if not digest.matches(answer.body):
            raise Malformed("its bytes don't match its digest", where=where_of(repository, digest), todo="try again")
        return answer.body

    async def blob_to(self, repository: Repository, digest: Digest, path: Path, *, cap: int) -> Absent | None:
        """Streams a blob to the file `path`, which appears only when its bytes are checked; bounded how many at once.

        Raises RegistryError also where the file can't be written.
        """
        where = where_of(repository, digest)
        async with self._streams:
            try:
                with FileSink(path, digest) as sink:
                    answer = await self._blob(
                        repository, digest, Call("GET", "", "", "", "blob", cap=cap, sink=sink, long=True)
                    )
                    if isinstance(answer, Absent):
                        return answer
                    if not sink.keep():
                        raise Malformed("its bytes don't match its digest", where=where, todo="try again")
            except OSError as error:
                raise RegistryError(
                    f"{path} can't be written: {error.strerror or error}", where=where, todo="make room for it"
                ) from None
        return None

    async def _blob(self, repository: Repository, digest: Digest, call: Call) -> Answer | Absent:
        where = where_of(repository, digest)
        host = self._wire.host(repository.registry)
        call = replace(call, path=f"/v2/{repository.name}/blobs/{digest}", name=repository.name, where=where)
        answer = await self._wire.ask(host, call)
        if answer.status == 200:
            return answer
        if answers.is_absence(answer, answers.BLOB_ABSENT):
            return _ABSENT
        raise answers.refusal(answer, where, host=host.name)

    async def tags(self, repository: Repository) -> tuple[str, ...] | Absent:
        """All tags, page by page, in the registry's order; Absent where there is no such repository.

        A short page ends nothing, only a missing Link does (distribution-spec 1.1, listing tags; protocols 2.11).
        """
        where = f"{repository}: its tags"
        host = self._wire.host(repository.registry)
        path = f"/v2/{repository.name}/tags/list?n=1000"
        found: dict[str, None] = {}
        async for page in Pages(self._wire, host, repository, path, where, "tags", _MAX_TAG_PAGE):
            if page.status != 200:
                if answers.is_absence(page, answers.REPOSITORY_ABSENT):
                    return _ABSENT
                raise answers.refusal(page, where, host=host.name)
            value = parsing.load_object(page.body, where)
            for tag in parsing.items(value, "tags", where):
                try:
                    found[check_tag(tag) if isinstance(tag, str) else check_tag("")] = None
                except ValueError as error:
                    raise parsing.malformed(str(error), where) from None
            if len(found) > _MAX_TAGS:
                raise parsing.malformed(f"there are over {_MAX_TAGS} tags", where)
        return tuple(found)

    # ---- what is attached

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """All that is attached to `digest`: by the API, or the fallback tag, also where the API knows of nothing."""
        listed = await self._listed(repository, digest)
        if listed:
            return Referrers(listed, referrers.listing_digest(listed), from_api=True)
        from_api = listed is not None
        fallback = await self.manifest(repository, digest.fallback_tag)
        if isinstance(fallback, Absent):
            return Referrers((), None, from_api)
        where = where_of(repository, digest.fallback_tag)
        if fallback.media_type not in media.INDEXES:
            raise parsing.malformed("the fallback tag of its referrers is no index", where)
        return Referrers(referrers.read(fallback.data, where), fallback.digest, from_api, fallback.etag)

    async def head_referrers(
        self, repository: Repository, digest: Digest, *, expected: Digest | None = None
    ) -> Digest | Absent:
        """The `index` of `referrers`, by one request; Absent where nothing is attached.

        `expected` is what it was last: with it, a warm plan needn't learn what the host can do before it asks.
        """
        if expected is not None and not referrers.is_listing(expected) and repository.registry not in self._has_api:
            found = await self.head(repository, digest.fallback_tag)
            if isinstance(found, Descriptor) and found.digest == expected:
                return found.digest
        listed = await self._listed(repository, digest)
        if listed:
            return referrers.listing_digest(listed)
        # where nothing was there the last time, a GET answers either way; a HEAD's 404 would need one after it
        ask = self.manifest if expected is None else self.head
        there = await ask(repository, digest.fallback_tag)
        return there if isinstance(there, Absent) else there.digest

    async def _listed(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        """What the referrers API lists, None where the host doesn't have it (or not this repository)."""
        host = self._wire.host(repository.registry)
        where = f"{where_of(repository, digest)}: its referrers"
        path = f"/v2/{repository.name}/referrers/{digest}"
        first: Answer | None = None
        if host.name not in self._has_api:
            # the first one asks for all: whoever asks meanwhile waits for that answer, then asks its own question
            first = await self._learn(host, repository, path, where)
        if not self._has_api.get(host.name, True):
            return None
        found: dict[Digest, Descriptor] = {}
        async for page in Pages(self._wire, host, repository, path, where, "referrers", MAX_MANIFEST, first):
            if page.status != 200:
                if answers.is_absence(page, answers.REPOSITORY_ABSENT):
                    return None
                raise answers.refusal(page, where, host=host.name)
            if media.essence(page.headers.get("content-type", "")) != media.OCI_INDEX:
                raise parsing.malformed("its list of referrers is no image index", where)
            found.update((d.digest, d) for d in referrers.read(page.body, where))
            self._has_api[host.name] = True
        return tuple(found.values())

    async def _learn(self, host: Host, repository: Repository, path: str, where: str) -> Answer | None:
        """Finds out whether the host has the API; its answer, if it was ours to ask and can be used."""
        mine: list[Answer] = []
        started: list[bool] = []

        async def ask() -> bool:
            started.append(True)
            call = Call("GET", path, repository.name, where, "referrers", cap=MAX_MANIFEST, accept=media.OCI_INDEX)
            answer = await self._wire.ask(host, call)
            verdict = referrers.has_no_api(answer)
            if verdict is None:
                # without a code, it may have been a proxy's slip; and believing it would make evidence disappear
                answer = await self._wire.ask(host, call)
                verdict = referrers.has_no_api(answer) is not False
            if verdict:
                self._has_api[host.name] = False
            mine.append(answer)
            return True

        try:
            await self._learning.do(host.name, ask)
        except RegistryError as error:
            if started or isinstance(error, Unreachable | RateLimited):
                raise type(error)(error.what, where=where, todo=error.todo, status=error.status) from None
            # another image's answer says nothing of this one: it is asked for by itself
            return None
        return mine[0] if mine else None

    # ---- writing

    async def put_manifest(
        self,
        repository: Repository,
        reference: str | Digest,
        data: bytes,
        media_type: str,
        *,
        if_match: str = "",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Digest:
        """Writes a manifest under a tag or its digest; see `Pusher.put_manifest`."""
        pushed = await self._pusher.put_manifest(
            repository, reference, data, media_type, if_match=if_match, before=before
        )
        return pushed.digest

    async def put_referrer(self, repository: Repository, data: bytes, media_type: str) -> Pushed:
        """Writes a manifest with a `subject` by its digest, and says whether the registry now lists it by itself."""
        return await self._pusher.put_manifest(repository, Digest.of(data), data, media_type)

    async def put_blob(self, repository: Repository, data: bytes) -> Descriptor:
        """Uploads a blob unless it is there already."""
        digest = Digest.of(data)
        if not await self.has_blob(repository, digest):
            await self._pusher.upload(repository, digest, data)
        return Descriptor("application/octet-stream", digest, len(data))

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """Whether the blob is there; where it isn't known for sure, it is not (uploading it again is harmless)."""
        return await self._pusher.has_blob(repository, digest)

    async def can_push(self, repository: Repository) -> Granted | NotGranted:
        """Whether we may write there, found out without writing.

        By what the token grants, where that can be read, else by an upload that is started and cancelled.
        """
        host = self._wire.host(repository.registry)
        try:
            if host.auth.manner is tokens.Manner.BEARER:
                header = await host.auth.header(repository.name, push=True)
                actions = tokens.granted(header, repository.name)
                if actions is not None:
                    what = ", ".join(sorted(actions)) or "nothing"
                    refused = NotGranted(f"{repository}: the token that {host.name} gives us allows {what}")
                    return Granted() if "push" in actions else refused
            await self._pusher.try_upload(repository)
        except Denied as error:
            return NotGranted(f"{error.reason}; {error.todo}" if error.todo else error.reason)
        return Granted()
