"""The tools that everything else in this folder stands on do what we need of them."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ToolError
from reconciler.local import cncf, images
from reconciler.local.builder import Builder, private_builder
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.engine import Engine
from reconciler.local.images import BaseImages
from reconciler.local.tokens import ALL, PULL, Right, TokenServer, User
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.reference import DigestRef, Repository
from tests.stack.running import run_tool

PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture(scope="module")
def app(
    builder: Builder, registry: CncfRegistry, base_images: BaseImages, tmp_path_factory: pytest.TempPathFactory
) -> DigestRef:
    """An image for two platforms, pushed by digest, with provenance and an SBOM."""
    context = tmp_path_factory.mktemp("app")
    (context / "Dockerfile").write_text(
        f"FROM {base_images.busybox}\nRUN uname -m > /machine && echo \"a 'b\" > '/q\"'\n"
    )
    target = Repository.parse(f"{registry.host}/toolchain/app")
    run_tool(
        *builder.command("build", f"--platform={','.join(PLATFORMS)}", f"--metadata-file={context / 'metadata'}"),
        "--provenance=mode=max,version=v1",
        f"--sbom=generator={base_images.scanner}",
        f"--output=type=image,name={target},push-by-digest=true,name-canonical=true,push=true",
        context,
        env=builder.environment(),
    )
    return target.at(Digest.parse(json.loads((context / "metadata").read_text())["containerimage.digest"]))


def test_run_steps_ran_on_each_platform(tools: Tools, app: DigestRef) -> None:
    """A RUN step of each platform runs a program of that architecture."""
    seen = {}
    for platform in PLATFORMS:
        done = subprocess.run(
            [tools[Tool.CRANE], "export", f"--platform={platform}", str(app), "-"], capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tree:
            file = tree.extractfile("machine")
            assert file is not None
            seen[platform] = file.read().decode().strip()
    assert seen == {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}


def test_push_by_digest_makes_no_tag(tools: Tools, app: DigestRef) -> None:
    """What is pushed by digest can be pulled by digest only."""
    done = run_tool(tools[Tool.CRANE], "ls", app.repository, check=False)
    assert done.stdout == ""
    assert run_tool(tools[Tool.CRANE], "digest", app).stdout.strip() == str(app.digest)


def test_sbom_and_provenance_come_back(builder: Builder, app: DigestRef) -> None:
    """buildx reads back an SPDX document and an SLSA v1 provenance for each platform, hostile file names included."""
    sbom, provenance = (_inspect(builder, app, kind) for kind in ("SBOM", "Provenance"))
    assert set(sbom) == set(provenance) == set(PLATFORMS)
    for platform in PLATFORMS:
        document = sbom[platform]["SPDX"]
        assert document["spdxVersion"] == "SPDX-2.3"
        names = {file["fileName"] for file in document["files"]}
        assert {"./machine", './q"'} <= names
        assert "buildDefinition" in provenance[platform]["SLSA"]


def _inspect(builder: Builder, app: DigestRef, kind: str) -> dict[str, Any]:
    words = ["imagetools", "inspect", "--format", f"{{{{json .{kind}}}}}", str(app)]
    found: dict[str, Any] = json.loads(run_tool(*builder.buildx, *words, env=builder.environment()).stdout)
    return found


def test_base_images_are_reproducible(
    tools: Tools, builder: Builder, registry: CncfRegistry, base_images: BaseImages
) -> None:
    """The same tools make the same base images."""
    again = images.make(tools, builder, registry.host, namespace="again")
    assert again.busybox.digest == base_images.busybox.digest


def test_everyone_reads_the_same_index(tools: Tools, app: DigestRef, tmp_path: Path) -> None:
    """crane, oras and skopeo agree on the bytes of the index."""
    crane = run_tool(tools[Tool.CRANE], "manifest", app).stdout
    oras = run_tool(tools[Tool.ORAS], "manifest", "fetch", "--plain-http", app).stdout
    skopeo = run_tool(tools[Tool.SKOPEO], "inspect", "--raw", "--tls-verify=false", f"docker://{app}").stdout
    assert json.loads(crane) == json.loads(oras) == json.loads(skopeo)
    assert app.digest.matches(skopeo.encode())


@pytest.mark.parametrize("tool", [Tool.COSIGN, Tool.COSIGN2])
def test_cosign_signs_and_verifies(tools: Tools, builder: Builder, app: DigestRef, tool: Tool, tmp_path: Path) -> None:
    """Both generations of cosign sign with a key, without any service, and refuse another key."""
    env = {"COSIGN_PASSWORD": "", "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    for name in ("ours", "other"):
        run_tool(tools[tool], "generate-key-pair", f"--output-key-prefix={name}", env=env, cwd=tmp_path)
    target = app.repository.registry + f"/toolchain/{tool}"
    run_tool(tools[Tool.CRANE], "copy", app, f"{target}:one")
    signed = f"{target}@{app.digest}"
    config: list[str] = ["--tlog-upload=false"]
    if tool is Tool.COSIGN:
        off = [f"--no-default-{service}" for service in ("rekor", "fulcio", "oidc", "tsa")]
        run_tool(tools[tool], "signing-config", "create", *off, "--out=config.json", env=env, cwd=tmp_path)
        config = ["--signing-config=config.json"]
    run_tool(tools[tool], "sign", "--key=ours.key", *config, "-y", signed, env=env, cwd=tmp_path)

    def verify(key: str) -> int:
        words = ("verify", f"--key={key}", "--insecure-ignore-tlog=true", signed)
        return run_tool(tools[tool], *words, env=env, cwd=tmp_path, check=False).returncode

    assert verify("ours.pub") == 0
    assert verify("other.pub") != 0


def test_registry_keeps_what_it_has_over_a_restart(tools: Tools, app: DigestRef, tmp_path: Path) -> None:
    """A registry that is stopped and started again has the same address and the same images, and deletes when asked."""
    with CncfRegistry(tools, tmp_path / "registry") as registry:
        copy = f"{registry.host}/kept/app"
        run_tool(tools[Tool.CRANE], "copy", app, f"{copy}:one")
        before = registry.host
        registry.stop()
        assert run_tool(tools[Tool.CRANE], "digest", f"{copy}:one", check=False).returncode != 0
        registry.start()
        assert registry.host == before
        assert run_tool(tools[Tool.CRANE], "digest", f"{copy}:one").stdout.strip() == str(app.digest)
        run_tool(tools[Tool.CRANE], "delete", f"{copy}@{app.digest}")
        assert run_tool(tools[Tool.CRANE], "digest", f"{copy}@{app.digest}", check=False).returncode != 0


def test_registry_with_tokens_tells_users_apart(tools: Tools, app: DigestRef, tmp_path: Path) -> None:
    """With bearer tokens everyone may pull where that is allowed, and push only to what is theirs."""
    secret = "a secret & <that>"
    users = [User("me", secret, (Right("mine/*", ALL),))]
    with (
        TokenServer(users, anonymous=[Right("mine/public", PULL)]) as tokens,
        CncfRegistry(tools, tmp_path / "registry", tokens=tokens) as registry,
    ):
        (tmp_path / "me").mkdir()
        me, nobody = ({"DOCKER_CONFIG": str(tmp_path / name)} for name in ("me", "nobody"))
        login = (tools[Tool.CRANE], "auth", "login", registry.host, "-u", "me", "--password-stdin")
        run_tool(*login, stdin=secret, env=me)

        def copies(name: str, env: dict[str, str], tag: str = "one") -> bool:
            words = ("copy", app, f"{registry.host}/{name}:{tag}")
            return run_tool(tools[Tool.CRANE], *words, env=env, check=False).returncode == 0

        def reads(name: str, env: dict[str, str]) -> bool:
            words = ("digest", f"{registry.host}/{name}:one")
            return run_tool(tools[Tool.CRANE], *words, env=env, check=False).returncode == 0

        assert copies("mine/public", me)
        assert copies("mine/private", me)
        assert not copies("theirs/app", me)
        assert not copies("mine/public", nobody, "two")
        assert (reads("mine/public", nobody), reads("mine/private", nobody)) == (True, False)
        assert reads("mine/private", me)


def test_docker_pushes_by_tokens(tools: Tools, builder: Builder, base_images: BaseImages, tmp_path: Path) -> None:
    """BuildKit takes buildx's credentials for the registry with tokens, and is refused without them."""
    users = [User("me", "pass", (Right("mine/*", ALL),))]
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    with TokenServer(users) as tokens, CncfRegistry(tools, tmp_path / "registry", tokens=tokens) as registry:
        config = {**builder.environment(), "BUILDX_CONFIG": str(builder.docker_config / "buildx")}
        output = f"--output=type=image,name={registry.host}/mine/app,push-by-digest=true,push=true"
        build = (*builder.command("build", output), tmp_path)
        denied = run_tool(*build, env=config, check=False)
        assert denied.returncode != 0
        login = (tools[Tool.CRANE], "auth", "login", registry.host, "-u", "me", "--password-stdin")
        run_tool(*login, stdin="pass", env={"DOCKER_CONFIG": str(tmp_path / "login")})
        own = tmp_path / "login" / "cli-plugins"
        own.mkdir()
        (own / "docker-buildx").symlink_to(tools[Tool.BUILDX])
        words = [str(word).replace(str(builder.docker_config), str(tmp_path / "login")) for word in build]
        run_tool(*words, env={**config, "DOCKER_CONFIG": str(tmp_path / "login")})


def test_a_free_port_that_is_taken_meanwhile(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody else takes the port between look and bind, another is tried; one that was named stays."""
    with socket.socket() as other, socket.socket() as free:
        for sock in (other, free):
            sock.bind(("127.0.0.1", 0))
        other.listen()
        taken, left = (sock.getsockname()[1] for sock in (other, free))
        free.close()
        ports = iter((taken, left))
        monkeypatch.setattr(cncf, "_free_port", lambda: next(ports))
        with CncfRegistry(tools, tmp_path / "registry") as registry:
            assert registry.host == f"127.0.0.1:{left}"
        with pytest.raises(ToolError, match="docker-registry ended at once") as caught:
            CncfRegistry(tools, tmp_path / "named", port=taken).start()
        assert any("address already in use" in line for line in caught.value.tail)


def test_builders_that_cant_be_made(tools: Tools, engine: Engine, tmp_path: Path) -> None:
    """A docker without buildx, and one that isn't there, are errors that say what failed."""
    broken = Tools({**tools.paths, Tool.BUILDX: tmp_path / "none"})
    with pytest.raises(ToolError, match="docker buildx create failed"), private_builder(broken, engine):
        raise AssertionError("it made one")
    broken = Tools({**tools.paths, Tool.DOCKER: tmp_path / "none"})
    with pytest.raises(ToolError, match="docker can't be started"), private_builder(broken, engine):
        raise AssertionError("it made one")


def test_a_base_image_that_cant_be_pushed(tools: Tools, builder: Builder) -> None:
    """A registry that isn't there: the error holds what buildx said last."""
    with pytest.raises(ToolError, match=r"building 127\.0\.0\.1:1/base/busybox failed") as caught:
        images.make(tools, builder, "127.0.0.1:1")
    assert any("refused" in line for line in caught.value.tail)
