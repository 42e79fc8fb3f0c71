"""The tags of any git repository: no API and no rate limit, but also no dates."""

from __future__ import annotations

from reconciler.model.release import Release
from reconciler.model.upstream import GitTags
from reconciler.upstream.git import Git
from reconciler.upstream.sieve import Sieve


async def releases(source: GitTags, sieve: Sieve, git: Git) -> tuple[Release, ...]:
    """Tags that pass the sieve, highest first; UpstreamError."""
    return tuple(sieve.candidates(await git.tags(source.url)))
