"""Others' actions on this machine, as far as the workflows use them; an input that isn't known here is an error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools
from tests.github.expressions import matches
from tests.github.runner import Job, Standin
from tests.github.service import Service, git


class Standins:
    """Checkout, artefacts, and the set-up of reconcile with the tools of this machine."""

    def __init__(self, service: Service, tools: Tools, builder: Builder) -> None:
        self._service = service
        self._tools = tools
        self._builder = builder

    @property
    def table(self) -> Mapping[str, Standin]:
        """By the name before the `@`."""
        return {
            "actions/checkout": self.checkout,
            "actions/upload-artifact": self.upload,
            "actions/download-artifact": self.download,
            "$/.github/actions/setup": self.setup,
        }

    def checkout(self, job: Job, given: Mapping[str, str]) -> None:
        """The event's commit, or `ref`, in the workspace or `path`; without `fetch-depth` without history."""
        _known(given, "persist-credentials", "ref", "path", "fetch-depth")
        target = job.workspace / given.get("path", ".")
        commit = given.get("ref", job.run.event.sha)
        target.mkdir(exist_ok=True)
        depth = [] if given.get("fetch-depth") == "0" else ["--depth=1"]
        git("init", "--quiet", "--initial-branch=main", cwd=target)
        git("remote", "add", "origin", f"file://{self._service.origin}", cwd=target)
        git("fetch", "--quiet", *depth, "origin", commit, cwd=target)
        git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=target)

    def upload(self, job: Job, given: Mapping[str, str]) -> None:
        """A file, or what is in a folder, as an artefact of this run."""
        _known(given, "name", "path", "overwrite", "retention-days", "if-no-files-found")
        kept = self._service.artefacts[job.run.id]
        name, path = given["name"], job.workspace / given["path"]
        if set('":<>|*?\\/\r\n') & set(name):
            raise OSError(f"{name} can't be the name of an artefact")
        if name in kept and given.get("overwrite") != "true":
            raise OSError(f"there is an artefact {name} already")
        if not path.exists():
            if given.get("if-no-files-found") != "ignore":
                job.log += f"warning: {path.name} isn't there\n"
            return
        folder = self._service.folder / f"run-{job.run.id}" / "artefacts" / name
        if path.is_dir():
            shutil.copytree(path, folder)
        else:
            folder.mkdir(parents=True)
            shutil.copy(path, folder)
        kept[name] = folder

    def download(self, job: Job, given: Mapping[str, str]) -> None:
        """One artefact into `path`, or each that fits `pattern` into a folder of its own."""
        _known(given, "name", "pattern", "path", "run-id", "github-token")
        run = int(given.get("run-id", job.run.id))
        if run != job.run.id and job.permissions.get("actions") != "read":
            raise OSError("another run's artefacts take `actions: read`")
        kept = self._service.artefacts[run]
        target = job.workspace / given.get("path", ".")
        if "name" in given:
            if given["name"] not in kept:
                raise OSError(f"there is no artefact {given['name']}")
            shutil.copytree(kept[given["name"]], target, dirs_exist_ok=True, symlinks=True)
            return
        for name, folder in kept.items():
            if matches(given["pattern"], name):
                shutil.copytree(folder, target / name, symlinks=True)

    def setup(self, job: Job, given: Mapping[str, str]) -> None:
        """reconcile as it is here, allowed to speak to this machine; buildx and cosign where they are asked for."""
        _known(given, "build", "sign", "upstreams")
        bin = job.temp / "bin"  # noqa: A001 - what such folders are called
        bin.mkdir(exist_ok=True)
        program = f'{sys.executable} -c "from reconciler.cli import run; run()"'
        script = bin / "reconcile"
        script.write_text(f'#!/bin/sh\nverb=$1; shift\nexec {program} "$verb" --allow-private "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        if given.get("build", "true") == "true":
            (bin / "docker").symlink_to(self._builder.docker)
            job.env |= {"DOCKER_CONFIG": str(self._builder.docker_config), "BUILDX_BUILDER": self._builder.name}
        if given.get("sign", "true") == "true":
            (bin / "cosign").symlink_to(self._tools[Tool.COSIGN])
        job.path.append(str(bin))


def _known(given: Mapping[str, str], *names: str) -> None:
    unknown = set(given) - set(names)
    assert not unknown, f"inputs {unknown}, which this stand-in doesn't know"
