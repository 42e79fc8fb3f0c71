"""The tags of an image in a registry: an upstream that publishes nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import RegistryError, UpstreamError
from reconciler.model.observed import Absent
from reconciler.model.upstream import ImageTags
from reconciler.upstream.interface import Lister


async def tags(source: ImageTags, lister: Lister | None) -> Mapping[str, str]:
    """Every tag of the image, without a commit; UpstreamError."""
    if lister is None:
        raise UpstreamError("no registry client was given to list tags with", where=str(source))
    try:
        found = await lister.tags(source.repository)
    except RegistryError as error:
        raise UpstreamError(error.what, where=error.where or str(source), todo=error.todo) from error
    if isinstance(found, Absent):
        raise UpstreamError("there is no such repository", where=str(source), todo="check `upstream:` in its file")
    return dict.fromkeys(found, "")
