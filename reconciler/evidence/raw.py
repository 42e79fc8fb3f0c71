"""What is attached to a digest, as read and before it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from reconciler.model.digest import Digest
from reconciler.model.evidence import Kind

# apply signs statements of up to 48 MiB (BuildKit cuts them at 40, protocols 4.5); base64 makes that a third more
MAX_BUNDLE = 65 * 1024 * 1024
# a simple signing payload has some hundred bytes
MAX_PAYLOAD = 1024 * 1024
_KINDS = frozenset(Kind)


class Form(Enum):
    """What an attached blob is."""

    BUNDLE = "bundle"
    SIG = ".sig"
    ATT = ".att"

    @property
    def layout(self) -> str:
        """The layout, as `Proven` names it."""
        return "bundle" if self is Form.BUNDLE else "legacy"

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds that could be in it."""
        return frozenset({Kind.SIGNATURE}) if self is Form.SIG else _KINDS

    @property
    def cap(self) -> int:
        """How many bytes of it are read."""
        return MAX_PAYLOAD if self is Form.SIG else MAX_BUNDLE


@dataclass(frozen=True, slots=True)
class Attached:
    """A blob that may prove something. `data` is None while it is still in the registry (large, or known already).

    `claims` is the kind that an unsigned annotation says it is. A `.sig` layer's digest doesn't name one signature: all
    that sign the same image have the same payload, and differ in their annotations.
    """

    form: Form
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    claims: Kind | None = None
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that couldn't be read, why, and the kinds that could be in it."""

    reason: str
    kinds: frozenset[Kind] = _KINDS


@dataclass(frozen=True, slots=True)
class Raw:
    """All that is attached to a digest, as read. `index` and `legacy` as in `Evidence`."""

    attached: tuple[Attached, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    index: Digest | None = None
    legacy: Mapping[str, Digest] = field(default_factory=dict)
