"""Whatever strangers send, only our own errors come out, at once, and nothing of it steers a terminal."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.apply import elsewhere
from reconciler.apply.buildx import _pushed, parse_inspect
from reconciler.apply.referrer import predicate_type
from reconciler.apply.results import Failed, Outcome
from reconciler.errors import PlanMismatch, ReconcileError, RegistryError, UpstreamError
from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.model.digest import Digest
from reconciler.model.reference import Repository
from reconciler.model.upstream import Filter, GitHubReleases, GitLabTags, GitTags
from reconciler.plan import saved
from reconciler.plan.plan import Plan
from reconciler.record import parse
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.registry.wire import Timeouts
from reconciler.report import markdown, outcome, text
from reconciler.upstream import Upstreams
from reconciler.upstream.checksums import find
from tests.apply.test_elsewhere import result
from tests.faults.hostile import TEXTS, changed, choices, dumped, raw, values
from tests.faults.worlds import sleep_by
from tests.report.plans import drifted, every_kind, held, hostile
from tests.support.nouns import wanted
from tests.support.registries import Clock

QUICKLY = settings(suppress_health_check=list(HealthCheck))
FEWER = settings(QUICKLY, max_examples=QUICKLY.max_examples // 2)
PLANS = [json.loads(saved.dump(plan())) for plan in (every_kind, held, drifted)]
RESULT = json.loads(elsewhere.dump(result(wanted())))


def harmless(shown: str) -> None:
    """Nothing in it steers a terminal, hides text or turns it round; lines end in newlines alone."""
    for character in shown:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cs"), repr(character)
        assert character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", repr(character)


# files


@QUICKLY
@given(st.sampled_from(PLANS), choices, values)
def test_a_saved_plan_with_anything_in_it(document: Any, choice: int, value: Any) -> None:
    """It is refused, or it is a plan like any other."""
    try:
        plan = saved.load(dumped(changed(document, choice, value)), "plan.json")
    except PlanMismatch:
        return
    else:
        harmless(text.render(plan, colour=False))
        markdown.render(plan)
        saved.dump(plan)


@QUICKLY
@given(raw)
def test_any_bytes_for_a_file(data: bytes) -> None:
    """A saved plan, a record, a result of a build elsewhere, a bundle: none of them."""
    readers: list[Callable[[bytes], object]] = [
        lambda data: saved.load(data, "here"),
        lambda data: parse(data, "here"),
        lambda data: elsewhere.load(data, "here"),
        predicate_type,
    ]
    for read in readers:
        with pytest.raises(ReconcileError) as caught:
            read(data)
        assert len(str(caught.value)) < 3000


@QUICKLY
@given(choices, values)
def test_a_result_with_anything_in_it(choice: int, value: Any) -> None:
    """It is refused, or nothing was changed."""
    document = changed(RESULT, choice, value)
    data = (
        json.dumps(document, indent=1, sort_keys=all(isinstance(key, str) for key in document)).encode() + b"\n"
        if isinstance(document, dict)
        else dumped(document)
    )
    try:
        one = elsewhere.load(data, "here")
    except ReconcileError:
        return
    assert elsewhere.dump(one) == data


@QUICKLY
@given(raw)
def test_whatever_buildx_leaves(data: bytes) -> None:
    """Metadata without a digest, a builder that says nothing of itself."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metadata")
        path.write_bytes(data)
        with pytest.raises(ReconcileError):
            _pushed(path, "build")
    parse_inspect(data.decode(errors="replace"))
    find(data.decode(errors="replace"), "name.tar.gz")


# a registry

HEADERS = [
    "link",
    "content-type",
    "docker-content-digest",
    "www-authenticate",
    "retry-after",
    "location",
    "etag",
    "content-length",
]
HEADER = st.one_of(
    st.sampled_from(
        [
            '</v2/mirror/hello/tags/list?last=x>; rel="next"',
            "<https://evil.example/v2/>; rel=next",
            "<" * 5000,
            "application/vnd.oci.image.index.v1+json",
            "Bearer realm=" + '"' * 3000,
            'Bearer realm="http://127.0.0.1:1/token",service="x"',
            'Basic realm="\\',
            "99999999999999999999999",
            "-1",
            "1e999",
            "sha256:" + "f" * 64,
            "/v2/" + "../" * 50,
            "\x80\xff",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
)
STATUS = st.sampled_from([200, 200, 200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 412, 429, 500, 503, 999])
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:" + "a" * 64,
            "size": 7,
            "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
            "annotations": {"a": "b"},
        }
    ],
}
LISTED = st.one_of(
    raw,
    st.lists(st.sampled_from(TEXTS) | st.text(max_size=5), max_size=4).map(
        lambda tags: dumped({"name": "x", "tags": tags})
    ),
    st.builds(lambda choice, value: dumped(changed(INDEX, choice, value)), choices, values),
)
HELLO = Repository.parse("registry.example/mirror/hello")


@FEWER
@given(STATUS, st.dictionaries(st.sampled_from(HEADERS), HEADER, max_size=4), LISTED)
def test_any_answer_of_a_registry(status: int, headers: dict[str, str], body: bytes) -> None:
    """Every question ends in an answer of its type or in our error that names the repository; bounded in number."""
    sent = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        whole = {"content-type": "application/vnd.oci.image.index.v1+json", **headers}
        whole.pop("content-length", None) if len(body) else None
        return httpx.Response(
            status, headers=[(k.encode(), v.encode("latin-1")) for k, v in whole.items()], content=body
        )

    async def ask() -> None:
        clock, limits = Clock(), Timeouts(attempts=2, dial_attempts=1)
        async with Registry(
            Credentials(), transport=httpx.MockTransport(answer), timeouts=limits, sleep=sleep_by(clock), clock=clock
        ) as registry:
            digest = Digest.of(b"x")
            questions: list[Awaitable[object]] = [
                registry.head(HELLO, "1.0.0"),
                registry.manifest(HELLO, "1.0.0"),
                registry.manifest(HELLO, digest),
                registry.tags(HELLO),
                registry.referrers(HELLO, digest),
                registry.head_referrers(HELLO, digest),
                registry.blob(HELLO, digest, cap=100),
                registry.put_manifest(HELLO, "1.0.0", b"{}", "application/vnd.oci.image.index.v1+json"),
                registry.put_blob(HELLO, b"data"),
                registry.can_push(HELLO),
            ]
            for question in questions:
                (ended,) = await asyncio.gather(question, return_exceptions=True)
                if isinstance(ended, BaseException):
                    assert isinstance(ended, RegistryError), repr(ended)
                    assert "registry.example" in str(ended)
                    harmless(str(ended))

    asyncio.run(ask())
    assert sent < 400


# an upstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalUpstream]:
    """One for all examples."""
    with LocalUpstream(tmp_path_factory.mktemp("upstream")) as running:
        running.repository("acme/hello").release("v1.0.0", {"f": "x"})
        yield running


RELEASES = [
    {
        "tag_name": "v1.0.0",
        "draft": False,
        "prerelease": False,
        "published_at": "2026-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
        "target_commitish": "main",
        "name": "1.0.0",
    }
]
TAGS = [{"name": "v1.0.0", "commit": {"id": "a" * 40, "sha": "a" * 40, "committed_date": "2026-01-01T00:00:00Z"}}]
JSON = st.one_of(
    raw,
    st.builds(
        lambda document, choice, value: dumped(changed(document, choice, value)),
        st.sampled_from([RELEASES, TAGS]),
        choices,
        values,
    ),
)


@FEWER
@given(body=JSON, link=HEADER, kind=st.sampled_from(["github", "gitlab", "git"]))
def test_any_answer_of_an_upstream(upstream: LocalUpstream, body: bytes, link: str, kind: str) -> None:
    """Releases of GitHub, tags of GitLab, refs of git: releases come out, or our error."""

    async def ask() -> None:
        sources: dict[str, GitHubReleases | GitLabTags | GitTags] = {
            "github": GitHubReleases("acme/hello"),
            "gitlab": GitLabTags(upstream.host, "acme/hello"),
            "git": GitTags(upstream.git_url("acme/hello")),
        }
        async with Upstreams.open(upstream.env, allow_private=True) as run:
            try:
                found = await run.releases(sources[kind], Filter("v{version}"), enough=3)
            except UpstreamError as error:
                found = ()
                harmless(str(error))
            for release in found:
                harmless(release.tag + str(release.version) + release.commit + release.date)

    said = {"link": link} if link.isascii() and link.isprintable() else {}
    upstream._faults.clear()
    upstream.fail("acme", Reply(200, body, {"content-type": "application/json", **said}), times=3)
    asyncio.run(ask())


# what is printed


@QUICKLY
@given(st.sampled_from(TEXTS) | st.text(max_size=40))
def test_nothing_that_is_printed_steers_a_terminal(said: str) -> None:
    """Whatever a reason says, in a plan or in the report of an apply."""
    plan = hostile()
    spoken = Plan(tuple(_saying(change, said) for change in plan.changes), plan.held, plan.drift)
    harmless(text.render(spoken, colour=False))
    harmless(outcome.text(spoken, Outcome(tuple(Failed(change, said) for change in spoken.changes), notes=(said,))))


def _saying(change: Any, said: str) -> Any:
    from dataclasses import replace

    return replace(change, reason=said)
