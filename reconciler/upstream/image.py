"""The tags of an image in a registry: an upstream that publishes nothing else."""

from __future__ import annotations

from reconciler.errors import RegistryError, UpstreamError
from reconciler.model.release import Release
from reconciler.model.upstream import ImageTags
from reconciler.upstream.interface import Lister
from reconciler.upstream.sieve import Sieve


async def releases(source: ImageTags, sieve: Sieve, lister: Lister) -> tuple[Release, ...]:
    """Tags that pass the sieve, highest first, without commit and date; UpstreamError."""
    try:
        tags = await lister.tags(source.repository)
    except RegistryError as error:
        raise UpstreamError(error.what, where=error.where or str(source), todo=error.todo) from error
    return tuple(sieve.candidates(dict.fromkeys(tags, "")))
