"""A plan as JSON, whole: what `plan --format json` writes and `apply PLAN.json` reads.

format_version  1; raised when a reader of an earlier one would misread it
hash            see Plan.hash; empty where there is no plan
complete        whether everything wanted was observed and nothing is blocked by a mistake
errored         the error that kept the plan from being made, or null
summary         how many changes of each kind, held, satisfied
changes         in order: symbol, word, target, exists, will, reason, and `change`: all that apply needs
held, drift     what is held back and why; what isn't as the record says
plan            scope, policy, tally, satisfied
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.errors import PlanMismatch, ReconcileError
from reconciler.model.wanted import Blocked, Waiting
from reconciler.plan.changes import SYMBOLS, Assembly, Change, MovePointer, Prove, words
from reconciler.plan.plan import FORMAT_VERSION, Held, Plan

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_HALVES = re.compile("[\ud800-\udfff]")

MAX_BYTES = 256 * 1024 * 1024


@cache
def _adapter() -> TypeAdapter[Plan]:
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def dump(plan: Plan | None, errored: ReconcileError | None = None) -> str:
    """The plan as a JSON document and a newline; also where there is none, with the error that prevented it."""
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "hash": plan.hash if plan else "",
        "complete": plan is not None and plan.complete,
        "errored": str(errored) if errored else None,
    }
    if plan is not None:
        content = _adapter().dump_python(plan, mode="json")
        changes = content.pop("changes")
        for change in changes:
            if "wanted" in change:
                # a set has no order, and the same plan must give the same bytes
                change["wanted"]["evidence"].sort()
        document["summary"] = summary(plan)
        document["changes"] = [
            _described(change) | {"change": data} for change, data in zip(plan.changes, changes, strict=True)
        ]
        document["held"] = [
            _held(held) | {"held": data} for held, data in zip(plan.held, content.pop("held"), strict=True)
        ]
        document["drift"] = content.pop("drift")
        document["plan"] = content
    text = _encoded(document)
    # half a character can't be written, and `##[` is a command to GitHub's runner wherever it is printed
    return _HALVES.sub("\ufffd", text).replace("##[", "\\u0023#[") + "\n"


def _encoded(document: dict[str, Any]) -> str:
    """Indented JSON; by pydantic's encoder, as that of the standard library is slow where it indents."""
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(document, indent=1).decode()
    except PydanticSerializationError:  # half a character
        return json.dumps(document, indent=1, ensure_ascii=False)


def load(data: bytes, where: str) -> Plan:
    """The plan that `dump` wrote; PlanMismatch for anything else, and where its hash isn't that of its content."""
    from pydantic import ValidationError
    from pydantic_core import from_json

    todo = "make a new plan with `reconcile plan --format json --output FILE`"
    try:
        document = from_json(data[: MAX_BYTES + 1])
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise PlanMismatch(f"the plan has format_version {version!r}, not {FORMAT_VERSION}", where=where, todo=todo)
        if document["errored"]:
            raise PlanMismatch("the plan was not made, only its error was written", where=where, todo=todo)
        content = document["plan"] | {
            "changes": [change["change"] for change in document["changes"]],
            "held": [held["held"] for held in document["held"]],
            "drift": document["drift"],
        }
        plan = _adapter().validate_python(content)
        claimed = document["hash"]
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        if isinstance(error, PlanMismatch):
            raise
        what = type(error).__name__ if isinstance(error, KeyError | TypeError) else str(error).splitlines()[0]
        raise PlanMismatch(f"this is no saved plan: {what[:200]}", where=where, todo=todo) from None
    if plan.hash != claimed:
        raise PlanMismatch(
            f"the saved plan was altered: it says {str(claimed)[:80]}, its content is {plan.hash}",
            where=where,
            todo=todo,
        )
    return plan


def summary(plan: Plan) -> dict[str, int]:
    """How many changes of each kind there are, what is held, and what is as wanted."""
    kinds: Counter[str] = Counter(change.kind for change in plan.changes)
    states = Counter(state(held) for held in plan.held)
    return {
        "changes": len(plan.changes),
        **{kind: kinds[kind] for kind in SYMBOLS},
        **{name: states[name] for name in ("blocked", "waiting", "unknown")},
        "satisfied": plan.satisfied,
    }


def state(held: Held) -> str:
    """`blocked`, `waiting` or `unknown`."""
    if isinstance(held.why, Blocked):
        return "blocked"
    return "waiting" if isinstance(held.why, Waiting) else "unknown"


def will(change: Change) -> str:
    """What will be, in a few words."""
    if isinstance(change, MovePointer):
        return f"{change.source.tag}" + (f" ({change.digest.short})" if change.digest else "")
    if isinstance(change, Prove):
        return f"{change.digest.short} with {', '.join(change.kinds)}"
    if isinstance(change, Assembly):
        built = ", ".join(map(str, change.build))
        kept = ", ".join(map(str, change.keep))
        return "; ".join(filter(None, (f"build {built}" if built else "", f"keep {kept}" if kept else "")))
    return change.digest.short


def _described(change: Change) -> dict[str, Any]:
    return {
        "symbol": SYMBOLS[change.kind],
        "word": words(change),
        "app": change.app,
        "image": change.image,
        "target": str(change.target),
        "exists": str(change.exists) if change.exists else None,
        "will": will(change),
        "reason": change.reason,
    }


def _held(held: Held) -> dict[str, Any]:
    return {
        "symbol": "!" if isinstance(held.why, Blocked) else "?",
        "state": state(held),
        "app": held.app,
        "target": str(held.target) if held.target else None,
        "reason": held.why.reason,
    }
