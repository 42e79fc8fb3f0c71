"""The words that buildx and cosign are given, what they may see of the environment, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.apply.annotations import annotations_of
from reconciler.apply.assemble import assemble
from reconciler.apply.buildx import BuildOptions, build_command, cache_words, parse_inspect
from reconciler.apply.cosign import Cosign
from reconciler.apply.look import emulated
from reconciler.apply.runconfig import RunConfig
from reconciler.apply.smoke import dockerfile, machine_of, output_of
from reconciler.apply.source import Context
from reconciler.apply.toolbox import Toolbox
from reconciler.errors import ToolError, ToolMissing
from reconciler.model.digest import Digest
from reconciler.model.evidence import ANNOTATION_RECIPE, ANNOTATION_VERSION
from reconciler.model.observed import Child
from reconciler.model.platform import Platform
from reconciler.model.recipe import Smoke
from reconciler.model.signing import Identity, Keyless, KeyPair, Policy, PublicKey, Signing
from reconciler.registry.descriptor import Manifest
from reconciler.registry.manifests import Index, parse
from tests.support.nouns import AMD64, ARM64, ARMV7, HELLO, child, digest, wanted

KEY = PublicKey("pem")
US = Identity("https://issuer", "https://us")
BY_KEY = Signing(KeyPair(KEY, "key.pem"), Policy((KEY,)))
BY_TOKEN = Signing(Keyless(US), Policy((US,)))
SECRETS = {
    "GITHUB_TOKEN": "t1",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t2",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "u",
    "ACTIONS_RUNTIME_TOKEN": "t3",
    "SIGSTORE_ID_TOKEN": "t4",
    "COSIGN_PASSWORD": "t5",
    "RECONCILE_REGISTRY_PASSWORD": "t6",
    "AWS_SECRET_ACCESS_KEY": "t7",
    "MY_KEY": "t8",
}


@pytest.fixture
def toolbox(tmp_path: Path) -> Iterator[Toolbox]:
    """With every secret in its environment, and programs that say what they see."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "docker"
    program.write_text('#!/bin/sh\nenv\nfor word; do echo "word: $word"; done\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "bin" / "cosign").symlink_to(program)
    environ = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "DOCKER_HOST": "unix:///x",
        **SECRETS,
    }
    with RunConfig("registry.example", username="u", password="p", environ=environ, base=tmp_path) as config:
        yield Toolbox(config, tmp_path / "logs", environ)


def test_a_build_command() -> None:
    """Everything that decides the result stands in it; text from upstream is one word each, behind its flag."""
    of = wanted()
    base = HELLO.tag("base")
    recipe = replace(
        of.recipe,
        args=(("ARCH", "{arch}"), ("X", "$(rm -rf /); --push")),
        labels=(("l", "{platform}"),),
        bases=(("node:20", base),),
        target="final",
        cache="gha",
    )
    words = build_command(
        recipe,
        ARM64,
        HELLO,
        Context(Path("/src"), Path("/src/Dockerfile"), 1),
        Path("/m.json"),
        bases={"node:20": HELLO.at(digest("base"))},
        annotations={"a": "b"},
        options=BuildOptions("b", "scan@sha256:1", flags=("--network=host",)),
    )
    assert words[:3] == ["build", "--builder=b", "--platform=linux/arm64"]
    output = next(word for word in words if word.startswith("--output="))
    for part in ("push-by-digest=true", "name-canonical=true", "push=true", f"name={HELLO}", "rewrite-timestamp=true"):
        assert part in output
    for word in (
        "--provenance=mode=max,version=v1",
        "--sbom=generator=scan@sha256:1",
        "--build-arg=ARCH=arm64",
        "--build-arg=X=$(rm -rf /); --push",
        "--label=l=linux/arm64",
        "--annotation=manifest:a=b",
        f"--build-context=node:20=docker-image://{HELLO}@{digest('base')}",
        "--target=final",
        "--network=host",
        "--cache-from=type=gha,scope=mirror-hello-linux-arm64",
    ):
        assert word in words
    assert words[-2:] == ["--", "/src"]


def test_caches_are_apart_per_image_and_platform() -> None:
    """gha's default scope is one for all builds; a registry's cache is no tag among the image's."""
    options = BuildOptions(cache=Path("/cache"))
    found = [cache_words(kind, HELLO, p, options) for kind in ("gha", "registry", "local") for p in (AMD64, ARMV7)]
    assert len({words[0] for words in found}) == 6
    assert f"{HELLO}/cache:linux-arm-v7" in found[3][0]
    assert cache_words("", HELLO, AMD64, options) == []
    assert cache_words("local", HELLO, AMD64, BuildOptions()) == []


async def test_a_build_sees_no_secret(toolbox: Toolbox) -> None:
    """buildx gets the builder's address and a private docker config, and no token; gha's for its cache alone."""
    said = (await toolbox.buildx(["x"], name="x", limit=60, capture=True)).output.decode()
    assert not [name for name in SECRETS if f"{name}=" in said]
    assert "DOCKER_HOST=unix:///x" in said
    assert f"DOCKER_CONFIG={toolbox.config.docker}" in said
    assert "word: buildx\nword: x" in said
    cached = (await toolbox.buildx(["x"], name="x", limit=60, capture=True, gha_cache=True)).output.decode()
    assert "ACTIONS_RUNTIME_TOKEN=t3" in cached
    assert "ACTIONS_ID_TOKEN" not in cached


@pytest.mark.parametrize(
    ("signing", "key", "token", "sees"),
    [
        (BY_TOKEN, "", False, {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "SIGSTORE_ID_TOKEN"}),
        (BY_TOKEN, "", True, set()),
        (BY_KEY, "", False, {"COSIGN_PASSWORD"}),
        (BY_KEY, "env://MY_KEY", False, {"COSIGN_PASSWORD", "MY_KEY"}),
        (BY_KEY, "awskms:///alias/x", False, {"COSIGN_PASSWORD", "AWS_SECRET_ACCESS_KEY"}),
    ],
)
async def test_a_signer_sees_its_own_secret_alone(
    toolbox: Toolbox, tmp_path: Path, signing: Signing, key: str, token: bool, sees: set[str]
) -> None:
    """The OIDC variables for keyless, the password and the KMS's for a key; secrets never stand in the words."""
    file = tmp_path / "token"
    cosign = Cosign(toolbox, signing, key=key, token=file if token else None)
    with pytest.raises(ToolError, match="left no bundle"):
        await cosign.sign(HELLO.at(digest("x")))
    log = max((tmp_path / "logs").iterdir()).read_text(encoding="utf-8")
    assert {name for name in SECRETS if f"\n{name}=" in f"\n{log}"} == sees
    words = [line.removeprefix("word: ") for line in log.splitlines() if line.startswith("word: ")]
    assert words[:3] == ["sign", "--upload=false", "--yes"]
    assert words[-1] == str(HELLO.at(digest("x")))
    assert not set(SECRETS.values()) & set(words)
    if isinstance(signing.method, KeyPair):
        assert words[3:5] == ["--key", key or "key.pem"]
    assert ("--identity-token" in words) == token


def test_a_signer_that_lacks_something_says_so(toolbox: Toolbox, tmp_path: Path) -> None:
    """Before anything is done: no key, a key that isn't there, no token."""
    bare = replace(toolbox, environ={})
    (tmp_path / "key.pem").touch()
    assert "--key" in Cosign(bare, replace(BY_KEY, method=KeyPair(KEY))).lacks()
    assert "isn't there" in Cosign(bare, BY_KEY).lacks()
    assert "isn't set" in Cosign(bare, BY_KEY, key="env://MY_KEY").lacks()
    assert Cosign(toolbox, BY_KEY, key="env://MY_KEY").lacks() == ""
    assert Cosign(bare, BY_KEY, key=str(tmp_path / "key.pem")).lacks() == ""
    assert Cosign(bare, BY_KEY, key="gcpkms://x").lacks() == ""
    assert "id-token: write" in Cosign(bare, BY_TOKEN).lacks()
    assert Cosign(toolbox, BY_TOKEN).lacks() == ""
    assert Cosign(bare, BY_TOKEN, token=tmp_path / "key.pem").lacks() == ""


@pytest.mark.parametrize(
    ("version", "help_text", "good"),
    [
        ("v3.1.0", "", True),
        ("v3.2.0-rc1", "", True),
        ("v4.0.0", "", True),
        ("v3.0.6", "", False),
        ("v2.6.2", "", False),
        ("devel", "--use-signing-config=true:", True),
        ("devel", "--use-signing-config=false:", False),
        ("devel", "", False),
    ],
)
async def test_cosign_must_be_new_enough(
    toolbox: Toolbox, tmp_path: Path, version: str, help_text: str, good: bool
) -> None:
    """3.1 or newer; where a distribution built it without a version, what it can do counts."""
    program = tmp_path / "bin" / "cosign"
    program.unlink()
    said = json.dumps({"gitVersion": version})
    program.write_text(f"#!/bin/sh\n[ $1 = version ] && echo '{said}' || echo '{help_text}'\n", encoding="utf-8")
    program.chmod(0o755)
    cosign = Cosign(toolbox, BY_KEY)
    if good:
        await cosign.check()
    else:
        with pytest.raises(ToolMissing, match=r"3\.1 or newer"):
            await cosign.check()


INSPECT = """\
Name:          two
Driver:        docker-container
Last Activity: 2026-11-24 06:31:01 +0000 UTC

Nodes:
Name:             two0
Endpoint:         unix:///var/run/docker.sock
Driver Options:   env.A="b:c"
Status:           running
BuildKit version: v0.25.1
Platforms:        linux/amd64, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.executor:         oci
Name:             two1
Endpoint:         ssh://arm
Status:           running
Platforms:        linux/arm64*, linux/arm/v7
"""


def test_inspect_is_read() -> None:
    """Name and driver of the builder, the platforms of all its nodes."""
    found = parse_inspect(INSPECT)
    assert (found.name, found.driver) == ("two", "docker-container")
    assert {AMD64, ARM64, ARMV7, Platform.parse("linux/386")} <= found.platforms
    assert parse_inspect("").driver == ""


def test_emulation_is_found_where_it_works_in_containers(tmp_path: Path) -> None:
    """An entry of binfmt_misc counts if it is enabled, for that architecture, and opened beforehand (flag F)."""

    def entry(name: str, *lines: str) -> None:
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    assert not emulated(ARM64, tmp_path / "none")
    entry("status", "enabled")
    entry("a", "enabled", "interpreter /usr/bin/qemu-aarch64-static", "flags: OC", "offset 0")
    entry("b", "disabled", "interpreter /usr/bin/qemu-aarch64", "flags: F")
    assert not emulated(ARM64, tmp_path)
    entry("c", "enabled", "interpreter /usr/bin/qemu-aarch64", "flags: POCF", "offset 0")
    assert emulated(ARM64, tmp_path)
    assert not emulated(ARMV7, tmp_path)
    assert not emulated(Platform.parse("windows/arm64"), tmp_path)


def test_the_index_is_the_same_however_its_parts_came() -> None:
    """Sorted by platform, attestations last, read back as what went in."""
    children = {
        p: Child(digest(f"i{p}"), "application/vnd.oci.image.manifest.v1+json", 1, digest(f"a{p}"), 2)
        for p in (ARMV7, AMD64, ARM64)
    }
    children[ARM64] = child("no attestation")
    data = assemble(children, {"b": "é", "a": "1"})
    assert data == assemble(dict(reversed(children.items())), {"a": "1", "b": "é"})
    value = json.loads(data)
    assert [e["platform"]["architecture"] for e in value["manifests"]] == [
        "amd64",
        "arm",
        "arm64",
        "unknown",
        "unknown",
    ]
    content = parse(Manifest(data, Digest.of(data), value["mediaType"], len(data)))
    assert isinstance(content, Index)
    assert content.platforms == children
    assert content.annotations == {"a": "1", "b": "é"}
    assert "annotations" not in json.loads(assemble(children, {}))


def test_annotations_bind_the_image_to_its_version() -> None:
    """Recipe's annotations, over which ours win; a base by its digest; nothing empty."""
    of = wanted()
    base = HELLO.tag("9")
    recipe = replace(of.recipe, annotations=((ANNOTATION_VERSION, "lie"), ("t", "x")), bases=(("b", base),))
    found = annotations_of(replace(of, recipe=recipe), {"b": HELLO.at(digest("b"))})
    assert found[ANNOTATION_VERSION] == "1.2.0"
    assert found[ANNOTATION_RECIPE] == recipe.hash
    assert found["t"] == "x"
    assert found["org.opencontainers.image.base.digest"] == str(digest("b"))
    assert "org.opencontainers.image.base.name" not in annotations_of(of, {})
    assert list(found) == sorted(found)


def test_a_smoke_test_is_a_build() -> None:
    """The command as a list, so no shell is needed; the program found by patterns that may match nothing."""
    text = dockerfile(Smoke(("app", "--arch", "{arch}", 'a"b')), HELLO.at(digest("x")), ARM64)
    assert f"FROM {HELLO}@{digest('x')} AS image" in text
    assert 'RUN ["app", "--arch", "arm64", "a\\"b"]' in text
    assert '"/[u]sr/local/bin/app"' in text
    assert '"/[b]in/we?rd?"' in dockerfile(Smoke(("we[rd]",)), HELLO.at(digest("x")), ARM64)
    assert 'COPY --from=image ["/opt/app", "/program/"]' in dockerfile(
        Smoke(("/opt/app",)), HELLO.at(digest("x")), ARM64
    )


def test_what_the_command_said_is_found_in_the_progress() -> None:
    """Only its own lines, of its own step."""
    progress = (
        '#4 [image 1/1] FROM x\n#4 0.1 not this\n#5 [linux/arm64 run 1/1] RUN ["x"]\n#5 0.112 hello\n'
        "#5 0.2   indented\n#5 0.3\n#5 DONE 0.1s\n#6 0.1 nor this\n"
    )
    assert output_of(progress) == "hello\n  indented\n"
    assert output_of("") == ""


def test_whose_program_it_is(tmp_path: Path) -> None:
    """By the ELF header; scripts, links, pipes and odd files are nobody's."""

    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"
    assert machine_of(write("a", elf + b"\x3e\x00")) == "amd64"
    assert machine_of(write("b", elf + b"\xb7\x00")) == "arm64"
    assert machine_of(write("c", b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16")) == "s390x"
    assert machine_of(write("d", b"#!/bin/sh\n" + bytes(20))) == ""
    assert machine_of(write("e", b"")) == ""
    (tmp_path / "f").symlink_to(tmp_path / "a")
    assert machine_of(tmp_path / "f") == ""
    assert machine_of(tmp_path / "none") == ""
