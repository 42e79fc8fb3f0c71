"""What `verify` found of each digest: what holds, by whom, logged when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reconciler.model.evidence import Invalid, Kind, Missing, Proven, Unknown
from reconciler.model.observed import Absent, Observed, Present
from reconciler.model.platform import Platform
from reconciler.model.reference import TagRef
from reconciler.report.escape import command_free, plain

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """One tag and what was seen of it from scratch; `target` is None for an app whose upstream can't tell its releases.

    `signed`: the platforms whose image carries a proof of its own. `waiting`: why it can't be there yet.
    """

    app: str
    target: TagRef | None
    seen: Observed
    version: str = ""
    platforms: tuple[Platform, ...] = ()
    required: frozenset[Kind] = frozenset()
    signed: frozenset[Platform] | Unknown = frozenset()
    waiting: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """What doesn't hold; empty where all that is required does, and where nothing can be there yet."""
        if isinstance(self.seen, Absent) and self.waiting:
            return ()
        if not isinstance(self.seen, Present) or self.target is None:
            return (getattr(self.seen, "reason", "no such tag"),)
        faults = [f"lacks {platform}" for platform in self.seen.lacking(self.platforms)]
        faults += [f"{kind}: {_finding(self.seen, kind)}" for kind in self.seen.evidence.lacking(self.required)]
        binding = self.seen.evidence.binding
        if binding is None:
            faults.append("nothing signed says which version it is")
        elif (binding.repository, binding.version) != (str(self.target.repository), self.version):
            faults.append(f"it is signed as {binding.repository} {binding.version}")
        return tuple(faults)

    @property
    def holds(self) -> bool:
        """Whether all that is required was verified."""
        return not self.faults


def _finding(seen: Present, kind: Kind) -> str:
    match seen.evidence.findings[kind]:
        case Proven(by, at, _, layout):
            return f"by {by}" + (f", logged {at}" if at else "") + (", as cosign 2 writes it" * (layout == "legacy"))
        case Missing(platforms):
            return "missing" + (f" for {', '.join(map(str, platforms))}" if platforms else "")
        case Invalid(reason):
            return f"invalid: {reason}"
        case Unknown(reason):
            return f"unknown: {reason}"


def text(checked: Sequence[Checked]) -> str:
    """For a terminal."""
    there = [one for one in checked if not (isinstance(one.seen, Absent) and one.waiting)]
    good = sum(one.holds for one in there)
    lines = [f"{good} of {len(there)} verified." if there else "Nothing to verify."]
    for app, group in groupby(sorted(checked, key=lambda one: one.app), key=lambda one: one.app):
        lines += ["", plain(app)]
        for one in group:
            lines += _lines(one)
    return "\n".join(map(command_free, lines)) + "\n"


def _lines(one: Checked) -> list[str]:
    name = f"{one.target.repository.name.rpartition('/')[2]}:{one.target.tag}" if one.target else "(all)"
    digest = str(one.seen.digest) if isinstance(one.seen, Present) else ""
    if isinstance(one.seen, Absent) and one.waiting:
        return [f"  .    {plain(name)}  not there yet: {plain(one.waiting)}"]
    lines = [f"  {'ok  ' if one.holds else '!   '} {plain(name)}  {digest}".rstrip()]
    lines += [f"         ! {plain(fault)}" for fault in one.faults]
    if isinstance(one.seen, Present):
        for kind in Kind:
            if isinstance(one.seen.evidence.findings[kind], Proven):
                lines.append(f"         {kind:11} {plain(_finding(one.seen, kind))}")
        if isinstance(one.signed, frozenset) and one.signed:
            lines.append(f"         {'platforms':11} signed: {', '.join(map(str, sorted(one.signed)))}")
        lines += [f"         note: {plain(note)}" for note in one.seen.evidence.notes]
    return lines


def as_json(checked: Sequence[Checked]) -> str:
    """For machines: per tag `target`, `digest`, `holds`, `faults`, and each kind's finding."""
    document = {
        "format_version": FORMAT_VERSION,
        "holds": all(one.holds for one in checked),
        "tags": [_described(one) for one in checked],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _described(one: Checked) -> dict[str, Any]:
    described: dict[str, Any] = {
        "app": one.app,
        "target": str(one.target) if one.target else None,
        "holds": one.holds,
        "faults": list(one.faults),
        "waiting": one.waiting,
    }
    if isinstance(one.seen, Present):
        described |= {
            "digest": str(one.seen.digest),
            "platforms": {str(platform): str(child.digest) for platform, child in one.seen.platforms.items()},
            "signed_platforms": sorted(map(str, one.signed)) if isinstance(one.signed, frozenset) else None,
            "evidence": {str(kind): _evidence(one.seen, kind, one.required) for kind in Kind},
            "notes": list(one.seen.evidence.notes),
        }
    return described


def _evidence(seen: Present, kind: Kind, required: frozenset[Kind]) -> dict[str, Any]:
    finding = seen.evidence.findings[kind]
    content: dict[str, Any] = {"state": type(finding).__name__.lower(), "required": kind in required}
    match finding:
        case Proven(by, at, proof, layout):
            content |= {"by": by, "logged": at, "proof": str(proof), "layout": layout}
        case Missing(platforms):
            content |= {"platforms": list(map(str, platforms))}
        case Invalid(reason) | Unknown(reason):
            content |= {"reason": reason}
    return content
