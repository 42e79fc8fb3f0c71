"""What is imported when: who only wants help waits for nothing, and a plan loads what it needs and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.local.sigstore import Mint
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from tests.support.mirrors import LocalMirror, mirror

# every dependency, and what they bring that takes long
HEAVY = {
    "aiohttp",
    "asyncio",
    "cryptography",
    "deepdiff",
    "httpx",
    "httpx_aiohttp",
    "packaging",
    "pydantic",
    "rich",
    "ruamel",
    "sigstore",
    "ssl",
    "tenacity",
}
# runs one command and then says on the last line of stderr what has been imported
SCRIPT = """
import sys
from reconciler.cli import main
status = main(sys.argv[1:])
import json
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(status)
"""


def imported(*arguments: object, status: int = 0) -> set[str]:
    """The packages that one command imports, in a process of its own."""
    argv = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    assert "reconciler" in names
    return set(names)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["plan", "--help"], 0),
        (["apply", "--help"], 0),
        (["verify", "--help"], 0),
        ([], 64),
        (["plann"], 64),
        (["plan", "--detailed-exitcod"], 64),
        (["apply", "--jobs", "none"], 64),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str], status: int) -> None:
    """Not one dependency, nor asyncio or ssl: that is what keeps them under 0.2 s."""
    assert not imported(*arguments, status=status) & HEAVY


def places(m: LocalMirror) -> list[object]:
    """The flags that tell a command where a local mirror is."""
    return ["--desired", m.desired, "--state", m.state, "--allow-private"]


def test_a_plan_with_a_key_imports_no_sigstore(tmp_path: Path) -> None:
    """Signatures by a key are verified with cryptography alone; nothing is shown live, nothing is retried."""
    with mirror(tmp_path) as m:
        m.released("1.0.0")
        m.point("latest", m.publish("1.0.0").digest)
        names = imported("plan", *places(m))
        assert not names & {"sigstore", "deepdiff", "rich", "tenacity", "tuf", "markdown_it"}
        assert "cryptography" in names


@pytest.mark.parametrize("keyless", [False, True])
def test_a_plan_from_records_verifies_nothing(tmp_path: Path, keyless: bool) -> None:
    """Where nothing changed since the records, what would verify signatures isn't imported, whoever may sign."""
    with mirror(tmp_path) as m:
        if keyless:
            accept = f"  accept: [{{issuer: {GITHUB_ISSUER}, identity: {WORKFLOW}}}]\n"
            m.write("mirror", more=accept + "  trusted-root: root.json\n")
            (m.desired / "root.json").write_text(json.dumps(Mint().trusted_root()))
        m.released("1.0.0")
        m.point("latest", m.publish("1.0.0").digest)
        assert "cryptography" in imported("apply", *places(m))
        assert not imported("plan", *places(m)) & {"cryptography", "sigstore", "deepdiff", "rich", "tenacity"}
