"""What a plan asks a registry, counted by the registry: no request more than the answers need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local.registry import Auth, User
from reconciler.local.registry import Kind as Kinds
from reconciler.local.registry.manners import Manners, Referrers
from reconciler.local.sigstore import Key
from reconciler.model.evidence import Kind
from tests.support.images import Built
from tests.support.mirrors import LocalMirror, mirror

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
APPS = ("hello", "other")
TAGS = len(VERSIONS) * len(APPS)
# what `LocalMirror.publish` makes of each
PLATFORMS = 2
BUNDLES = len(Kind)


def filled(m: LocalMirror) -> LocalMirror:
    """Two apps with three versions each, all published and proven, and `latest`."""
    m.write("other")
    for app in APPS:
        m.released(*VERSIONS, app=app)
        last = [m.publish(version, app=app) for version in VERSIONS][-1]
        m.point("latest", last.digest, app=app)
    return m


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """That, where everybody needs a token."""
    with mirror(tmp_path, auth=Auth(users=(User("me", "secret"),), public=("*",))) as made:
        yield filled(made)


def asked(m: LocalMirror, *flags: str) -> Counter[str]:
    """What a plan asks; there is nothing to do, and it knows that for sure."""
    m.registry.requests.reset()
    status, out, err = m.run("plan", "--detailed-exitcode", *flags)
    assert (status, err) == (0, ""), out + err
    assert out.startswith("Nothing to do")
    return m.registry.requests.tally()


def remembered(m: LocalMirror) -> None:
    """The scheduled run, which has nothing to do but to write down what it saw."""
    status, _, err = m.run("apply")
    assert status == 0, err


def test_a_plan_without_records(m: LocalMirror) -> None:
    """A token for each image; for each tag its manifest, one HEAD for each image in it, and what proves it.

    A HEAD for each image in an index is more than the index says: one whose image is gone can't be pulled. What
    proves a digest: its fallback index, cosign 2's two tags, and a manifest and a blob for each bundle in the index.
    Besides, once a run: what the host wants for a login (one request goes out bare, and its 401 tells), and whether it
    has the referrers API.
    """
    tally = asked(m)
    assert tally == {
        "GET token": len(APPS),
        "GET manifest": TAGS * (1 + 1 + 2 + BUNDLES) + _bare(m, "GET"),
        "GET blob": TAGS * BUNDLES,
        "HEAD manifest": TAGS * PLATFORMS + len(APPS) + _bare(m, "HEAD"),
        "GET referrers": 1,
    }
    assert len(m.registry.requests.where(status=401)) == 1


def test_a_plan_with_records(m: LocalMirror) -> None:
    """A token for each image, one HEAD for each tag, each pointer and each evidence index; nothing else is read."""
    remembered(m)
    tally = asked(m)
    assert tally == {"GET token": len(APPS), "HEAD manifest": 2 * TAGS + len(APPS) + _bare(m, "HEAD")}
    assert len(m.registry.requests.where(status=401)) == 1


def test_records_that_arent_believed_cost_what_none_cost(m: LocalMirror) -> None:
    """--fresh asks what a plan without records asks."""
    cold = asked(m)
    remembered(m)
    assert asked(m, "--fresh").total() == cold.total()


def test_one_changed_tag_is_read_alone(m: LocalMirror) -> None:
    """A tag that moved costs what it costs without records, whatever else there is: its HEADs tell, then it is read."""
    remembered(m)
    m.point("1.1.0", m.publish("1.1.0", text="another").digest)
    tally = asked(m)
    assert tally["GET manifest"] == 1 + 1 + 2 + BUNDLES + _bare(m, "GET")
    assert tally["GET blob"] == BUNDLES
    assert tally["HEAD manifest"] == 2 * TAGS + len(APPS) + PLATFORMS + _bare(m, "HEAD")


def test_proofs_that_came_are_read_alone(m: LocalMirror) -> None:
    """One more bundle on a known digest: its manifest and blob are read, and of those known only the manifests."""
    remembered(m)
    there = m.registry.store.manifest(m.name(), "1.1.0")
    assert there is not None
    of = Built(there.digest, there.media_type, there.size, there.data)
    m.prove(of, "1.1.0", kinds=[Kind.SIGNATURE], key=Key.generate())
    tally = asked(m)
    assert tally["GET blob"] == 1
    assert tally["GET manifest"] == 1 + 1 + 2 + (BUNDLES + 1) + _bare(m, "GET")


def test_tags_are_never_listed(m: LocalMirror) -> None:
    """GHCR's lists are long and slow: whatever is asked is asked by name, also where nothing is there."""
    m.registry.store.untag(m.name(), "1.1.0")
    assert "publish" in m.run("plan")[1]
    assert m.registry.requests.count(method="GET", kind="manifest", reference="1.1.0") > 0
    assert m.registry.requests.count(kind=Kinds.TAGS) == 0


def test_a_registry_with_the_api_is_asked_it_once_for_each_digest(tmp_path: Path) -> None:
    """Where referrers are listed by the API, the list costs one request for each digest, with records or without."""
    with mirror(tmp_path, manners=Manners(referrers=Referrers.API)) as made:
        m = filled(made)
        assert asked(m)["GET referrers"] == TAGS
        remembered(m)
        assert asked(m) == {"HEAD manifest": TAGS + len(APPS), "GET referrers": TAGS}


def test_an_open_door_costs_nothing(tmp_path: Path) -> None:
    """Without logins there is no token, and no request that is refused first."""
    with mirror(tmp_path) as made:
        m = filled(made)
        remembered(m)
        assert asked(m) == {"HEAD manifest": 2 * TAGS + len(APPS)}


def test_no_more_in_flight_than_allowed(m: LocalMirror) -> None:
    """--concurrency holds for the host, whatever there is to ask."""
    m.registry.requests.reset()
    asked(m, "--concurrency", "3")
    assert 1 <= m.registry.requests.max_in_flight <= 3


def _bare(m: LocalMirror, method: str) -> int:
    """How many went out before it was known what the host wants."""
    return len(m.registry.requests.where(method=method, status=401))
