"""Sources and filters are checked where they are made."""

import pytest

from reconciler.model.reference import Repository
from reconciler.model.upstream import (
    Filter,
    GitHubReleases,
    GitLabTags,
    GitTags,
    ImageTags,
    Upstream,
    check_git_url,
    check_ref,
)
from reconciler.model.version import Version


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (GitHubReleases("outline/outline"), "github outline/outline"),
        (
            GitLabTags("framagit.org", "framasoft/framateam/mostlymatter"),
            "gitlab framagit.org/framasoft/framateam/mostlymatter",
        ),
        (GitTags("https://example.org/a.git"), "git https://example.org/a.git"),
        (ImageTags(Repository.parse("ghcr.io/acme/hello")), "image ghcr.io/acme/hello"),
    ],
)
def test_source_says_what_it_is(source: Upstream, text: str) -> None:
    """A source's text names its kind and its place."""
    assert str(source) == text


@pytest.mark.parametrize("text", ["", "outline", "a/b/c", "a/..", "a/.", "-a/b", "a/b?x", "a/b c", "a/b\n", "../b"])
def test_github_repository_is_owner_and_name(text: str) -> None:
    """Nothing but owner/name can come to stand in an API's path."""
    with pytest.raises(ValueError, match="owner/name"):
        GitHubReleases(text)


@pytest.mark.parametrize(
    ("host", "project"), [("a/b", "g/p"), ("gitlab.com", "p"), ("gitlab.com", "g/../p"), ("", "g/p")]
)
def test_gitlab_project_is_checked(host: str, project: str) -> None:
    """Nothing but a host and group/name makes a GitLab source."""
    with pytest.raises(ValueError, match="write"):
        GitLabTags(host, project)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://git@host/x",
        "git@host:x",
        "file:///etc",
        "ext::sh -c id",
        "https://user:secret@host/x",
        "https://host/x?y",
        "https://host",
        "https://host/a b",
        "https://host:99999/x",
        "--upload-pack=id",
        "https://host/x\n",
    ],
)
def test_git_url_is_http_without_credentials(url: str) -> None:
    """What could start a program, read a file or carry a secret is no git URL."""
    with pytest.raises(ValueError, match="no git URL"):
        check_git_url(url)


@pytest.mark.parametrize("ref", ["v1.2.3", "refs/tags/v1", "release/1.2", "main", "v1+b", "a@b"])
def test_usual_refs_pass(ref: str) -> None:
    """Tags and branches as people name them are refs."""
    assert check_ref(ref) == ref


@pytest.mark.parametrize(
    "ref", ["", "-v1", "--exec=x", "a..b", "a b", "a\n", "/a", "a/", "a//b", "a.lock", "x@{1}", "a~1", "a:b", "."]
)
def test_refs_that_git_would_read_otherwise_are_refused(ref: str) -> None:
    """Options, revision syntax and refspecs are no refs."""
    with pytest.raises(ValueError, match="no git ref"):
        check_ref(ref)


@pytest.mark.parametrize(
    ("pattern", "tag", "version"),
    [
        ("v{version}", "v10.3.1", "10.3.1"),
        ("{version}", "10.3.1", "10.3.1"),
        ("v{version}-limitless", "v10.3.1-limitless", "10.3.1"),
        ("v{version}", "v1.9.2-0", "1.9.2-0"),
        ("v{version}", "10.3.1", None),
        ("v{version}-limitless", "v10.3.1", None),
        ("v{version}", "v", None),
        ("v{version}", "vnext", None),
        ("a{version}a", "aa", None),
    ],
)
def test_filter_turns_tags_into_versions_and_back(pattern: str, tag: str, version: str | None) -> None:
    """Where a tag names a version, that version spells this tag again."""
    found = Filter(pattern).version_of(tag)
    assert found == (None if version is None else Version.parse(version))
    if found is not None:
        assert Filter(pattern).tag_of(found) == tag


@pytest.mark.parametrize("pattern", ["v1", "{version}{version}", "{tag}-{version}", "{version"])
def test_filter_needs_one_version_placeholder(pattern: str) -> None:
    """A pattern that can't be turned around is refused."""
    with pytest.raises(ValueError, match="exactly once"):
        Filter(pattern)
