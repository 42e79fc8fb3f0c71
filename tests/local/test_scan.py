"""The SBOM generator's script lists every file, whatever its name. In BuildKit: tests/stack/test_toolchain.py."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "reconciler" / "local" / "scan.sh"


def scan(source: Path, target: Path, extras: Path | None = None) -> None:
    """Run the script as BuildKit does."""
    target.mkdir()
    env = {"BUILDKIT_SCAN_SOURCE": str(source), "BUILDKIT_SCAN_DESTINATION": str(target), "PATH": os.environ["PATH"]}
    if extras is not None:
        env["BUILDKIT_SCAN_SOURCE_EXTRAS"] = str(extras)
    subprocess.run(["sh", SCRIPT], env=env, check=True, capture_output=True)


def statement(file: Path) -> dict[str, Any]:
    """A statement's predicate, its envelope checked."""
    found: dict[str, Any] = json.loads(file.read_bytes())
    assert found["predicateType"] == "https://spdx.dev/Document"
    assert found["_type"].startswith("https://in-toto.io/Statement/")
    predicate: dict[str, Any] = found["predicate"]
    return predicate


def test_every_file_with_its_checksums(tmp_path: Path) -> None:
    """Files by their path, sorted, with true checksums; links and folders are no files."""
    core = tmp_path / "core"
    (core / "etc/deep").mkdir(parents=True)
    (core / "etc/deep/b").write_bytes(b"bytes\0and more")
    (core / "a").write_bytes(b"")
    (core / "link").symlink_to("a")
    scan(core, tmp_path / "out")
    document = statement(tmp_path / "out/core.spdx.json")
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["name"] == "core"
    assert [file["fileName"] for file in document["files"]] == ["./a", "./etc/deep/b"]
    sums = {entry["algorithm"]: entry["checksumValue"] for entry in document["files"][1]["checksums"]}
    data = b"bytes\0and more"
    assert sums == {"SHA1": hashlib.sha1(data).hexdigest(), "SHA256": hashlib.sha256(data).hexdigest()}
    described = {relation["relatedSpdxElement"] for relation in document["relationships"]}
    assert described == {file["SPDXID"] for file in document["files"]}


@pytest.mark.parametrize("name", ['q"uote', "tab\tbed", "a  b", "'$(id)'", "-n", "ä", " lead", "\x1b[31m", "*", "%s%n"])
def test_hostile_names_stay_json(tmp_path: Path, name: str) -> None:
    """A file may be called anything; the document parses and has one entry for it."""
    core = tmp_path / "core"
    core.mkdir()
    (core / name).write_text("x")
    scan(core, tmp_path / "out")
    (file,) = statement(tmp_path / "out/core.spdx.json")["files"]
    plain = "".join(char if 31 < ord(char) < 127 else "?" * len(char.encode()) for char in name)
    assert file["fileName"] == f"./{plain}"


def test_stages_and_an_empty_root(tmp_path: Path) -> None:
    """Extra sources (build stages) get a statement each, and an image without a file an empty list."""
    for name in ("core", "extras/stage-1", "extras/stage-2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "extras/stage-2/one").write_text("1")
    scan(tmp_path / "core", tmp_path / "out", tmp_path / "extras")
    counts = {path.name: len(statement(path)["files"]) for path in (tmp_path / "out").iterdir()}
    assert counts == {"core.spdx.json": 0, "stage-1.spdx.json": 0, "stage-2.spdx.json": 1}
