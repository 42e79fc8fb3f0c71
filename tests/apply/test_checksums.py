"""Downloads are what they should be, or nothing is built."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.apply.checksums import Checksums, Expected, expected
from reconciler.errors import BuildError, UpstreamError
from reconciler.local.upstream import LocalUpstream
from reconciler.model.platform import Platform
from reconciler.model.recipe import Checksum, FolderSource, Recipe
from reconciler.model.reference import Repository
from reconciler.model.release import Release
from reconciler.model.version import Version
from reconciler.model.wanted import Wanted
from reconciler.record import Records
from reconciler.upstream import Upstreams

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
TARGET = Repository.parse("registry.example/mirror/app").tag("1.0.0")


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[LocalUpstream]:
    """Serves the files."""
    with LocalUpstream(tmp_path / "upstream") as running:
        yield running


@pytest.fixture
async def run(upstream: LocalUpstream) -> AsyncIterator[Upstreams]:
    """Asks for them."""
    async with Upstreams.open(upstream.env, allow_private=True) as upstreams:
        yield upstreams


def wanted(*checksums: Checksum) -> Wanted:
    """A version with downloads."""
    recipe = Recipe(FolderSource("app", "sha256:0"), checksums=checksums)
    release = Release(Version.parse("1.0.0"), "v1.0.0")
    return Wanted("app", "app", TARGET, release, (AMD64, ARM64), frozenset(), recipe)


def sha256(data: bytes) -> str:
    """Its hex digits."""
    return hashlib.sha256(data).hexdigest()


def test_each_platform_has_its_own_downloads() -> None:
    """A known sum counts for the platform whose URL it is of; the others keep what is said of the template."""
    recipe = wanted(
        Checksum("https://example.org/a-amd64", "1" * 64),
        Checksum("https://example.org/a-{arch}", at="https://example.org/{arch}/sums"),
        Checksum("https://example.org/all", "2" * 64),
    ).recipe
    assert expected(recipe, AMD64) == (
        Expected("https://example.org/a-amd64", "1" * 64, "https://example.org/amd64/sums"),
        Expected("https://example.org/all", "2" * 64),
    )
    assert expected(recipe, ARM64) == (
        Expected("https://example.org/a-arm64", "", "https://example.org/arm64/sums"),
        Expected("https://example.org/all", "2" * 64),
    )


def test_a_file_is_known_without_its_query() -> None:
    """As a list of checksums has it."""
    assert Expected("https://example.org/x/a%20b.tar.gz?src=docker").name == "a b.tar.gz"


async def test_known_published_and_first_seen(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """What is known or published must fit; what is neither is recorded once, and a later change is refused."""
    data = b"binary for amd64"
    url = upstream.file("x-amd64", data)
    template = url.replace("amd64", "{arch}")
    records = Records(tmp_path)

    def checks() -> Checksums:
        return Checksums(run, records)

    await checks().check(wanted(Checksum(url, sha256(data)), Checksum(template)), AMD64)
    assert records.load("app").images == {}
    with pytest.raises(BuildError, match=rf"checksum mismatch: {url} is sha256:{sha256(data)}, and the desired file"):
        await checks().check(wanted(Checksum(url, "0" * 64), Checksum(template)), AMD64)
    sums = upstream.file("sums", f"{sha256(data)}  x-amd64\n{'0' * 64}  x-arm64\n")
    upstream.file("x-arm64", b"another")
    listed = wanted(Checksum(template, at=sums))
    await checks().check(listed, AMD64)
    with pytest.raises(BuildError, match="sums says sha256:0000"):
        await checks().check(listed, ARM64)
    plain = wanted(Checksum(template))
    await checks().check(plain, AMD64)
    assert records.load("app").images[str(TARGET.repository)].checksums == {url: sha256(data)}
    await checks().check(plain, AMD64)
    upstream.file("x-amd64", b"changed in silence")
    with pytest.raises(BuildError, match="was when it was seen first") as caught:
        await checks().check(plain, AMD64)
    assert "`known`" in str(caught.value)
    assert records.load("app").images[str(TARGET.repository)].checksums == {url: sha256(data)}
    upstream.remove("x-amd64")
    with pytest.raises(UpstreamError, match="answers 404"):
        await checks().check(plain, AMD64)


async def test_a_download_is_read_once_a_run(upstream: LocalUpstream, run: Upstreams, tmp_path: Path) -> None:
    """However many images and platforms need it."""
    url = upstream.file("x", b"for all")
    checksums = Checksums(run, Records(tmp_path))
    await checksums.check(wanted(Checksum(url)), AMD64)
    await checksums.check(wanted(Checksum(url)), ARM64)
    assert len(upstream.asked("GET /files/x ")) == 1


def test_a_checksum_that_is_added_makes_nothing_stale() -> None:
    """It only tests the content; but what failed for want of it is tried again."""
    bare = wanted().recipe
    tested = replace(bare, checksums=(Checksum("https://example.org/x", "1" * 64),))
    assert bare.hash == tested.hash
    assert bare.attempt != tested.attempt
