"""Whether what a release requires is published (`requires:`): binaries often come from another system than tags."""

from __future__ import annotations

from reconciler.errors import UpstreamError
from reconciler.model.evidence import Unknown
from reconciler.upstream.http import Http, Take
from reconciler.upstream.interface import NotThere, There

_NO_HEAD = frozenset({403, 405, 501})


async def answers(url: str, http: Http) -> There | NotThere | Unknown:
    """Whether `url` answers: by HEAD, or by GET where HEAD isn't allowed; the body is not read."""
    try:
        answer = await http.ask(url, method="HEAD")
        if answer.status in _NO_HEAD:
            answer = await http.ask(url, take=Take.NOTHING)
    except UpstreamError as error:
        return Unknown(error.reason)
    if 200 <= answer.status < 300:
        return There()
    if answer.status in (404, 410):
        return NotThere(f"{url} answers {answer.status}")
    return Unknown(f"{url} answers {answer.status}")
