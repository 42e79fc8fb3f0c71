"""The kinds of change: each says what exists, what will be, and why.

    +  Publish       nothing there: build, prove, tag
    ~  AddPlatforms  ours, lacks some: build those, the others keep their digests
    *  Prove         ours, lacks evidence: sign or attest the digest as it is
    ~  Restore       the recorded digest still answers and holds: put the tag back on it, no build
    ~  Rebuild       there, but not provably ours: replaced by a build of ours
    *  Adopt         named by the desired state: signed as it is, completed if need be
    >  MovePointer   a moving tag goes to the highest complete version

Nothing is ever deleted, so there is no `-`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.reference import TagRef
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfRelease:
    """A change to the tag of one release. `exists`: the digest it names now, None where there is none."""

    wanted: Wanted
    reason: str
    exists: Digest | None = None

    @property
    def app(self) -> str:
        return self.wanted.app

    @property
    def image(self) -> str:
        return self.wanted.image

    @property
    def target(self) -> TagRef:
        return self.wanted.target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Assembly(_OfRelease):
    """A new index: `build` are the platforms to build, `keep` the images that go into it with their digests."""

    build: tuple[Platform, ...]
    keep: Mapping[Platform, Child] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(_Assembly):
    """Nothing there. `presumed_new`: denied, not absent; apply settles whether the repository is new."""

    kind: Literal["publish"] = "publish"
    presumed_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPlatforms(_Assembly):
    """Ours, but lacks platforms."""

    kind: Literal["add platforms"] = "add platforms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild(_Assembly):
    """There, but not provably ours, or its recipe changed and the desired state says rebuild (`edited`)."""

    kind: Literal["rebuild"] = "rebuild"
    edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prove(_OfRelease):
    """Provably ours, lacks proofs: `kinds` are made for `digest`, whose images are `platforms`."""

    digest: Digest
    kinds: tuple[Kind, ...]
    platforms: Mapping[Platform, Child]
    kind: Literal["prove"] = "prove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(_OfRelease):
    """The recorded digest is whole and ours: one PUT of the tag, after any proofs in `kinds` that it lacks."""

    digest: Digest
    platforms: Mapping[Platform, Child]
    kinds: tuple[Kind, ...] = ()
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(_Assembly):
    """The desired state names exactly `digest`: proven as it is, or completed first."""

    digest: Digest
    kinds: tuple[Kind, ...]
    kind: Literal["adopt"] = "adopt"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePointer:
    """A moving tag goes to `to`, whose tag is `source`; `digest` is what that names now, None where it is to be made.

    `candidates`: the versions below it, highest first, that it gets if `to` doesn't become complete, with their tags.
    `names`: the version it names now, None where that can't be told or it isn't there; `exists` its digest.
    `evidence`: what each of them must still have when it gets the pointer.
    """

    app: str
    image: str
    target: TagRef
    reason: str
    exists: Digest | None = None
    to: Version
    source: TagRef
    digest: Digest | None
    names: str | None = None
    candidates: tuple[tuple[Version, TagRef, Digest | None], ...] = ()
    evidence: tuple[Kind, ...] = ()
    kind: Literal["move pointer"] = "move pointer"


class _ByKind:
    """Has pydantic read the one that `kind` names, and not try each until one fits."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # imported here: `reconcile --help` must not pay for pydantic
        from pydantic import Field

        return handler.generate_schema(Annotated[source, Field(discriminator="kind")])


Assembly = Publish | AddPlatforms | Rebuild | Adopt
OfRelease = Assembly | Prove | Restore
Change = Annotated[OfRelease | MovePointer, _ByKind]

SYMBOLS: Mapping[str, str] = {
    "publish": "+",
    "add platforms": "~",
    "prove": "*",
    "restore": "~",
    "rebuild": "~",
    "adopt": "*",
    "move pointer": ">",
}


def words(change: Change) -> str:
    """The change in one or two words: a proof is "sign" where the signature is what lacks, else "attest"."""
    if isinstance(change, Prove):
        signs, attests = Kind.SIGNATURE in change.kinds, any(k is not Kind.SIGNATURE for k in change.kinds)
        return " and ".join(filter(None, ("sign" * signs, "attest" * attests)))
    return change.kind
