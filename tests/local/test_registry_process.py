"""The local registry in a process of its own: started, killed, started again, and counted from outside."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from reconciler.errors import ToolError
from reconciler.local.registry import LocalRegistry, Store, process
from reconciler.model.digest import Digest
from tests.support import images
from tests.support.nouns import AMD64
from tests.support.registries import basic

HELLO = "mirror/hello"


def test_what_was_put_into_the_folder_is_served(tmp_path: Path) -> None:
    """A store filled in this process is served by another, with the latency, tokens and manners asked for."""
    store = Store(tmp_path)
    whole = images.built(store, HELLO, [AMD64], tag="1")
    store.close()
    options = (
        "--latency-ms",
        "1",
        "--ghcr",
        "--lag",
        "0",
        "--login",
        "me",
        "--public",
        "none/*",
        "--referrers",
        "page",
    )
    with (
        process.serve(tmp_path, *options, environment={"REGISTRY_PASSWORD": "s3cret"}) as served,
        httpx.Client(base_url=served.url, trust_env=False) as client,
    ):
        assert served.url == f"http://{served.host}"
        assert client.get(f"/v2/{HELLO}/manifests/1").status_code == 401
        scope = {"scope": f"repository:{HELLO}:pull"}
        given = client.get("/token", params=scope, headers=basic("me", "s3cret")).json()["token"]
        shown = {"Authorization": f"Bearer {given}", "Accept": images.OCI_INDEX}
        assert client.get(f"/v2/{HELLO}/manifests/1", headers=shown).content == whole.data
        assert client.get("/control/requests").status_code == 404
        referrers = client.get(f"/v2/{HELLO}/referrers/{whole.digest}", headers=shown)
        assert referrers.text == "404 page not found\n"
    assert served.process.returncode == 0


def test_requests_are_counted_from_outside(tmp_path: Path) -> None:
    """/control/ tells and forgets the tally and sets the latency, isn't counted itself, and refuses nonsense."""
    with (
        process.serve(tmp_path, "--control") as served,
        httpx.Client(base_url=served.url, trust_env=False) as client,
    ):
        client.get("/v2/")
        client.get("/v2/nobody/manifests/1")
        assert client.get("/control/requests").json() == {
            "tally": {"GET base": 1, "GET manifest": 1},
            "statuses": {"200": 1, "404": 1},
            "max_in_flight": 1,
        }
        assert client.delete("/control/requests").status_code == 204
        assert client.get("/control/requests").json()["tally"] == {}
        assert client.put("/control/latency", content="2.5").status_code == 204
        for nonsense in ("", "-1", "nan", "soon"):
            assert client.put("/control/latency", content=nonsense).status_code == 400
        assert client.get("/control/other").status_code == 404


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """Where it can't listen, or the folder is in use, it says so, and what to do, and ends with 1."""
    command = [sys.executable, "-m", "reconciler.local.registry"]
    with LocalRegistry(tmp_path / "one") as registry:
        for folder, says in (("two", "can't listen"), ("one", "another registry uses this folder")):
            done = subprocess.run(
                [*command, "--root", str(tmp_path / folder), "--port", str(registry.port)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stdout) == (1, "")
            assert says in done.stderr
            assert "stop" in done.stderr
            assert "Traceback" not in done.stderr
        with pytest.raises(ToolError, match="didn't start"):
            process.start(tmp_path / "one")


def test_a_kill_at_any_time_leaves_no_half_content(tmp_path: Path) -> None:
    """Killed while clients push, it starts again with whole content only: what was acknowledged, and all tags whole."""
    acknowledged: list[str] = []
    served = process.start(tmp_path)
    big = threading.Event()

    def push() -> None:
        with httpx.Client(base_url=served.url, trust_env=False) as client:
            for number in range(10_000):
                data = f"{number} ".encode() * 20_000
                digest = str(Digest.of(data))
                try:
                    answer = client.post(f"/v2/{HELLO}/blobs/uploads/", params={"digest": digest}, content=data)
                except httpx.HTTPError:
                    return
                if answer.status_code == 201:
                    acknowledged.append(digest)
                if number == 20:
                    big.set()

    pushing = threading.Thread(target=push)
    pushing.start()
    assert big.wait(30)
    served.process.kill()
    pushing.join(30)
    process.stop(served.process)
    store = Store(tmp_path)
    blobs = {digest: store.blob(HELLO, Digest.parse(digest)) for digest in acknowledged}
    assert all(data is not None and str(Digest.of(data)) == digest for digest, data in blobs.items())
    assert len(blobs) > 20
    for path in (tmp_path / "content").rglob("*"):
        if path.is_file():
            assert Digest.of(path.read_bytes()).hex == path.name
    store.close()
