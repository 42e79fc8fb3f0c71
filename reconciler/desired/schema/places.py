"""URLs and paths in desired files: https only, no credentials in them, no way out."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationInfo

from reconciler.desired.schema.base import Template, Wrong, known_placeholders
from reconciler.model.reference import check_host, check_name
from reconciler.model.upstream import GitHubReleases, GitLabTags, check_git_url

_UNSAFE = re.compile(r"[\s\\<>\"`|^]|[^\x21-\x7e]")
_PATH = re.compile(r"[^\x00-\x1f\x7f\\{}:*?\"<>|]{1,500}")
_IMAGE = re.compile(
    r"(?P<name>[^@:]+(?::[0-9]+/[^@:]+)?)(?::(?P<tag>[\w][\w.-]{0,127}))?@sha256:[0-9a-f]{64}", re.ASCII
)


def _local_allowed(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get("allow_local"))


def _local(host: str) -> bool:
    """Whether a host, as written, is on this machine or in a private net; names are resolved by those who connect."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not address.is_global or address.is_multicast


def _url(text: str, info: ValidationInfo) -> str:
    if len(text) > 2000 or _UNSAFE.search(text):
        raise Wrong(
            "the URL holds a character that no URL has", "write it percent-encoded, like https://example.org/a%20b"
        )
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise Wrong(f"{text[:80]!r} is no URL", "write it like https://example.org/path") from None
    if "@" in parts.netloc:
        raise Wrong("the URL holds a user or a password", "remove it: credentials never stand in desired files")
    local = _local(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and local and _local_allowed(info)):
        raise Wrong(f"{text[:80]!r} is not https", "write a URL that starts with https://")
    if not host or "{" in parts.netloc or "}" in parts.netloc:
        raise Wrong(f"{text[:80]!r} names no host", "write it like https://example.org/path")
    try:
        check_host(parts.netloc)
    except ValueError:
        raise Wrong(f"{text[:80]!r} names no host", "write it like https://example.org/path") from None
    if local and not _local_allowed(info):
        raise Wrong(
            f"{host} is on this machine or in a private net",
            "name a public host (an operator may allow others by a flag)",
        )
    if parts.fragment or text.endswith("#"):
        raise Wrong("the URL holds a #fragment", "remove it")
    return text


def _github(text: str) -> str:
    try:
        GitHubReleases(text)
        if text.endswith(".git"):
            raise ValueError(text)
    except ValueError:
        what = f"{text[:80]!r} is no repository on GitHub"
        raise Wrong(what, "write owner/repository, like mattermost/mattermost") from None
    return text


def _gitlab(text: str, info: ValidationInfo) -> str:
    """`https://host/group/project`, also where it was written without the scheme."""
    parts = urlsplit(_url(text if "://" in text else f"https://{text}", info).rstrip("/"))
    try:
        GitLabTags(parts.netloc, parts.path.strip("/"))
    except ValueError:
        what = f"{text[:80]!r} is no project on GitLab"
        raise Wrong(what, "write host/group/project, like framagit.org/group/project") from None
    if parts.query or parts.path.endswith(".git"):
        raise Wrong(f"{text[:80]!r} is no project on GitLab", "write host/group/project, without ? and .git")
    return parts.geturl()


def _git(text: str) -> str:
    try:
        return check_git_url(text)
    except ValueError as error:
        raise Wrong.of(error) from None


def _relative(text: str) -> str:
    parts = text.split("/")
    if (
        not _PATH.fullmatch(text)
        or text.startswith(("/", "-", "~"))
        or ".." in parts
        or "" in parts[:-1]
        or ".git" in parts
    ):
        raise Wrong(f"{text[:80]!r} is no path inside", "write a relative path without .., like server/build")
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _pinned_image(text: str) -> str:
    match = _IMAGE.fullmatch(text)
    if match is None:
        raise Wrong(
            f"{text[:80]!r} is no image pinned by digest",
            "write it like docker/buildkit-syft-scanner:stable-1@sha256:…",
        )
    first, slash, rest = match["name"].partition("/")
    try:
        if slash and ("." in first or ":" in first or first == "localhost"):
            check_host(first)
            check_name(rest)
        else:
            check_name(match["name"])
    except ValueError as error:
        raise Wrong.of(error) from None
    return text


Url = Annotated[str, AfterValidator(known_placeholders(())), AfterValidator(_url)]
GitUrl = Annotated[Url, AfterValidator(_git)]
UrlTemplate = Annotated[Template, AfterValidator(_url)]
GitHubRepository = Annotated[str, AfterValidator(_github)]
GitLabProject = Annotated[str, AfterValidator(_gitlab)]
RelativePath = Annotated[str, AfterValidator(_relative)]
PinnedImage = Annotated[str, StringConstraints(max_length=500), AfterValidator(_pinned_image)]
