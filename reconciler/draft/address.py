"""What a URL, as a person copies it from a browser or a terminal, names."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from reconciler.errors import UsageError
from reconciler.model.reference import Repository
from reconciler.model.upstream import GitHubReleases, GitLabTags, GitTags, ImageTags, check_git_url
from reconciler.net import is_loopback

Address = GitHubReleases | GitLabTags | GitTags | ImageTags

_GITHUB = frozenset({"github.com", "www.github.com"})
# hosts that serve git and look like a registry's where no scheme is written
_FORGES = re.compile(r"^(?:git(?:hub|lab|ea)?\.|framagit\.|codeberg\.|bitbucket\.)", re.IGNORECASE)
_HUB = re.compile(r"https://hub\.docker\.com/(?:r/|_/)?([a-z0-9._/-]+?)(?:/tags)?/?")
_TODO = "write a URL like https://github.com/owner/name, or an image like ghcr.io/owner/name"


def read(text: str, github: str = "https://github.com") -> Address | str:
    """What `text` names; the https URL of a repository where only its host knows whether it is a GitLab.

    `github` is where GitHub is (GITHUB_SERVER_URL). Raises UsageError where it names nothing.
    """
    text = text.strip()
    if not text or len(text) > 1000 or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"{text[:100]!r} names no repository", todo=_TODO)
    try:
        return _read(text, github.rstrip("/"))
    except ValueError as error:
        raise UsageError(str(error), todo=_TODO) from None


def _read(text: str, github: str) -> Address | str:
    if match := _HUB.fullmatch(text):
        return ImageTags(_image(f"docker.io/{match[1] if '/' in match[1] else f'library/{match[1]}'}"))
    scheme, separator, rest = text.partition("://")
    if separator and scheme in ("docker", "oci"):
        return ImageTags(_image(rest))
    if not separator:
        first = text.partition("/")[0]
        if "." not in first and ":" not in first:
            return GitHubReleases(text.removesuffix(".git").strip("/"))
        if not text.endswith(".git") and not _FORGES.match(text):
            return ImageTags(_image(text))
        text = f"https://{text}"
    parts = urlsplit(text)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError(f"{text[:100]!r} isn't https")
    path = parts.path.strip("/")
    if parts.netloc.lower() in _GITHUB or f"{parts.scheme}://{parts.netloc}" == github:
        # what follows owner and name is a page of the repository
        return GitHubReleases("/".join(path.split("/")[:2]).removesuffix(".git"))
    # GitLab's pages stand behind /-/
    return check_git_url(f"{parts.scheme}://{parts.netloc}/{path.partition('/-/')[0].removesuffix('/-')}")


def _image(text: str) -> Repository:
    """A repository in a registry, of a reference with or without tag and digest."""
    name = text.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return Repository.parse(head + slash + last.partition(":")[0])


def gitlab(url: str) -> GitLabTags:
    """The project that a URL names, if its host is a GitLab; ValueError where it can't be."""
    parts = urlsplit(url)
    return GitLabTags(parts.netloc, parts.path.strip("/").removesuffix(".git"))
