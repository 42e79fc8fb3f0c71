"""What differs between a record and what is there, in words."""

from __future__ import annotations

from typing import Any

from reconciler.model.evidence import Binding
from reconciler.model.observed import Present
from reconciler.model.record import RecordedTag
from reconciler.model.wanted import Wanted


def differences(recorded: RecordedTag, present: Present, wanted: Wanted) -> tuple[str, ...]:
    """One line for each thing that the record claims of a digest and that isn't so; deepdiff finds them."""
    claimed = _facts(recorded.binding) | {
        "platforms": {str(p): str(d) for p, d in sorted(recorded.platforms.items())},
    }
    found = _facts(present.evidence.binding) | {
        "platforms": {str(p): str(c.digest) for p, c in sorted(present.platforms.items())},
    }
    if claimed == found:
        return ()
    # imported here: it takes longer than a warm plan of one app
    from deepdiff import DeepDiff

    lines = []
    for path, change in sorted(_changes(DeepDiff(claimed, found, view="tree", verbose_level=2))):
        lines.append(f"the record of {wanted.target.tag} says otherwise: {path} {change}")
    return tuple(lines)


def _facts(binding: Binding | None) -> dict[str, Any]:
    return {} if binding is None else {"repository": binding.repository, "version": binding.version}


def _changes(tree: Any) -> list[tuple[str, str]]:
    found = []
    for levels in tree.values():
        for level in levels:
            path = ".".join(map(str, level.path(output_format="list")))
            before, after = str(level.t1), str(level.t2)
            found.append((path, f"was {before[:80]}, is {after[:80]}"))
    return found
