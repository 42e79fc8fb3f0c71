"""Where releases come from, and which of them count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from reconciler.model.reference import Repository, check_host
from reconciler.model.version import Version

# https://docs.github.com/en/rest: an owner is an account name, a repository has letters, digits, . _ -
_GITHUB = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38}[A-Za-z0-9])?/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_GITLAB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+", re.ASCII)
# what git itself allows in a ref, less what a shell, a URL or a table could stumble over (git-check-ref-format(1))
_REF = re.compile(r"(?![/.-])(?!.*(?:\.\.|//|/\.|@\{|\.lock(?:/|$)))[A-Za-z0-9._/+@=-]{1,200}(?<![/.])", re.ASCII)


def check_ref(text: str) -> str:
    """`text`, if it may name a tag or a branch of a git repository; ValueError otherwise."""
    if _REF.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no git ref to be used here: letters, digits, and . _ / + @ = - between")
    return text


def check_git_url(text: str) -> str:
    """`text`, if it is an http(s) URL of a git repository without credentials in it; ValueError otherwise.

    Whether plain http may be used is for the operator to say: see `upstream.git`.
    """
    problem = ValueError(f"{text[:80]!r} is no git URL: write https://host/path.git, without a user or a query")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc or port == 0:
        raise problem
    if parts.query or parts.fragment or not parts.path.strip("/") or not re.fullmatch(r"[!-~]{1,500}", text):
        raise problem
    return text


@dataclass(frozen=True, slots=True)
class GitHubReleases:
    """The published releases of `owner/name` on GitHub (or GitHub Enterprise): drafts and pre-releases don't count."""

    repository: str

    def __post_init__(self) -> None:
        if _GITHUB.fullmatch(self.repository) is None:
            raise ValueError(f"{self.repository[:80]!r} is no GitHub repository: write owner/name")

    def __str__(self) -> str:
        return f"github {self.repository}"


@dataclass(frozen=True, slots=True)
class GitLabTags:
    """The tags of a project on a GitLab: `host` like framagit.org, `project` like group/sub/name."""

    host: str
    project: str

    def __post_init__(self) -> None:
        check_host(self.host)
        if len(self.project) > 255 or _GITLAB.fullmatch(self.project) is None:
            raise ValueError(f"{self.project[:80]!r} is no GitLab project: write group/name")

    def __str__(self) -> str:
        return f"gitlab {self.host}/{self.project}"


@dataclass(frozen=True, slots=True)
class GitTags:
    """The tags of any git repository that answers over https."""

    url: str

    def __post_init__(self) -> None:
        check_git_url(self.url)

    def __str__(self) -> str:
        return f"git {self.url}"


@dataclass(frozen=True, slots=True)
class ImageTags:
    """The tags of an image in an OCI registry."""

    repository: Repository

    def __str__(self) -> str:
        return f"image {self.repository}"


Upstream = GitHubReleases | GitLabTags | GitTags | ImageTags


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tags are releases, and which of those count.

    `tag` is how upstream spells a version, with `{version}` in it exactly once. `versions` is a range as `packaging`
    reads it (`>=10.5,<12`; empty: all). `exclude` holds versions (`10.3.1`), patterns (`10.4.*`) and ranges (`<9`).
    """

    tag: str = "v{version}"
    versions: str = ""
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tag.count("{version}") != 1 or "{" in self.tag.replace("{version}", ""):
            raise ValueError(f"{self.tag[:80]!r} doesn't say how a tag is made: write {{version}} in it exactly once")

    def version_of(self, tag: str) -> Version | None:
        """The version that `tag` names; None where it isn't spelt that way."""
        before, _, after = self.tag.partition("{version}")
        if len(tag) <= len(before) + len(after) or not (tag.startswith(before) and tag.endswith(after)):
            return None
        try:
            return Version.parse(tag[len(before) : len(tag) - len(after)])
        except ValueError:
            return None

    def tag_of(self, version: Version) -> str:
        """How upstream spells `version`."""
        return self.tag.replace("{version}", str(version))
