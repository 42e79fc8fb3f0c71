"""The registry's own rate limit, and how GHCR words it."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.local.registry.answer import Answer, Code, failure


class Limiter:
    """A bucket that holds one second's worth of requests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._filled = clock()
        self._tokens: float | None = None

    def check(self, per_minute: int) -> Answer | None:
        """None where the request may pass, else a 429."""
        rate = per_minute / 60
        capacity = max(1.0, rate)
        now = self._clock()
        tokens = capacity if self._tokens is None else self._tokens + (now - self._filled) * rate
        self._tokens, self._filled = min(capacity, tokens), now
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        return rate_limited(go_duration((1 - self._tokens) / rate), per_minute)


def rate_limited(hint: str, per_minute: int = 44_000, *, status: int = 429) -> Answer:
    """A 429 as GHCR words it: the hint is a Go duration in the message, and there is no Retry-After header."""
    return failure(status, Code.TOOMANYREQUESTS, f"retry-after: {hint}, allowed: {per_minute}/minute")


def go_duration(seconds: float) -> str:
    """`880.092µs`, `10.5ms`, `1m30s`: as Go's time.Duration prints itself."""
    nanos = max(0, round(seconds * 1e9))
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanos < size * 1000:
            return f"{_number(nanos, size)}{unit}" if nanos else "0s"
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_number(rest, 1_000_000_000)}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def _number(nanos: int, size: int) -> str:
    whole, part = divmod(nanos, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
