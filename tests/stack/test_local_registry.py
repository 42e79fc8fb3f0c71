"""The local registry serves other people's clients: buildx and BuildKit, cosign, crane, oras, skopeo."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.registry import Auth, Lag, LocalRegistry, Manners, Referrers, User
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from tests.stack.running import run_tool

ME = User("me", "s3cret of me", pull=("app/*",), push=("app/*",))
WAYS = {
    "plain": (Manners(), None),
    "referrers": (Manners(referrers=Referrers.API), None),
    "ghcr": (Manners.ghcr(lag=Lag()), Auth(users=(ME,), public=("app/*",))),
}
PLATFORMS = ["linux/amd64", "linux/arm64"]


@dataclass(frozen=True, slots=True)
class Place:
    """A registry, an image of two platforms in it that was pushed by digest, and how tools find their credentials."""

    registry: LocalRegistry
    builder: Builder
    app: str
    digest: Digest
    env: Mapping[str, str]
    auth_file: Path

    @property
    def pinned(self) -> str:
        """The image, by digest."""
        return f"{self.app}@{self.digest}"


@pytest.fixture(scope="module", params=WAYS)
def place(
    request: pytest.FixtureRequest, tools: Tools, builder: Builder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Each kind of registry, with an image that buildx built for two platforms."""
    manners, auth = WAYS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nCOPY file /$TARGETARCH\n")
    (context / "file").write_text("hello\n" * 100_000)
    with LocalRegistry(folder / "registry", manners=manners, auth=auth) as registry:
        config = folder / "docker"
        shutil.copytree(builder.docker_config, config, symlinks=True)
        written = json.loads((config / "config.json").read_text()) if (config / "config.json").exists() else {}
        if auth is not None:
            secret = base64.b64encode(f"{ME.name}:{ME.password}".encode()).decode()
            written["auths"] = {registry.host: {"auth": secret}}
        (config / "config.json").write_text(json.dumps(written))
        builder = replace(builder, docker_config=config)
        env = {**builder.environment(), "HOME": str(folder), "COSIGN_PASSWORD": ""}
        app = f"{registry.host}/app/hello"
        run_tool(
            *builder.command("build", f"--platform={','.join(PLATFORMS)}", f"--metadata-file={folder / 'metadata'}"),
            "--provenance=mode=max,version=v1",
            f"--output=type=image,name={app},push-by-digest=true,name-canonical=true,push=true",
            context,
            env=env,
        )
        digest = Digest.parse(json.loads((folder / "metadata").read_text())["containerimage.digest"])
        assert registry.store.snapshot() == {"app/hello": {}}
        yield Place(registry, builder, app, digest, env, config / "config.json")


def test_buildx_reads_and_tags_what_it_pushed(place: Place) -> None:
    """imagetools finds both platforms, and a tag it creates from one index keeps the digest."""
    raw = run_tool(*place.builder.buildx, "imagetools", "inspect", "--raw", place.pinned, env=place.env).stdout
    assert place.digest.matches(raw.encode())
    platforms = [entry["platform"] for entry in json.loads(raw)["manifests"]]
    assert [f"{p['os']}/{p['architecture']}" for p in platforms] == [*PLATFORMS, "unknown/unknown", "unknown/unknown"]
    run_tool(*place.builder.buildx, "imagetools", "create", "-t", f"{place.app}:1.0.0", place.pinned, env=place.env)
    assert place.registry.store.resolve("app/hello", "1.0.0") == place.digest
    provenance = run_tool(
        *place.builder.buildx, "imagetools", "inspect", "--format", "{{json .Provenance}}", place.pinned, env=place.env
    ).stdout
    assert set(json.loads(provenance)) == set(PLATFORMS)


def test_buildx_pushes_again_without_uploading(place: Place, tmp_path: Path) -> None:
    """A second push of the same content to another repository mounts or finds its blobs."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    for name in ("one", "two"):
        output = f"--output=type=image,name={place.registry.host}/app/again,push-by-digest=true,name-canonical=true"
        metadata = tmp_path / name
        run_tool(
            *place.builder.command("build", "--provenance=false", f"--metadata-file={metadata}"),
            f"{output},push=true",
            tmp_path,
            env={**place.env, "SOURCE_DATE_EPOCH": "0"},
        )
    first, second = (json.loads((tmp_path / name).read_text())["containerimage.digest"] for name in ("one", "two"))
    assert first == second
    assert place.registry.store.manifests("app/again") == (Digest.parse(first),)


def test_crane_finds_everything_whole(place: Place, tools: Tools) -> None:
    """crane validates the image down to its layers, copies it to another repository, and lists its tags."""
    crane = tools[Tool.CRANE]
    run_tool(crane, "copy", place.pinned, f"{place.registry.host}/app/copy:one", env=place.env)
    assert place.registry.store.resolve("app/copy", "one") == place.digest
    assert run_tool(crane, "ls", f"{place.registry.host}/app/copy", env=place.env).stdout == "one\n"
    for platform in PLATFORMS:
        run_tool(crane, "validate", f"--platform={platform}", "--remote", place.pinned, env=place.env)
    missing = run_tool(crane, "digest", f"{place.app}:nothing", env=place.env, check=False)
    assert missing.returncode != 0
    # crane asks with HEAD first, then with GET: what it says is the code of the latter
    assert "MANIFEST_UNKNOWN" in missing.stderr


def test_skopeo_copies_in_and_out(place: Place, tools: Tools, tmp_path: Path) -> None:
    """skopeo copies all platforms to a folder and back, digests unchanged."""
    skopeo = [tools[Tool.SKOPEO], "--insecure-policy"]
    auth = f"--authfile={place.auth_file}"
    folder = f"dir:{tmp_path / 'copy'}"
    run_tool(
        *skopeo,
        "copy",
        "--all",
        "--preserve-digests",
        auth,
        "--src-tls-verify=false",
        f"docker://{place.pinned}",
        folder,
    )
    back = f"docker://{place.registry.host}/app/back:one"
    run_tool(*skopeo, "copy", "--all", "--preserve-digests", auth, "--dest-tls-verify=false", folder, back)
    assert place.registry.store.resolve("app/back", "one") == place.digest
    listed = run_tool(*skopeo, "list-tags", auth, "--tls-verify=false", back.removesuffix(":one")).stdout
    assert json.loads(listed)["Tags"] == ["one"]


def test_oras_attaches_and_discovers(place: Place, tools: Tools, tmp_path: Path) -> None:
    """oras attaches a file to the index and finds it again, through the API or the fallback tag, and pulls it."""
    oras = tools[Tool.ORAS]
    config = f"--registry-config={place.auth_file}"
    (tmp_path / "note.txt").write_text("a note")
    kind = "application/vnd.example.note"
    run_tool(
        *(oras, "attach", config, "--plain-http", f"--artifact-type={kind}", place.pinned, "note.txt:text/plain"),
        cwd=tmp_path,
        env=place.env,
    )
    found = json.loads(
        run_tool(
            *(oras, "discover", config, "--plain-http", "--format=json", f"--artifact-type={kind}", place.pinned),
            env=place.env,
        ).stdout
    )
    (note,) = found.get("referrers") or found.get("manifests")
    listed = place.registry.store.referrers("app/hello", place.digest)
    assert [entry["digest"] for entry in listed if entry["artifactType"] == kind] == [note["digest"]]
    uses_tag = place.digest.fallback_tag in place.registry.store.tags("app/hello")
    assert uses_tag == (place.registry.manners.referrers is not Referrers.API)
    run_tool(
        oras, "pull", config, "--plain-http", "-o", "out", f"{place.app}@{note['digest']}", cwd=tmp_path, env=place.env
    )
    assert (tmp_path / "out" / "note.txt").read_text() == "a note"


@pytest.mark.parametrize("tool", [Tool.COSIGN, Tool.COSIGN2])
def test_cosign_signs_and_verifies(place: Place, tools: Tools, tmp_path: Path, tool: Tool) -> None:
    """Both generations of cosign sign and attest by digest and verify it, and refuse another key."""
    cosign, repository = tools[tool], f"{place.registry.host}/app/{tool}"
    run_tool(tools[Tool.CRANE], "copy", place.pinned, f"{repository}:one", env=place.env)
    env = {**place.env, "HOME": str(tmp_path)}
    for name in ("ours", "other"):
        run_tool(cosign, "generate-key-pair", f"--output-key-prefix={name}", env=env, cwd=tmp_path)
    config = ["--tlog-upload=false"]
    if tool is Tool.COSIGN:
        none = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
        (tmp_path / "none.json").write_text(json.dumps({**none, "rekorTlogConfig": {}, "tsaConfig": {}}))
        config = ["--signing-config=none.json"]
    signed = f"{repository}@{place.digest}"
    (tmp_path / "predicate.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    run_tool(cosign, "sign", "--key=ours.key", *config, "-y", signed, env=env, cwd=tmp_path)
    attest = ["attest", "--key=ours.key", "--type=spdxjson", "--predicate=predicate.json", *config, "-y", signed]
    run_tool(cosign, *attest, env=env, cwd=tmp_path)

    def verify(*words: str) -> int:
        return run_tool(
            cosign, *words, "--insecure-ignore-tlog=true", signed, env=env, cwd=tmp_path, check=False
        ).returncode

    assert verify("verify", "--key=ours.pub") == 0
    assert verify("verify-attestation", "--type=spdxjson", "--key=ours.pub") == 0
    assert verify("verify", "--key=other.pub") != 0
    assert not place.registry.violations


def test_no_secret_reaches_the_storage_host(place: Place) -> None:
    """Whatever client followed a redirect to where blobs are sent from, none showed its token there."""
    stored = place.registry.requests.where(kind="storage")
    assert bool(stored) == place.registry.manners.redirects
    assert {seen.credentials for seen in stored} <= {""}


def test_without_credentials_nothing_is_pushed(place: Place, tools: Tools, tmp_path: Path) -> None:
    """Where tokens are wanted, a client without credentials reads what is public and is denied to push."""
    env = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    crane = tools[Tool.CRANE]
    assert run_tool(crane, "digest", place.pinned, env=env).stdout.strip() == str(place.digest)
    pushed = run_tool(crane, "copy", place.pinned, f"{place.registry.host}/app/stranger:one", env=env, check=False)
    assert (pushed.returncode == 0) == (place.registry.auth is None)
    assert place.registry.store.exists("app/stranger") == (place.registry.auth is None)
