"""The workflow and action files of this repository, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"


@dataclass(frozen=True)
class File:
    """One file: its path, its text, and what it says."""

    path: Path
    text: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`apply.yml`, or for an action the name of its folder."""
        return self.path.parent.name if self.path.name == "action.yml" else self.path.name

    @property
    def jobs(self) -> Mapping[str, Mapping[str, Any]]:
        """A workflow's jobs."""
        jobs: Mapping[str, Mapping[str, Any]] = self.content["jobs"]
        return jobs

    @property
    def steps(self) -> Iterator[Mapping[str, Any]]:
        """Every step of every job, or of the action."""
        if "runs" in self.content:
            yield from self.content["runs"]["steps"]
        else:
            for job in self.jobs.values():
                yield from job["steps"]


def read(path: Path) -> File:
    """One file; YAML 1.2, in which `on` is no truth value."""
    text = path.read_text(encoding="utf-8")
    return File(path, text, YAML(typ="safe", pure=True).load(text))


def workflow(name: str) -> File:
    """`workflow("apply.yml")`."""
    return read(GITHUB / "workflows" / name)


WORKFLOWS = [read(path) for path in sorted((GITHUB / "workflows").glob("*.yml"))]
ACTIONS = [read(path) for path in sorted((GITHUB / "actions").glob("*/action.yml"))]
