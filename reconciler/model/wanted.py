"""What should be: the tags that should exist, and the pointers to them."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind, Unknown
from reconciler.model.platform import Platform
from reconciler.model.recipe import Recipe
from reconciler.model.reference import TagRef
from reconciler.model.release import Release
from reconciler.model.version import Version


@dataclass(frozen=True, slots=True)
class Blocked:
    """Can't be done as the desired state stands, and why. `mistake`: someone must edit something (status 1)."""

    reason: str
    mistake: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet, and why: upstream isn't ready, or a failed build backs off. `until`: RFC 3339, or empty."""

    reason: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tag that should exist. `needs`: tags of other images it is built on, which come first.

    `hindrance`: why it can't be built now although it is wanted (probes, sources); it may still be proven or pointed to
    where it exists. `on_recipe_change` is "report" or "rebuild"; `create`: the desired state says that the
    repository may be new.
    """

    app: str
    image: str
    target: TagRef
    release: Release
    platforms: tuple[Platform, ...]
    evidence: frozenset[Kind]
    recipe: Recipe
    needs: tuple[TagRef, ...] = ()
    adopt: Digest | None = None
    # in this order: pydantic takes the first of those that fit equally well, and Unknown has the fewest fields
    hindrance: Unknown | Blocked | Waiting | None = None
    on_recipe_change: str = "report"
    create: bool = False


@dataclass(frozen=True, slots=True)
class WantedPointer:
    """One moving tag, and the versions it may name, highest first. The first that is complete gets it.

    `evidence`: what a complete one has. `ruled_out`: versions that `exclude` or `versions` withdraws; only away from
    one of them may it go back.
    """

    app: str
    image: str
    target: TagRef
    candidates: tuple[Version, ...]
    ruled_out: frozenset[Version] = frozenset()
    evidence: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class WantedApp:
    """All that is wanted of one app; or why that can't be told now (`unknown`), and then nothing else is set.

    `considered`: one line per release that isn't in the window although one might expect it, and why.
    """

    app: str
    tags: tuple[Wanted, ...] = ()
    pointers: tuple[WantedPointer, ...] = ()
    unknown: Unknown | None = None
    considered: tuple[str, ...] = ()
