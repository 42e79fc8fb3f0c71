"""What the registry says: an answer as data, so that a fault can bend it before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from reconciler.errors import ReconcileError
from reconciler.local.registry.gate import Gate

JSON = "application/json"


class Code(StrEnum):
    """The codes of distribution-spec v1.1.1, "Error Codes"; the last two are CNCF Distribution's."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    UNAUTHORIZED = "UNAUTHORIZED"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    TAG_INVALID = "TAG_INVALID"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Slice:
    """A body that stands in a file: `length` bytes of it from `start` on."""

    path: Path
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Generated:
    """A body made while it is sent: `size` spaces; `declared` says whether Content-Length tells so beforehand."""

    size: int
    declared: bool = True


Body = bytes | Slice | Generated


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an answer breaks off: after so many bytes of the body, or before its first header (None).

    `reset` ends the connection with RST, else with FIN. Where there is a `gate`, the answer stands still at that point
    until the gate opens or `seconds` have passed, and then goes on if `resume` says so.
    """

    after: int | None = None
    reset: bool = True
    gate: Gate | None = None
    seconds: float | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; status 0 stands for no answer at all."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    cut: Cut | None = None

    @property
    def length(self) -> int:
        """Bytes in the body."""
        match self.body:
            case bytes():
                return len(self.body)
            case Slice():
                return self.body.length
            case Generated():
                return self.body.size


class Refusal(ReconcileError):
    """The registry won't: what is wrong, and how that is said over HTTP."""

    def __init__(
        self, status: int, code: Code, what: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(what)

    def answer(self) -> Answer:
        """The same as an answer with the body that the spec gives to errors."""
        return failure(self.status, self.code, self.what, detail=self.detail, headers=self.headers)


def failure(
    status: int, code: Code, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer whose body is `{"errors": [{"code", "message", "detail"?}]}`."""
    error = {"code": str(code), "message": message} | ({} if detail is None else {"detail": detail})
    return as_json({"errors": [error]}, status=status, headers=headers)


def as_json(
    value: Any, *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer whose body is `value` as JSON."""
    return Answer(status, {"Content-Type": media_type, **(headers or {})}, json.dumps(value).encode())
