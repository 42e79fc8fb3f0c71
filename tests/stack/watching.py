"""Somebody who looks at tags all the time, as people who pull do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from reconciler.model.reference import TagRef

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"


class Watcher:
    """Asks for every tag over and over; `seen` counts answers, `wrong` has what nobody should ever see."""

    def __init__(self, tags: Sequence[TagRef], platforms: Sequence[str]) -> None:
        self._tags = tags
        self._platforms = set(platforms)
        self._end = threading.Event()
        self.asked = 0
        self.seen: set[str] = set()
        self.wrong: list[str] = []

    def watch(self) -> None:
        """Until `end`, and once more after it: what is there then was seen, however fast it came."""
        with httpx.Client(headers={"Accept": ACCEPT}, trust_env=False) as client:
            ended = False
            while not ended:
                ended = self._end.is_set()
                for tag in self._tags:
                    self._look(client, tag)

    def end(self) -> None:
        """Enough."""
        self._end.set()

    def _look(self, client: httpx.Client, tag: TagRef) -> None:
        self.asked += 1
        base = f"http://{tag.repository.registry}/v2/{tag.repository.name}/manifests"
        answer = client.get(f"{base}/{tag.tag}")
        # the CNCF registry answers 500 while it writes a tag: nobody can pull then
        if answer.status_code != 200:
            return
        self.seen.add(tag.tag)
        entries = answer.json().get("manifests", [])
        there = {f"{e['platform']['os']}/{e['platform']['architecture']}" for e in entries}
        if not self._platforms <= there:
            self.wrong.append(f"{tag.tag} has only {sorted(there)}")
        attached = client.get(f"{base}/{answer.headers['docker-content-digest'].replace(':', '-')}")
        listed = attached.json().get("manifests", []) if attached.status_code == 200 else []
        kinds = {e.get("annotations", {}).get("dev.sigstore.bundle.predicateType") for e in listed}
        if SIGN not in kinds:
            self.wrong.append(f"{tag.tag} isn't signed")


@contextmanager
def watched(tags: Sequence[TagRef], platforms: Sequence[str]) -> Iterator[Watcher]:
    """A watcher in a thread of its own."""
    watcher = Watcher(tags, platforms)
    thread = threading.Thread(target=watcher.watch)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.end()
        thread.join()
