"""The plan: all changes in order, what is held back and why, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.digest import Digest
from reconciler.model.evidence import Unknown
from reconciler.model.reference import TagRef
from reconciler.model.wanted import Blocked, Waiting
from reconciler.plan.changes import Adopt, Change, MovePointer, Prove, Restore

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Held:
    """Something wanted for which nothing is planned, and why. `target` is None where it holds for a whole app."""

    app: str
    # in this order: pydantic takes the first of those that fit equally well, and Unknown has the fewest fields
    why: Unknown | Blocked | Waiting
    target: TagRef | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that is not as the record says it was, whatever is done about it."""

    app: str
    target: TagRef
    what: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What the tripwire counts: tags that a record knows, those that lack what it says, and unedited replacements."""

    recorded: int = 0
    lost: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What apply will do. `scope`: the apps it was narrowed to (empty: all). `satisfied`: tags and pointers as wanted.

    `policy`: hash of the signing policy. `requests`: how many requests of each kind the plan took (not hashed).
    """

    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    drift: tuple[Drift, ...] = ()
    satisfied: int = 0
    scope: tuple[str, ...] = ()
    policy: str = ""
    tally: Tally = field(default_factory=Tally)

    @property
    def complete(self) -> bool:
        """Whether everything wanted was observed, and nothing is blocked by a mistake."""
        return not any(isinstance(h.why, Unknown) or (isinstance(h.why, Blocked) and h.why.mistake) for h in self.held)

    @property
    def hash(self) -> str:
        """`sha256:…` over changes, existing digests, recipes, source commits, the signing policy and the scope.

        Not over reasons, error texts, times, records, or whether the plan was made warm or cold, anonymously or not.
        """
        content = {
            "format": FORMAT_VERSION,
            "policy": self.policy,
            "scope": list(self.scope),
            "changes": [_hashed(change) for change in self.changes],
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _hashed(change: Change) -> Mapping[str, Any]:
    """What the hash covers of one change: what is built and kept follows from it, or from what a record has pending."""
    core: dict[str, Any] = {
        "kind": change.kind,
        "target": str(change.target),
        "exists": _text(change.exists),
    }
    if isinstance(change, MovePointer):
        # not the digest: whether it is known yet depends on nothing that the changes before don't say
        return core | {"to": str(change.to)}
    wanted = change.wanted
    core |= {
        "recipe": wanted.recipe.hash,
        "release": [str(wanted.release.version), wanted.release.tag, wanted.release.commit],
        "platforms": list(map(str, wanted.platforms)),
        "evidence": sorted(wanted.evidence),
    }
    if isinstance(change, Prove | Restore | Adopt):
        core["digest"] = str(change.digest)
    if isinstance(change, Prove | Restore | Adopt):
        core["kinds"] = list(change.kinds)
    return core


def _text(digest: Digest | None) -> str:
    return str(digest) if digest else ""
