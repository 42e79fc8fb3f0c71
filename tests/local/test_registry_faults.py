"""Faults of the local registry: each does what its name says, to the requests it should, and to no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.local.registry import Fault, LocalRegistry, on
from reconciler.local.registry.actions import (
    GIB,
    Action,
    CutBody,
    Huge,
    LinkToSelf,
    Maze,
    Redirect,
    Refuse,
    Reply,
    Reset,
    Stale,
    Stall,
    Truncate,
    WrongBytes,
    WrongDigest,
    WrongType,
    reply_html,
    reply_rate_limited,
)
from reconciler.local.registry.matrix import matrix
from tests.support import images
from tests.support.images import Built
from tests.support.nouns import AMD64, ARM64
from tests.support.registries import Clock, message, served

HELLO = "mirror/hello"
TAG = f"/v2/{HELLO}/manifests/1"


@pytest.fixture
def clock() -> Clock:
    """The registry's clock."""
    return Clock()


@pytest.fixture
def both(tmp_path: Path, clock: Clock) -> Iterator[tuple[LocalRegistry, httpx.Client]]:
    """A plain registry and a client."""
    with served(tmp_path, clock=clock) as both:
        yield both


@pytest.fixture
def whole(both: tuple[LocalRegistry, httpx.Client]) -> Built:
    """What the tag 1 names."""
    return images.built(both[0].store, HELLO, [AMD64, ARM64], tag="1")


def strike(registry: LocalRegistry, action: Action, **when: object) -> Fault:
    """Put a fault in force."""
    return registry.faults.add(Fault(action, **when))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Reset(), httpx.ReadError),
        (Reset(polite=True), httpx.RemoteProtocolError),
        (CutBody(), httpx.ReadError),
        (CutBody(after=1, polite=True), httpx.RemoteProtocolError),
    ],
    ids=str,
)
def test_connections_break_once(
    both: tuple[LocalRegistry, httpx.Client], whole: Built, action: Action, error: type[Exception]
) -> None:
    """A broken connection is what the client sees, once; the request is logged, and the next one is answered."""
    registry, client = both
    fault = strike(registry, action)
    with pytest.raises(error):
        client.get(TAG)
    assert client.get(TAG).content == whole.data
    first, second = registry.requests
    assert (first.fault, second.fault, fault.struck) == (type(action).__name__, "", 1)
    assert first.status == (0 if isinstance(action, Reset) else 200)


def test_half_a_body_arrives_before_the_cut(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """A body that is cut has its headers and its first half."""
    registry, client = both
    strike(registry, CutBody(polite=True))
    with client.stream("GET", TAG) as answer:
        assert int(answer.headers["Content-Length"]) == whole.size
        pieces: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            pieces.extend(answer.iter_raw())
    assert b"".join(pieces) == whole.data[: whole.size // 2]


def test_connections_are_refused_until_the_fault_is_released(
    both: tuple[LocalRegistry, httpx.Client], whole: Built
) -> None:
    """While the fault holds nobody can connect, kept-alive connections included; after it the port is the same."""
    registry, client = both
    fault = strike(registry, Refuse(), nth=1)
    assert client.get(TAG).status_code == 200
    with pytest.raises(httpx.ReadError):
        client.get(TAG)
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            client.get(TAG)
    registry.faults.release(fault)
    assert client.get(TAG).content == whole.data
    assert len(registry.requests) == 3


@pytest.mark.parametrize("after", [None, 10])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stall_lasts_until_it_is_released(
    both: tuple[LocalRegistry, httpx.Client], whole: Built, after: int | None, method: str
) -> None:
    """An answer stands still, before the headers or in the body, until the test lets it go on; others pass by it."""
    registry, client = both
    stall = Stall(after=after)
    fault = strike(registry, stall)
    answers: list[httpx.Response] = []
    waiting = threading.Thread(
        target=lambda: answers.append(httpx.request(method, f"{registry.url}{TAG}", trust_env=False))
    )
    waiting.start()
    assert stall.gate.arrived(10)
    assert client.get(TAG).status_code == 200
    assert answers == []
    assert registry.requests.in_flight == 1
    registry.faults.release(fault)
    waiting.join(10)
    assert answers[0].content == (whole.data if method == "GET" else b"")


def test_a_stall_may_end_by_itself_or_with_its_client(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """A stall of so many seconds goes on; a client that gives up leaves nothing running behind."""
    registry, client = both
    strike(registry, Stall(seconds=0.001))
    assert client.get(TAG).content == whole.data
    endless = Stall()
    strike(registry, endless)
    with pytest.raises(httpx.ReadTimeout):
        client.get(TAG, timeout=0.05)
    while registry.requests.in_flight:
        client.get("/v2/")
    assert client.get(TAG).status_code == 200


def test_a_stalled_write_has_no_effect_where_the_test_says_so(
    both: tuple[LocalRegistry, httpx.Client], whole: Built
) -> None:
    """With `effect` off a PUT waits for the end of the stall; a lost answer with `effect` on was a PUT all the same."""
    registry, client = both
    headers = {"Content-Type": images.OCI_INDEX}
    strike(registry, Stall(effect=False), match=on(method="PUT"))
    with pytest.raises(httpx.ReadTimeout):
        client.put(f"/v2/{HELLO}/manifests/2", content=whole.data, headers=headers, timeout=0.05)
    assert registry.store.resolve(HELLO, "2") is None
    for tag, effect in (("3", False), ("4", True)):
        strike(registry, Reset(effect=effect), match=on(method="PUT", reference=tag))
        with pytest.raises(httpx.TransportError):
            client.put(f"/v2/{HELLO}/manifests/{tag}", content=whole.data, headers=headers)
    strike(registry, Reply(503, effect=True), match=on(method="PUT"))
    assert client.put(f"/v2/{HELLO}/manifests/5", content=whole.data, headers=headers).status_code == 503
    assert registry.store.tags(HELLO) == {"1": whole.digest, "4": whole.digest, "5": whole.digest}


def test_answers_can_lie(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """Truncated JSON, wrong digest, wrong bytes, wrong type, HTML: one lie each, all else as it was."""
    registry, client = both
    true = client.get(TAG)

    def lies(action: Action) -> httpx.Response:
        strike(registry, action)
        return client.get(TAG)

    cut = lies(Truncate())
    assert (cut.status_code, cut.content) == (200, whole.data[: whole.size // 2])
    assert cut.headers["Docker-Content-Digest"] == str(whole.digest)
    named = lies(WrongDigest())
    assert (named.content, named.headers["Docker-Content-Digest"]) == (whole.data, "sha256:" + "0" * 64)
    bent = lies(WrongBytes())
    assert len(bent.content) == whole.size
    assert sum(a != b for a, b in zip(bent.content, whole.data, strict=True)) == 1
    assert bent.headers["Docker-Content-Digest"] == str(whole.digest)
    typed = lies(WrongType("text/plain"))
    assert (typed.content, typed.headers["Content-Type"]) == (whole.data, "text/plain")
    page = lies(reply_html())
    assert page.headers["Content-Type"].startswith("text/html")
    assert message(lies(reply_rate_limited("1.5s"))) == "retry-after: 1.5s, allowed: 44000/minute"
    assert client.get(TAG).content == true.content


def test_blobs_can_lie_too(both: tuple[LocalRegistry, httpx.Client]) -> None:
    """Bodies that are sent from files can be cut short, bent and truncated as well."""
    registry, client = both
    data = bytes(range(256)) * 8192
    digest = registry.store.put_blob(HELLO, data)
    path = f"/v2/{HELLO}/blobs/{digest}"
    strike(registry, WrongBytes())
    bent = client.get(path).content
    assert (len(bent), bent == data) == (len(data), False)
    strike(registry, Truncate())
    assert client.get(path).content == data[: len(data) // 2]
    strike(registry, CutBody(after=300_000, polite=True))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(path)
    assert client.get(path).content == data


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_is_made_while_it_is_sent(
    both: tuple[LocalRegistry, httpx.Client], whole: Built, declared: bool
) -> None:
    """A gibibyte is announced or streamed piece by piece; the client may stop when it has had enough."""
    registry, client = both
    strike(registry, Huge(declared=declared))
    with client.stream("GET", TAG) as answer:
        assert answer.headers.get("Content-Length") == (str(GIB) if declared else None)
        came = 0
        for piece in answer.iter_raw():
            came += len(piece)
            if came > 8 * 1024 * 1024:
                break
    assert client.get(TAG).content == whole.data


def test_redirects_lead_away_or_nowhere(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """One redirect to wherever the test says, or a maze of redirects without an end."""
    registry, client = both
    strike(registry, Redirect("http://other.example/x", status=302))
    away = client.get(TAG)
    assert (away.status_code, away.headers["Location"]) == (302, "http://other.example/x")
    strike(registry, Maze())
    with pytest.raises(httpx.TooManyRedirects):
        client.get(TAG, follow_redirects=True)
    assert registry.requests.count(kind="maze") == client.max_redirects


def test_a_list_may_link_to_itself(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """The next page of a list is the same page."""
    registry, client = both
    strike(registry, LinkToSelf())
    answer = client.get(f"/v2/{HELLO}/tags/list?n=1")
    assert answer.links["next"]["url"] == f"/v2/{HELLO}/tags/list?n=1"


def test_a_tag_may_read_stale(both: tuple[LocalRegistry, httpx.Client], whole: Built, clock: Clock) -> None:
    """From the struck read on, the tag reads as before its last write for so many seconds; other tags don't."""
    registry, client = both
    newer = images.built(registry.store, HELLO, [AMD64], text="newer")
    registry.store.tag(HELLO, "1", newer.digest)
    registry.store.tag(HELLO, "2", newer.digest)
    strike(registry, Stale(seconds=3), match=on(kind="manifest"), times=None)

    def reads(tag: str) -> str | None:
        answer = client.head(f"/v2/{HELLO}/manifests/{tag}")
        return str(answer.headers["Docker-Content-Digest"]) if answer.status_code == 200 else None

    assert (reads("1"), reads("2")) == (str(whole.digest), None)
    registry.faults.clear()
    assert reads("1") == str(whole.digest)
    clock.turn(3)
    assert (reads("1"), reads("2")) == (str(newer.digest), str(newer.digest))


def test_faults_strike_by_number_and_by_match(both: tuple[LocalRegistry, httpx.Client], whole: Built) -> None:
    """`nth` counts the requests that match from when the fault was added, `times` says how many it strikes."""
    registry, client = both
    client.get("/v2/")
    third = strike(registry, Reply(500), nth=2)
    heads = strike(registry, Reply(502), match=on(kind="manifest", method="HEAD", repository=HELLO), nth=1, times=2)
    agent = strike(registry, Reply(503), match=on(agent="crane"), times=None)
    statuses = [client.request(method, TAG).status_code for method in ("HEAD", "GET", "GET", "HEAD", "HEAD", "HEAD")]
    assert statuses == [200, 200, 500, 502, 502, 200]
    assert [client.get(TAG, headers={"User-Agent": "crane/0.20"}).status_code for _ in range(3)] == [503] * 3
    assert (third.struck, heads.struck, heads.met, agent.struck) == (1, 2, 4, 3)
    registry.faults.clear()
    assert client.get(TAG, headers={"User-Agent": "crane/0.20"}).status_code == 200


def test_every_fault_of_the_matrix_is_noticed_and_gone_after_it(
    both: tuple[LocalRegistry, httpx.Client], whole: Built, clock: Clock
) -> None:
    """Each fault of the matrix changes what a GET of a tag gives; none outlasts `clear`, nor the clock."""
    registry, client = both
    true = client.get(TAG)
    unchanged = []
    for name, action in matrix("http://other.example").items():
        # a tag that was moved, so that a stale read differs
        registry.store.tag(HELLO, "1", images.built(registry.store, HELLO, [AMD64], text="old").digest)
        registry.store.tag(HELLO, "1", whole.digest)
        strike(registry, action())
        try:
            with client.stream("GET", TAG, timeout=0.1) as answer:
                body = b"".join(piece for piece, _ in zip(answer.iter_raw(), range(100), strict=False))
            ignored = {"Date", "Content-Length"}
            same = [(k, v) for k, v in answer.headers.items() if k.title() not in ignored]
            wanted = [(k, v) for k, v in true.headers.items() if k.title() not in ignored]
            if (answer.status_code, body, same) == (200, true.content, wanted):
                unchanged.append(name)
        except httpx.HTTPError:
            pass
        registry.faults.clear()
        clock.turn(60)
        assert client.get(TAG).content == true.content
    assert unchanged == []
