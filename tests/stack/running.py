"""How stack tests run other people's programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def run_tool(
    *argv: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    check: bool = True,
    limit: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a program (words: whatever `str` makes of them); where it fails and `check` holds, the test says all of it.

    `env` is added to this process's environment, from which whatever points at the user's own registries is gone.
    """
    away = ("DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT", "BUILDX_BUILDER", "REGISTRY_AUTH_FILE", "COSIGN_PASSWORD")
    clean = {name: value for name, value in os.environ.items() if name not in away}
    done = subprocess.run(
        [str(word) for word in argv],
        env={**clean, **(env or {})},
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
