"""The first publication where the registry denies what doesn't exist: settled before anything is built."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.registry import Auth, Lag, Manners, User
from reconciler.local.tokens import PULL, PUSH, Right, TokenServer
from reconciler.local.tokens import User as TokenUser
from reconciler.local.tools import Tools
from tests.stack.running import run_tool
from tests.support.mirrors import LocalMirror, mirror

ME = {"RECONCILE_REGISTRY_USERNAME": "me", "RECONCILE_REGISTRY_PASSWORD": "correct horse"}
READER = {"RECONCILE_REGISTRY_USERNAME": "reader", "RECONCILE_REGISTRY_PASSWORD": "battery staple"}


@pytest.fixture
def env(builder: Builder, tools: Tools) -> Mapping[str, str]:
    """What apply needs to find the tools and the builder."""
    return {
        "PATH": f"{builder.docker.parent}{os.pathsep}{tools.search_path}",
        "DOCKER_CONFIG": str(builder.docker_config),
    }


@pytest.fixture
def m(tmp_path: Path, base_images: BaseImages) -> Iterator[LocalMirror]:
    """An empty registry with GHCR's manners, its lag of 1.5 s included; upstream released two versions."""
    auth = Auth(users=(User("me", "correct horse"), User("reader", "battery staple", push=())))
    with mirror(tmp_path, manners=Manners.ghcr(lag=Lag(seconds=1.5)), auth=auth) as made:
        made.released("1.0.0", "1.1.0")
        made.write("mirror", more=f"sbom-generator: {base_images.scanner}\n")
        (tmp_path / "key").write_text(made.key.cosign_pem(""))
        yield made


def test_new_is_settled_and_published(m: LocalMirror, builder: Builder, env: Mapping[str, str]) -> None:
    """Planned anonymously, applied by that hash with credentials; then it is said that nobody else can pull it."""
    status, out, _ = m.run("plan", "--format=json")
    plan = json.loads(out)
    assert status == 0
    assert [change["change"].get("presumed_new") for change in plan["changes"]] == [True, True, None]
    flags = [f"--builder={builder.name}", f"--key={m.folder / 'key'}", "--lag=1.6", f"--expect-plan={plan['hash']}"]
    status, out, err = m.run("apply", *flags, env={**env, **ME})
    assert status == 0, out + err
    assert "3 of 3 changes done" in out
    assert f"nobody can pull {m.registry.host}/mirror/hello without credentials" in " ".join(out.split())
    status, out, err = m.run("plan", env=ME)
    assert (status, out) == (0, "Nothing to do: no changes, all 3 tags and pointers are as wanted.\n"), err
    # private and known: to those who may not look it is unknown, never new again
    assert m.run("plan")[0] == 1


def test_without_the_right_to_push_nothing_is_built(m: LocalMirror, builder: Builder, env: Mapping[str, str]) -> None:
    """It can't be told whether it is new: refused before anything is built, naming the way to say it."""
    flags = [f"--builder={builder.name}", f"--key={m.folder / 'key'}"]
    status, out, err = m.run("apply", *flags, env={**env, **READER})
    assert status == 1, out + err
    assert "whether it is new can't be settled" in " ".join(out.split())
    assert "write `create: [hello]` in the desired file" in " ".join(out.split())
    assert m.registry.store.repositories() == ()


def test_on_a_registry_of_others_with_bearer_tokens(
    tmp_path: Path, tools: Tools, builder: Builder, base_images: BaseImages, env: Mapping[str, str]
) -> None:
    """CNCF Distribution behind a token server: only who may push publishes, and crane reads what came of it."""
    may_push = TokenUser("me", "correct horse", (Right("mirror/*", PUSH),))
    with (
        TokenServer([may_push], anonymous=[Right("mirror/*", PULL)]) as tokens,
        CncfRegistry(tools, tmp_path / "cncf", tokens=tokens) as registry,
        mirror(tmp_path / "m") as m,
    ):
        m.released("1.0.0")
        m.write(
            "mirror",
            (m.desired / "mirror.yaml").read_text().replace(m.registry.host, registry.host),
            f"sbom-generator: {base_images.scanner}\n",
        )
        key = tmp_path / "key"
        key.write_text(m.key.cosign_pem(""))
        flags = [f"--builder={builder.name}", f"--key={key}"]
        status, out, err = m.run("apply", *flags, env=env)
        assert status == 1
        assert "apply can't finish, so nothing was done" in err
        assert "log in with an account that may push" in err
        status, out, err = m.run("apply", *flags, env={**env, **ME})
        assert status == 0, out + err
        assert m.run("plan")[1] == "Nothing to do: no changes, all 2 tags and pointers are as wanted.\n"
        index = json.loads(run_tool(tools[Tool.CRANE], "manifest", f"{registry.host}/mirror/hello:latest").stdout)
        runnable = {e["platform"]["architecture"] for e in index["manifests"] if e["platform"]["os"] == "linux"}
        assert runnable == {"amd64", "arm64"}
        secret = ME["RECONCILE_REGISTRY_PASSWORD"]
        assert secret not in out + err
