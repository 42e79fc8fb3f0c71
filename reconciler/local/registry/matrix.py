"""Every fault that any single request may meet: tests strike each request of a run with each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.local.registry.actions import (
    Action,
    CutBody,
    Huge,
    LinkToSelf,
    Maze,
    Redirect,
    Refuse,
    Reply,
    Reset,
    Stale,
    Stall,
    Truncate,
    WrongBytes,
    WrongDigest,
    WrongType,
    reply_error,
    reply_html,
    reply_rate_limited,
)


def matrix(other_host: str) -> Mapping[str, Callable[[], Action]]:
    """The faults by name; `other_host` is a URL that must get no credential. Make each anew: a stall is used up."""
    return {
        "connection refused": Refuse,
        "reset before headers": Reset,
        "closed before headers": lambda: Reset(polite=True),
        "answer lost": lambda: Reset(effect=True),
        "reset mid-body": CutBody,
        "closed mid-body": lambda: CutBody(polite=True),
        "stall before headers": Stall,
        "stall mid-body": lambda: Stall(after=1),
        "401": lambda: reply_error(401, "UNAUTHORIZED", "authentication required"),
        "403": lambda: reply_error(403, "DENIED", "requested access to the resource is denied"),
        "403 rate limit": lambda: reply_error(403, "DENIED", "You have exceeded a secondary rate limit"),
        "404 with another code": lambda: reply_error(404, "UNSUPPORTED", "no such thing here"),
        "404 about Accept": lambda: reply_error(
            404, "MANIFEST_UNKNOWN", "OCI index found, but Accept header does not support OCI indexes"
        ),
        "404 without JSON": lambda: Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"}),
        "404 without a body": lambda: Reply(404),
        "429 Go duration": reply_rate_limited,
        "429 in seconds": lambda: reply_error(429, "TOOMANYREQUESTS", "slow down", headers={"Retry-After": "1"}),
        "429 with a date": lambda: reply_error(
            429, "TOOMANYREQUESTS", "slow down", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
        ),
        "429 without a hint": lambda: Reply(429),
        "500": lambda: reply_error(500, "UNKNOWN", "internal server error"),
        "502": lambda: reply_html(502),
        "503": lambda: Reply(503, b"", {"Retry-After": "1"}),
        "HTML instead of JSON": reply_html,
        "truncated JSON": Truncate,
        "wrong digest": WrongDigest,
        "wrong bytes": WrongBytes,
        "wrong Content-Type": WrongType,
        "a body of 1 GiB": Huge,
        "a declared body of 1 GiB": lambda: Huge(declared=True),
        "redirect to another host": lambda: Redirect(f"{other_host}/v2/"),
        "endless redirect": Maze,
        "Link to itself": LinkToSelf,
        "stale read": Stale,
    }
