"""The workflows that the README shows whole are ones that GitHub takes, and as safe as ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.github.files import ROOT, WORKFLOWS

TOOLS = Path(sys.executable).parent
# what stands for a commit of this repository
COMMIT = "0" * 40
BLOCKS = re.findall(r"```yaml\n(name: .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_three() -> None:
    """Plan, comment and apply, none of them long."""
    assert [YAML(typ="safe", pure=True).load(block)["name"] for block in BLOCKS] == ["Plan", "Comment", "Apply"]
    assert all(len(block.splitlines()) < 30 for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_each_passes_the_linters(block: str, tmp_path: Path) -> None:
    """actionlint and zizmor have nothing to say, and every action is pinned as in our own workflows."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    file = folder / "shown.yml"
    file.write_text(block.replace("@COMMIT", f"@{COMMIT} # v1.0.0"), encoding="utf-8")
    for argv in (["actionlint", file], ["zizmor", "--offline", "--no-progress", tmp_path]):
        words = [str(TOOLS / str(argv[0])), *map(str, argv[1:])]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    ours = "\n".join(workflow.text for workflow in WORKFLOWS)
    pinned = re.findall(r"uses: (\S+@[0-9a-f]{40})", block)
    assert pinned
    assert all(one in ours for one in pinned)
    assert not re.search(r"run:.*\$\{\{", block)
