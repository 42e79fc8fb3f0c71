"""URLs, projects and paths in desired files."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from reconciler.desired.schema.places import (
    GitHubRepository,
    GitLabProject,
    PinnedImage,
    RelativePath,
    Url,
    UrlTemplate,
)

DIGEST = "@sha256:" + "a" * 64


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/a/b?c=d&e",
        "https://example.org/%20",
        "https://8.8.8.8/x",
    ],
)
def test_public_https_urls_are_taken_as_they_are(url: str) -> None:
    """Nothing is normalised: what is written is what is asked."""
    assert TypeAdapter(Url).validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "http://example.org",
        "ftp://example.org",
        "file:///etc/passwd",
        "ssh://git@example.org/x",
        "https://",
        "https://user@example.org",
        "https://user:password@example.org",
        "https://@example.org",
        "https://example.org/a b",
        "https://example.org/\n::error::",
        "https://example.org/#fragment",
        "https://example.org\\@evil.example",
        "https://exa mple.org",
        "https://example.org:99999999999/",
        "https://example.org:port/",
        "https://[::1",
        "https://{version}.example.org/",
        "https://example.org/{version}",
        "https://localhost/",
        "https://a.localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://0.0.0.0/",
        "https://example.org/" + "a" * 2000,
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """Other schemes, credentials, hosts on this machine or in private nets, placeholders, and what no URL holds."""
    with pytest.raises(ValidationError):
        TypeAdapter(Url).validate_python(url)


def test_placeholders_stand_in_paths_and_never_in_hosts() -> None:
    """A release's version must not choose who is asked."""
    adapter = TypeAdapter(UrlTemplate)
    good = "https://example.org/{version}/{os}-{arch}?v={major}"
    assert adapter.validate_python(good) == good
    for bad in ("https://{arch}.example.org/", "https://example.org/{versoin}"):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


def test_loopback_is_for_an_operator_to_allow() -> None:
    """With the flag loopback may go without TLS; other hosts still may not."""
    adapter = TypeAdapter(Url)
    for url in ("http://127.0.0.1:5000/x", "http://[::1]:5000/x", "http://localhost:5000/x", "https://10.0.0.1/"):
        assert adapter.validate_python(url, context={"allow_local": True}) == url
    with pytest.raises(ValidationError):
        adapter.validate_python("http://example.org/", context={"allow_local": True})


def test_projects_are_named_as_people_name_them() -> None:
    """owner/repository on GitHub; host and path, with or without https://, on GitLab."""
    assert TypeAdapter(GitHubRepository).validate_python("a/b.c") == "a/b.c"
    gitlab = TypeAdapter(GitLabProject)
    assert gitlab.validate_python("framagit.org/a/b/c") == "https://framagit.org/a/b/c"
    assert gitlab.validate_python("https://framagit.org/a/b/") == "https://framagit.org/a/b"
    for bad in ("a", "a/b/c", "a/..", "-a/b", "a/b.git", "https://github.com/a/b", "a/b\n"):
        with pytest.raises(ValidationError):
            TypeAdapter(GitHubRepository).validate_python(bad)
    for bad in (
        "framagit.org",
        "framagit.org/a",
        "framagit.org/a/../b",
        "framagit.org/a/b?x=1",
        "http://framagit.org/a/b",
    ):
        with pytest.raises(ValidationError):
            gitlab.validate_python(bad)


def test_paths_stay_inside() -> None:
    """Relative, without `..`, without a `.git`, without what opens an option or a template."""
    adapter = TypeAdapter(RelativePath)
    read = {"a": "a", "a/b": "a/b", ".": ".", "./a/": "a", "a/./b": "a/b", "Dockerfile.base": "Dockerfile.base"}
    assert {text: adapter.validate_python(text) for text in read} == read
    for bad in (
        "",
        "/a",
        "..",
        "a/../b",
        "a//b",
        "-f",
        "~/a",
        "a\\b",
        "a\nb",
        "{version}",
        "a:b",
        ".git/config",
        "a" * 501,
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


def test_generators_are_pinned() -> None:
    """An SBOM generator runs with the whole image in front of it: its digest is part of its name."""
    adapter = TypeAdapter(PinnedImage)
    for good in (
        f"docker/scanner:1{DIGEST}",
        f"scanner{DIGEST}",
        f"ghcr.io/a/b{DIGEST}",
        f"127.0.0.1:5000/a:x{DIGEST}",
    ):
        assert adapter.validate_python(good) == good
    for bad in ("docker/scanner:1", f"Docker/x{DIGEST}", f"a b{DIGEST}", DIGEST, f"a{DIGEST}0", f"-a{DIGEST}"):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)
