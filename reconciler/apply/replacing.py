"""Rule 3, asked once more before a digest under a tag is replaced: is it still not ours, or not this version's?

The plan may be old, or may have read an index of proofs that was: registries show a write seconds later (protocols
2.12), and then what they don't show yet looks like somebody else's.
"""

from __future__ import annotations

from reconciler.apply.content import read_content
from reconciler.apply.proofs import Prover
from reconciler.errors import EvidenceError, Moved
from reconciler.model.evidence import Kind
from reconciler.plan.changes import OfRelease, Rebuild, Restore
from reconciler.plan.decide import is_bound
from reconciler.registry.client import Registry


async def may_replace(registry: Registry, prover: Prover, change: OfRelease) -> None:
    """Raises Moved where what is to be replaced is proven to be right by now, EvidenceError where that can't be told.

    A rebuild after an edit of the desired state replaces what is right, and says so in the plan.
    """
    replaces = isinstance(change, Restore) or (isinstance(change, Rebuild) and not change.edited)
    if not replaces or change.exists is None:
        return
    wanted = change.wanted
    where, repository = str(wanted.target), wanted.target.repository
    content = await read_content(registry, repository, change.exists)
    evidence = await prover.examine(repository, content.subject)
    unsure = None if evidence.authority else evidence.unknown(frozenset(Kind))
    if unsure is not None:
        raise EvidenceError(f"whose {change.exists.short} is can't be told now: {unsure.reason}", where=where)
    if is_bound(wanted, evidence.binding) and await prover.authority(repository, content.subject, evidence):
        raise Moved(
            f"{change.exists.short}, which was to be replaced, is proven to be {wanted.release.version} now",
            where=where,
            todo="nothing was written; make a new plan",
        )
