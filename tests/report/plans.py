"""Plans to be shown: each has what its name says."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.evidence import Kind, Unknown
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.version import Version
from reconciler.model.wanted import Blocked, Waiting, Wanted
from reconciler.plan.changes import (
    AddPlatforms,
    Adopt,
    Change,
    MovePointer,
    Prove,
    Publish,
    Rebuild,
    Restore,
)
from reconciler.plan.plan import Drift, Held, Plan
from tests.support.nouns import AMD64, ARM64, ARMV7, child, digest, wanted

OUTLINE = Repository.parse("registry.example/mirror/outline")
BASE = Repository.parse("registry.example/mirror/base-outline")
BOTH: dict[Platform, Child] = {AMD64: child("amd64"), ARM64: child("arm64")}

RUN = "https://github.example/acme/mirror/actions/runs/4711"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

HOSTILE = (
    "a|b `````\n@user #1 GH-1 acme/mirror#1 deadbeef <img src=x> </details> <!-- reconcile:plan --> :smile: "
    "https://example.com www.example.com me@example.com \u202e\x00\x1b[31m\ud800\r::error::x ##[error] $x$ ![x](y)"
)


def of(version: str, image: str = "outline") -> Wanted:
    """A wanted tag of Outline."""
    return wanted(
        version,
        repository=OUTLINE if image == "outline" else BASE,
        app="outline",
        image=image,
        platforms=(AMD64, ARM64),
    )


def latest(to: str, **fields: str | None) -> MovePointer:
    """`latest` of Outline moves."""
    reason = f"{to} is the highest complete version" + (f"; it names {fields['names']}" if fields.get("names") else "")
    return MovePointer(
        app="outline",
        image="outline",
        target=OUTLINE.tag("latest"),
        reason=reason,
        exists=digest("old latest") if fields.get("names") else None,
        to=Version.parse(to),
        source=OUTLINE.tag(to),
        digest=None,
        names=fields.get("names"),
    )


def nothing() -> Plan:
    """Everything is as wanted."""
    return Plan(satisfied=12, policy="sha256:policy")


def small() -> Plan:
    """What a pull request with a new release looks like."""
    base, top = of("1.2.0", "base-outline"), of("1.2.0")
    changes: tuple[Change, ...] = (
        Publish(wanted=base, reason="no such tag", build=(AMD64, ARM64)),
        Publish(wanted=replace(top, needs=(base.target,)), reason="no such tag", build=(AMD64, ARM64)),
        latest("1.2.0", names="1.1.0"),
    )
    return Plan(changes=changes, satisfied=20, policy="sha256:policy")


def every_kind() -> Plan:
    """One change of each kind."""
    changes: tuple[Change, ...] = (
        Publish(wanted=of("1.9.0"), reason="no such tag", build=(AMD64, ARM64)),
        AddPlatforms(
            wanted=of("1.8.0"),
            exists=digest("1.8.0"),
            reason="lacks linux/arm64",
            build=(ARM64,),
            keep={AMD64: child("1.8.0 amd64")},
        ),
        Prove(
            wanted=of("1.7.0"),
            exists=digest("1.7.0"),
            reason="signature: missing",
            digest=digest("1.7.0"),
            kinds=(Kind.SIGNATURE,),
            platforms=BOTH,
        ),
        Prove(
            wanted=of("1.6.0"),
            exists=digest("1.6.0"),
            reason="sbom: missing for linux/arm64; mirror: missing",
            digest=digest("1.6.0"),
            kinds=(Kind.SBOM, Kind.MIRROR),
            platforms=BOTH,
        ),
        Restore(wanted=of("1.5.0"), reason="the tag is gone", digest=digest("1.5.0"), platforms=BOTH),
        Rebuild(
            wanted=of("1.4.0"),
            exists=digest("foreign"),
            reason=f"nobody we accept signed it; replaces {digest('foreign').short}",
            build=(AMD64, ARM64),
        ),
        Adopt(
            wanted=of("1.3.0"),
            exists=digest("1.3.0"),
            reason="the desired state names this digest",
            digest=digest("1.3.0"),
            kinds=(Kind.SIGNATURE, Kind.MIRROR),
            build=(),
            keep=BOTH,
        ),
        latest("1.9.0", names="1.8.0"),
    )
    return Plan(changes=changes, satisfied=3, policy="sha256:policy")


def held() -> Plan:
    """Nothing can be done for some, and each says why."""
    mistake = f'signed by us, but nothing signed says which version it is; write `adopt: {{"1.4.0": {digest("x")}}}`'
    return Plan(
        changes=(Publish(wanted=of("1.2.0"), reason="no such tag", build=(AMD64, ARM64)),),
        held=(
            Held("mattermost", Unknown("api.github.example: status 503 after 5 attempts")),
            Held("outline", Blocked(mistake, mistake=True), OUTLINE.tag("1.4.0")),
            Held(
                "outline",
                Waiting("https://releases.example/outline-1.3.0.tar.gz isn't there yet"),
                OUTLINE.tag("1.3.0"),
            ),
            Held("outline", Unknown("registry.example/mirror/outline:1.1.0: no answer in time"), OUTLINE.tag("1.1.0")),
            Held(
                "outline",
                Blocked(
                    "it names 1.9.0, the highest complete version is 1.2.0, and a pointer doesn't go back by itself"
                ),
                OUTLINE.tag("latest"),
            ),
        ),
        satisfied=7,
        policy="sha256:policy",
    )


def drifted() -> Plan:
    """Things aren't as the records say."""
    return Plan(
        changes=(Restore(wanted=of("1.5.0"), reason="the tag is gone", digest=digest("1.5.0"), platforms=BOTH),),
        drift=(
            Drift("outline", OUTLINE.tag("1.5.0"), "the tag is gone"),
            Drift("outline", OUTLINE.tag("1.4.0"), "built by another recipe than the desired state has now"),
        ),
        satisfied=5,
        policy="sha256:policy",
    )


def partial() -> Plan:
    """Narrowed to one app."""
    return replace(small(), scope=("outline",))


def hostile() -> Plan:
    """Whatever isn't ours tries to be more than text."""
    evil = replace(of("1.2.0"), app=HOSTILE, image=HOSTILE)
    # what the hash covers is always text that can be written
    whole = HOSTILE.replace("\ud800", "")
    evil = replace(evil, release=replace(evil.release, tag=whole))
    return Plan(
        changes=(Publish(wanted=evil, reason=HOSTILE, build=(AMD64, ARM64)), latest("1.2.0", names=HOSTILE)),
        held=(
            Held(HOSTILE, Unknown(HOSTILE)),
            Held("outline", Blocked(HOSTILE, mistake=True), OUTLINE.tag("1.4.0")),
            Held("outline", Waiting("::error::" + HOSTILE), OUTLINE.tag("1.3.0")),
        ),
        drift=(Drift(HOSTILE, OUTLINE.tag("1.4.0"), HOSTILE),),
        scope=(whole, "outline"),
        satisfied=1,
        policy="sha256:policy",
    )


def large(changes: int = 5000, apps: int = 100, text: str = "no such tag") -> Plan:
    """`changes` changes over `apps` apps, some held and drifted; `text` is in every reason."""
    made: list[Change] = []
    for number in range(changes):
        app = f"app-{number % apps:03}"
        repository = Repository.parse(f"registry.example/mirror/{app}")
        tag = wanted(
            f"1.{number // apps}.0", repository=repository, app=app, image=app, platforms=(AMD64, ARM64, ARMV7)
        )
        made.append(Publish(wanted=tag, reason=f"{text} {number}", build=tag.platforms))
    repository = Repository.parse("registry.example/mirror/zeta")
    tags = [repository.tag(f"9.{number}.0") for number in range(changes // 10)]
    return Plan(
        changes=tuple(made),
        held=tuple(Held("zeta", Unknown(f"{text}: status 503"), tag) for tag in tags),
        drift=tuple(Drift("zeta", tag, f"{text}: gone") for tag in tags),
        satisfied=changes,
        policy="sha256:policy",
    )


NAMED = {
    "nothing": nothing,
    "small": small,
    "every-kind": every_kind,
    "held": held,
    "drift": drifted,
    "partial": partial,
    "hostile": hostile,
}
