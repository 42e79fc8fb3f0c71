"""Rule 1 on a socket: every fault that a request can meet, at every kind of question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import Denied, RateLimited, RegistryError
from reconciler.local.registry import Auth, Fault, LocalRegistry, Manners, User, on
from reconciler.local.registry import Referrers as Api
from reconciler.local.registry.matrix import matrix
from reconciler.model.digest import Digest
from reconciler.model.observed import Absent
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.registry.client import Registry
from reconciler.registry.referrers import listing_digest
from tests.registry.support import QUICK, Time, client, repository
from tests.support.images import Built, attach, built

# a registry that reads a tag as it was before it was written is wrong, but definite: the record tells (rule 1)
FAULTS = [name for name in matrix("http://localhost:1") if name != "stale read"]
ONCE = replace(QUICK, attempts=1, dial_attempts=1)
# a stall costs milliseconds; a busy machine may be slower than that, which is then a stall of its own
STALLED = replace(ONCE, read=0.06, answer=0.06, blob=0.06)
# what no client can see through: a HEAD has no bytes to hold against its headers, and lists have no digest
LIES = {
    ("head of a tag", "wrong digest"),
    ("head of a tag", "truncated JSON"),
    ("head of a tag", "a declared body of 1 GiB"),
    ("head of a digest", "truncated JSON"),
    ("head of a digest", "a declared body of 1 GiB"),
    ("head of referrers", "wrong digest"),
    ("tags", "wrong bytes"),
    ("referrers", "wrong bytes"),
    ("head of referrers", "wrong bytes"),
}
Question = Callable[[Registry, Repository, Built], Awaitable[object]]

QUESTIONS: dict[str, Question] = {
    "head of a tag": lambda r, at, _: r.head(at, "1.0.0"),
    "head of a digest": lambda r, at, whole: r.head(at, whole.digest),
    "manifest of a tag": lambda r, at, _: r.manifest(at, "1.0.0"),
    "manifest of a digest": lambda r, at, whole: r.manifest(at, whole.digest),
    "blob": lambda r, at, _: r.blob(at, Digest.of(b"a bundle"), cap=100),
    "tags": lambda r, at, _: r.tags(at),
    "referrers": lambda r, at, whole: r.referrers(at, whole.digest),
    "head of referrers": lambda r, at, whole: r.head_referrers(at, whole.digest),
}


def stock(registry: LocalRegistry) -> Built:
    whole = built(registry.store, "mirror/hello", [Platform.parse("linux/amd64")], tag="1.0.0")
    attach(registry.store, "mirror/hello", whole, b"a bundle")
    return whole


def nothing(found: object) -> bool:
    """Whether an answer says that something isn't there."""
    return isinstance(found, Absent) or getattr(found, "index", ...) is None or found == ()


def expected(outcome: object, truth: object, registry: LocalRegistry) -> bool:
    """Whether a question that met a fault got the truth, or an error that names host and image and what to do."""
    if isinstance(outcome, RegistryError):
        return f"{registry.host}/mirror/hello" in str(outcome) and bool(outcome.todo)
    return outcome == truth


async def outcome_of(answer: Awaitable[object]) -> object:
    """What it gives, or the error that it ends in."""
    try:
        return await answer
    except RegistryError as error:
        return error


@pytest.mark.parametrize(
    "api", [api if api is Api.UNKNOWN else pytest.param(api, marks=pytest.mark.long) for api in Api]
)
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_makes_anything_absent(tmp_path: Path, fault: str, api: Api) -> None:
    """Each fault, at each request of each question, with and without a referrers API: the truth or an error, at once.

    A minute after the fault is gone, the same client gets the truth.
    """
    manners = Manners(referrers=api, redirects=True)
    auth = Auth(users=(User("me", "secret"),))
    # the other kinds of referrers differ in the answers about referrers alone
    questions = [q for q in QUESTIONS if api in (Api.API, Api.UNKNOWN) or "referrers" in q]
    with LocalRegistry(tmp_path, manners=manners, auth=auth) as registry:
        whole, at = stock(registry), repository(registry)
        for question in questions:
            ask = QUESTIONS[question]
            async with client(registry, user="me", password="secret") as asked:
                truth = await ask(asked, at, whole)
                requests = asked.requests.total()
            assert not nothing(truth), question
            for number in range(requests):
                found, later = await struck(registry, fault, number, ask, whole)
                if (question, fault) in LIES:
                    assert not nothing(found), (question, number, found)
                else:
                    assert expected(found, truth, registry), (question, number, found)
                assert later == truth, (question, number)


async def struck(
    registry: LocalRegistry, fault: str, number: int, ask: Question, whole: Built
) -> tuple[object, object]:
    """What a question gets whose request of that number meets the fault, and what the same client gets a minute later.

    Asked anew where the machine was so busy that an earlier request ran out of time instead.
    """
    stalls = fault.startswith("stall")
    for _ in range(20 if stalls else 1):
        strike = registry.faults.add(Fault(matrix(registry.storage_url)[fault](), nth=number))
        time = Time()
        timeouts = STALLED if stalls else ONCE
        async with client(registry, time=time, user="me", password="secret", timeouts=timeouts) as asked:
            found = await outcome_of(ask(asked, repository(registry), whole))
            registry.faults.clear()
            time.now += 61
            later = await outcome_of(ask(asked, repository(registry), whole))
        if strike.struck == 1 and not (stalls and isinstance(later, RegistryError)):
            return found, later
    raise AssertionError(f"request {number} was never struck by {fault}, or it never passed")


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_always_fails_is_an_error_of_its_kind(tmp_path: Path, question: str) -> None:
    """A fault that stays is told as what it is, whichever question meets it."""
    with LocalRegistry(tmp_path) as registry:
        whole = stock(registry)
        for fault, kind in (("403", Denied), ("429 without a hint", RateLimited), ("403 rate limit", RateLimited)):
            registry.faults.add(Fault(matrix("http://localhost:1")[fault](), times=None))
            async with client(registry) as asked:
                with pytest.raises(kind):
                    await QUESTIONS[question](asked, repository(registry), whole)
            registry.faults.clear()


async def test_one_retry_gets_over_what_passes(tmp_path: Path) -> None:
    """Refused, reset, cut, stalled, 429 in every form and 5xx, at any request: nobody sees anything of it."""
    passing = [
        name for name in FAULTS if name[0] == "5" or name.startswith(("429", "reset", "closed", "stall", "403 r"))
    ]
    assert len(passing) > 12
    patient = replace(STALLED, attempts=50, patience=10_000.0)
    with LocalRegistry(tmp_path, manners=Manners(referrers=Api.API)) as registry:
        whole = stock(registry)
        at = repository(registry)
        for question, ask in QUESTIONS.items():
            async with client(registry) as asked:
                truth = await ask(asked, at, whole)
            for fault in passing:
                registry.faults.add(Fault(matrix("http://localhost:1")[fault]()))
                async with client(registry, timeouts=patient if fault.startswith("stall") else QUICK) as asked:
                    assert await ask(asked, at, whole) == truth, (question, fault)
                registry.faults.clear()


async def test_an_api_that_hiccups_once_isnt_taken_for_none(tmp_path: Path) -> None:
    """One 404 without a code doesn't make the evidence of a whole run disappear: it is asked again first."""
    with LocalRegistry(tmp_path, manners=Manners(referrers=Api.API)) as registry:
        whole = stock(registry)
        registry.faults.add(Fault(matrix("")["404 without JSON"](), match=on(kind="referrers")))
        async with client(registry) as asked:
            found = await asked.referrers(repository(registry), whole.digest)
        assert found.from_api
        assert found.index == listing_digest(found.descriptors)
