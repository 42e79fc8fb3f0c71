"""What a record knows of a digest's evidence, and when that still holds: pure.

Verified facts are immutable per digest: a bundle that proved something of a digest under a policy always will. What may
change is which of them are attached, and that changes the digest of the evidence index. So where that is the recorded
one and the policy is the same, nothing needs to be read or verified again; and where only something was added, what
was verified before needs no second look.

A record is a file that a pull request can edit. A forged one can claim that a digest has proofs that it hasn't, and so
hide what should be repaired, until the next look from scratch (`--fresh`, `verify`, and `apply` where the last is more
than seven days ago). It can't make anything signed, tagged or replaced: who does such a thing asks again without the
record (`Evidence.recalled` says that an answer came from one).
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.digest import Digest
from reconciler.model.evidence import Evidence, Finding, Kind, Proven, Unknown
from reconciler.model.record import RecordedTag


def legacy_tags(recorded: RecordedTag, layouts: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The endings of the tags (`.sig`, `.att`) that a warm plan must HEAD too: a proof that counts is in them."""
    if "legacy" not in layouts and all(proof.layout == "bundle" for proof in recorded.proofs.values()):
        return ()
    return tuple(sorted(recorded.legacy))


def unchanged(
    recorded: RecordedTag,
    policy_hash: str,
    head_index: Digest | None,
    *,
    legacy: Mapping[str, Digest] | None = None,
    required: frozenset[Kind] = frozenset(),
    layouts: tuple[str, ...] = (),
) -> Evidence | None:
    """The recorded evidence, if what is attached today is what was attached then; None: it must be read.

    `head_index` is the evidence index's digest today, `legacy` those of the tags of `legacy_tags`. What the record
    doesn't prove is read again if it is `required`, and otherwise said to be unknown: a `.att` tag may have come since.
    """
    if recorded.policy != policy_hash or recorded.evidence != head_index:
        return None
    if not recorded.authority or recorded.binding is None or not required <= recorded.proofs.keys():
        return None
    tags = legacy_tags(recorded, layouts)
    if any((legacy or {}).get(tag) != recorded.legacy[tag] for tag in tags):
        return None
    if head_index is None and not tags:
        return None
    findings: dict[Kind, Finding] = {
        kind: recorded.proofs.get(kind) or Unknown("nothing requires it, so it wasn't looked for") for kind in Kind
    }
    return Evidence(
        findings,
        authority=recorded.authority,
        binding=recorded.binding,
        index=recorded.evidence,
        legacy=recorded.legacy,
        recalled=True,
    )


def known(recorded: RecordedTag | None, digest: Digest, policy_hash: str) -> Mapping[Kind, Proven]:
    """The recorded proofs of `digest` that need no second look where their bundles are still attached.

    cosign 2's aren't among them: the digest of a `.sig` layer doesn't name one signature.
    """
    if recorded is None or recorded.digest != digest or recorded.policy != policy_hash:
        return {}
    # without what it is bound to, a mirror statement is of no use
    return {
        kind: proof
        for kind, proof in recorded.proofs.items()
        if proof.layout == "bundle" and (kind is not Kind.MIRROR or recorded.binding is not None)
    }
