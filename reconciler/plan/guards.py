"""What apply must not do without being told so: an unexpected plan, or an outage taken for a difference."""

from __future__ import annotations

import hmac
import re

from reconciler.errors import PlanMismatch, Tripwire
from reconciler.plan.plan import Plan, Tally

# behaviours.md 14: a few may be lost by hand, many at once are an outage, a wiped namespace or a lost folder
LOST_SHARE = 0.2
LOST_FEW = 3
REPLACED_FEW = 3

_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def expect(plan: Plan, expected: str) -> None:
    """Raises PlanMismatch unless `expected` is exactly the hash of `plan`; fails closed on whatever isn't a hash."""
    if _HASH.fullmatch(expected) is None:
        raise PlanMismatch(
            f"{expected[:80]!r} is no plan hash",
            todo=f"pass the whole hash that `reconcile plan` printed: sha256: and 64 digits; this plan is {plan.hash}",
        )
    if not hmac.compare_digest(plan.hash, expected):
        raise PlanMismatch(
            f"the plan is not the expected one: expected {expected}, now it is {plan.hash}",
            todo="look at the new plan; if it is right, apply that one. Nothing was done",
        )


def trip(tally: Tally, *, allow_lost: int | None = None, allow_replaced: int | None = None) -> None:
    """Raises Tripwire where more is lost, or would be replaced, than may happen by itself.

    `allow_lost` and `allow_replaced` allow exactly that number: had the number changed, so may have the reason.
    """
    many_lost = tally.lost > LOST_FEW and tally.lost > LOST_SHARE * tally.recorded
    if many_lost and tally.lost != allow_lost:
        raise Tripwire(
            f"{tally.lost} of the {tally.recorded} tags on record lack what their record says they had",
            todo="if the registry is right and this is no outage, allow exactly that: "
            f"--allow-lost {tally.lost}. Nothing was done",
        )
    if tally.replaced > REPLACED_FEW and tally.replaced != allow_replaced:
        raise Tripwire(
            f"{tally.replaced} digests that exist would be replaced without an edit of the desired state",
            todo="people may have pinned them; if that is right, allow exactly that: "
            f"--allow-replaced {tally.replaced}. Nothing was done",
        )
