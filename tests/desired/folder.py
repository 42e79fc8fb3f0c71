"""Desired folders for tests: small valid files, and what loading them says."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

from reconciler.desired.loader import load
from reconciler.desired.schema import App
from reconciler.desired.state import Desired
from reconciler.errors import DesiredError
from reconciler.model.release import Release
from reconciler.model.version import Version

DATA = Path(__file__).parent.parent / "data"

MIRROR = """\
registry: ghcr.io
namespace: me/mirror
source: https://github.com/me/mirror
signing:
  keyless:
    issuer: https://token.actions.githubusercontent.com
    identity: https://github.com/me/mirror/.github/workflows/apply.yml@refs/heads/main
"""

APP = """\
app: app
upstream: {github: me/app, tag: "v{version}"}
images:
  app: {}
"""


def write(folder: Path, **files: str) -> Path:
    """A folder with mirror.yaml and these files beside it: `app="…"` is app.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"mirror": MIRROR, **files}.items():
        (folder / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    return folder


def mistakes(folder: Path, *, allow_local: bool = False) -> list[str]:
    """What loading says is wrong, one line each, without the folder's own path; empty where nothing is."""
    try:
        load(folder, allow_local=allow_local)
    except DesiredError as error:
        return [str(problem).removeprefix(f"{folder.as_posix()}/") for problem in error.problems]
    return []


def one(folder: Path, app: str = APP, mirror: str = MIRROR) -> tuple[Desired, App]:
    """The desired state with one app called `app`."""
    desired = load(write(folder, app=app, mirror=mirror))
    return desired, desired.app("app")


def releases(*versions: str, tag: str = "v{version}", commit: str = "c" * 40) -> list[Release]:
    """Releases with these versions."""
    return [Release(Version.parse(v), tag.replace("{version}", v), commit, "2026-01-01T00:00:00Z") for v in versions]


def outline() -> list[Release]:
    """Every release of Outline whose tag is `v…`, as they were on a day in 2026."""
    lines = (DATA / "outline-tags.txt").read_text(encoding="utf-8").splitlines()
    tags = [line.split() for line in lines]
    return [Release(Version.parse(tag[1:]), tag, commit, date) for tag, commit, date in tags if tag.startswith("v")]


def mattermost() -> list[Release]:
    """Every release of Mattermost in its version archive on a day in 2026."""
    data = json.loads((DATA / "mattermost-releases.json").read_text(encoding="utf-8"))
    return releases(*(release["version"] for release in data["releases"]))
