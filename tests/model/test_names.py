"""Platforms, digests, references, placeholders: parsed once, given back as read."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.reference import DigestRef, Repository, TagRef
from reconciler.model.release import Release
from reconciler.model.template import for_platform, for_release, placeholders
from reconciler.model.text import Text
from reconciler.model.version import Version

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_have_a_normal_form(text: str, normal: str) -> None:
    """What a missing variant means is the same everywhere."""
    assert str(Platform.parse(text)) == normal
    assert Platform.parse(text).satisfies(Platform.parse(normal))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "linux/",
        "/amd64",
        "linux/amd64/v1/x",
        "Linux/amd64",
        "linux/amd 64",
        "linux/../x",
        "linux/amd64\n",
        "-/x",
    ],
)
def test_what_is_no_platform(text: str) -> None:
    """Lower-case os/architecture[/variant], and nothing a command line could misread."""
    with pytest.raises(ValueError, match="is no platform"):
        Platform.parse(text)


def test_digests() -> None:
    """sha256 and sha512 in lower case; checked over bytes; sha512's fallback tag is cut at 64."""
    digest = Digest.of(b"{}")
    assert str(digest) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest.matches(b"{}")
    assert not digest.matches(b"{ }")
    assert digest.fallback_tag == "sha256-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    long = Digest.parse("sha512:" + hashlib.sha512(b"x").hexdigest())
    assert long.matches(b"x")
    assert len(long.fallback_tag) == len("sha512-") + 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"md5:{HEX[:32]}",
        f"sha512:{HEX}",
        f"sha256:{HEX}\n",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    """Anything that could be read in two ways."""
    with pytest.raises(ValueError, match="is no digest"):
        Digest.parse(text)


@pytest.mark.parametrize(
    "text", ["ghcr.io/owner/image:1.0", "127.0.0.1:5000/a:latest", "[::1]:5000/a/b__c:_x", "host/a.b-c--d:V1.0_rc-1"]
)
def test_tags_are_given_back(text: str) -> None:
    """`str` is what was read."""
    assert str(TagRef.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io/owner/image",
        "ghcr.io/Owner/x:1",
        "ghcr.io/a:.x",
        "ghcr.io/a:-x",
        "ghcr.io/a:" + "x" * 129,
        "ghcr.io/../a:1",
        "ghcr.io//a:1",
        "a:1",
        "ghcr.io/a:1+b",
        "ghcr.io/a:1\n",
        "-x/a:1",
        "gh cr/a:1",
        "ghcr.io/a/:1",
        "http://x/a:1",
    ],
)
def test_what_is_no_tag(text: str) -> None:
    """The distribution-spec's grammar, and a host that is one."""
    with pytest.raises(ValueError, match=r"is no |names no"):
        TagRef.parse(text)


def test_references() -> None:
    """A repository gives tags and digests in it."""
    repository = Repository.parse("ghcr.io/owner/image")
    assert str(repository.tag("1.0")) == "ghcr.io/owner/image:1.0"
    reference = f"ghcr.io/owner/image@sha256:{HEX}"
    assert DigestRef.parse(reference) == repository.at(Digest.parse(f"sha256:{HEX}"))
    assert str(DigestRef.parse(reference)) == reference
    with pytest.raises(ValueError, match="names no digest"):
        DigestRef.parse("ghcr.io/owner/image:1.0")


def test_placeholders_are_filled_in_two_steps() -> None:
    """First what the release says, then what the platform says; what is unknown stays for the loader to refuse."""
    release = Release(Version.parse("10.3.1"), "v10.3.1", "c" * 40)
    text = "{version} {tag} {commit} {major} {minor} {os}-{arch}-{variant} {platform} {other}"
    assert placeholders(text)[-1] == "other"
    half = for_release(text, release)
    assert half == f"10.3.1 v10.3.1 {'c' * 40} 10 10.3 {{os}}-{{arch}}-{{variant}} {{platform}} {{other}}"
    assert for_platform(half, Platform.parse("linux/arm/v7")).endswith("linux-arm-v7 linux/arm/v7 {other}")


@pytest.mark.parametrize("noun", [Digest, Platform, Repository, TagRef, DigestRef, Version])
@given(text=st.text(max_size=300))
def test_only_value_errors_come_out(noun: type[Text], text: str) -> None:
    """Any text is either a noun or refused with ValueError."""
    with contextlib.suppress(ValueError):
        assert str(noun.parse(text))


@pytest.mark.parametrize("noun", [Digest, Platform, Repository, TagRef, DigestRef, Version])
def test_in_files_they_are_text(noun: type[Text]) -> None:
    """pydantic reads and writes them as strings, and refuses anything else with what to write."""
    adapter = TypeAdapter(noun)
    with pytest.raises(ValidationError, match="write it as text"):
        adapter.validate_python(10.3)
    with pytest.raises(ValidationError, match=r"is no |names no "):
        adapter.validate_json('"!"')
