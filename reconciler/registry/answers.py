"""What an answer means: rule 1 as pure functions. Nothing here sends anything."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import httpx

from reconciler import net
from reconciler.errors import Conflict, Denied, Malformed, RateLimited, RegistryError, TooLarge, Unreachable

MANIFEST_ABSENT = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN"})
BLOB_ABSENT = frozenset({"BLOB_UNKNOWN", "NAME_UNKNOWN"})
REPOSITORY_ABSENT = frozenset({"NAME_UNKNOWN"})
_UNKNOWN = MANIFEST_ABSENT | BLOB_ABSENT | {"MANIFEST_BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"}

MAX_ERROR_BODY = 64 * 1024
_RATE_WORDS = ("rate limit", "toomanyrequests", "too many requests", "retry-after")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` is cut at the cap where the status isn't 2xx; `elsewhere`: another host gave it."""

    status: int
    headers: httpx.Headers
    body: bytes = field(default=b"", repr=False)
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a registry's error body."""

    code: str
    message: str


def faults(body: bytes) -> tuple[Fault, ...]:
    """The errors in an error body, () where it isn't one (distribution-spec, error codes). Raises nothing."""
    if len(body) > MAX_ERROR_BODY:
        return ()
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return ()
    errors = value.get("errors") if isinstance(value, dict) else None
    return tuple(_faults(errors)) if isinstance(errors, list) else ()


def _faults(errors: list[object]) -> Iterator[Fault]:
    for error in errors:
        fields = error if isinstance(error, dict) else {}
        code, message = fields.get("code"), fields.get("message")
        yield Fault(code if isinstance(code, str) else "", message if isinstance(message, str) else "")


def is_absence(answer: Answer, codes: Collection[str]) -> bool:
    """Whether this answer to a GET means "definitely not there" (rule 1): 404 with one of `codes`, and nothing else.

    A 404 that speaks of the Accept header is none.
    """
    if answer.status != 404 or answer.elsewhere:
        return False
    found = faults(answer.body)
    return bool(found) and all(f.code in codes and not is_ours(f) for f in found)


def is_ours(fault: Fault) -> bool:
    """Whether it speaks of our Accept header: then something is there, and the mistake is ours (protocols 2.9)."""
    return "accept header" in fault.message.lower()


def told(answer: Answer) -> str:
    """All that an error body tells: its messages, decoded (a µ may be written as an escape), or else its text."""
    found = faults(answer.body)
    if found:
        return "\n".join(f"{fault.code}: {fault.message}" for fault in found)
    return answer.body.decode("utf-8", "replace")


def is_rate_limit(answer: Answer) -> bool:
    """429, or a 403 whose text says that it is one (GHCR's secondary limits, protocols 2.13)."""
    if answer.status == 429:
        return True
    return answer.status == 403 and any(word in told(answer).lower() for word in _RATE_WORDS)


def is_passing(answer: Answer) -> bool:
    """Whether the same request may well be answered otherwise a little later.

    A manifest whose blobs were just uploaded and aren't known yet is such a case, too (GHCR, protocols 2.19).
    """
    if answer.status in net.RETRYABLE or is_rate_limit(answer):
        return True
    return answer.status in (400, 404) and any(f.code == "MANIFEST_BLOB_UNKNOWN" for f in faults(answer.body))


def said(answer: Answer) -> str:
    """What an error answer says, in one printable line of at most 200 characters; empty where it says nothing."""
    found = faults(answer.body)
    text = "; ".join(filter(None, (": ".join(filter(None, (f.code, f.message))) for f in found)))
    if not text:
        text = answer.body[:400].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:200]


def refusal(answer: Answer, where: str, *, host: str) -> RegistryError:
    """The error that says why this is no answer: what it was, and what to do."""
    status, text = answer.status, said(answer)
    what = f"{host} answers {status}" + (f" ({text})" if text else "")
    if answer.elsewhere:
        return Unreachable(
            f"the storage that {host} redirects to answers {status}",
            where=where,
            todo="try again later",
            status=status,
        )
    if is_rate_limit(answer):
        return RateLimited(what, where=where, todo="try again later, or with fewer requests at once", status=status)
    if status in (401, 403):
        todo = f"log in with a user who may: docker login {host}"
        return Denied(what, where=where, todo=todo, status=status)
    if status == 404 and any(map(is_ours, faults(answer.body))):
        return Malformed(
            what, where=where, todo="it is there, in a form that reconcile doesn't ask for: report this", status=status
        )
    if status == 404 and not any(f.code in _UNKNOWN for f in faults(answer.body)):
        what = f"{host} answers 404 without saying that it doesn't know it" + (f" ({text})" if text else "")
        return Malformed(what, where=where, todo="check the registry's name in mirror.yaml", status=status)
    if status == 412:
        return Conflict(what, where=where, todo="read it again, and write what both wanted", status=status)
    if status == 413:
        return TooLarge(what, where=where, todo="the registry takes no manifest or blob of that size", status=status)
    if status >= 500 or status in net.RETRYABLE:
        return Unreachable(what, where=where, todo="try again later", status=status)
    return Malformed(what, where=where, todo="check that this is an OCI registry", status=status)


def wait_hint(answer: Answer) -> float | None:
    """Seconds that an answer asks to wait, in its headers or its text; None where it doesn't say."""
    response = httpx.Response(answer.status, headers=answer.headers)
    hint = net.retry_after(response)
    return net.retry_after_in(told(answer)) if hint is None else hint
