"""Looks at each tag at the moment it is put: it must be whole and signed by then (rule 2)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import ReconcileError
from reconciler.local.registry import View
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform

_BUNDLE = "application/vnd.dev.sigstore.bundle"
_EMPTY = ("unknown", "unknown")  # how attestation manifests name their platform (BuildKit, attestation-storage.md)


class Witness:
    """A hook of the local registry; `seen` are the tags that it found whole and signed when they were put."""

    def __init__(self, namespace: str, platforms: Iterable[Platform]) -> None:
        self._within = f"{namespace}/"
        self._platforms = frozenset(platforms)
        self._lock = threading.Lock()
        self.seen: list[str] = []

    def __call__(self, repository: str, tag: str, digest: Digest, view: View) -> None:
        """Raises where the tag isn't finished; the registry keeps that among its violations."""
        if not repository.startswith(self._within) or tag.startswith("sha256-"):
            return
        manifest = view.manifest(repository, digest)
        lacking = self._platforms - _platforms(manifest.json() if manifest is not None else {})
        if lacking:
            raise ReconcileError(f"it lacks {', '.join(map(str, sorted(lacking)))}", where=f"{repository}:{tag}")
        attached = [*view.referrers(repository, digest), *view.fallback(repository, digest)]
        if not any(str(found.get("artifactType", "")).startswith(_BUNDLE) for found in attached):
            raise ReconcileError("nothing signs it", where=f"{repository}:{tag}")
        with self._lock:
            self.seen.append(f"{repository}:{tag}")


def _platforms(index: Mapping[str, Any]) -> frozenset[Platform]:
    found = set()
    for child in index.get("manifests", ()):
        said = child.get("platform", {})
        named = (said.get("os", ""), said.get("architecture", ""))
        if named != _EMPTY and all(named):
            found.add(Platform.of(*named, said.get("variant", "")))
    return frozenset(found)
