"""Blobs on their way in: straight to a file, hashed as they pass, never whole in memory."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.local.registry.answer import Code, Refusal
from reconciler.local.registry.call import Call
from reconciler.local.registry.files import Files, digest_file
from reconciler.model.digest import Digest

BLOB_CAP = 10 * 1024**3  # as GHCR documents for a layer
_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?")


@dataclass(slots=True)
class Upload:
    """One upload session: what came of it so far."""

    session: str
    repository: str
    path: Path
    size: int = 0
    running: Any = field(default_factory=lambda: hashlib.sha256(usedforsecurity=False))

    async def append(self, call: Call) -> None:
        """Take the call's body in. What came before a connection broke stays, so that the client can go on."""
        with self.path.open("ab", buffering=0) as file:
            async for piece in call.pieces():
                if self.size + len(piece) > BLOB_CAP:
                    raise Refusal(413, Code.SIZE_INVALID, f"the blob has more than {BLOB_CAP} bytes")
                file.write(piece)
                self.running.update(piece)
                self.size += len(piece)

    def check_order(self, content_range: str) -> None:
        """Refuse (416) a chunk that doesn't start where the last one ended."""
        if not content_range:
            return
        found = _RANGE.fullmatch(content_range)
        if found is None:
            raise Refusal(400, Code.BLOB_UPLOAD_INVALID, f"Content-Range {content_range[:80]!r} isn't start-end")
        if int(found[1]) != self.size:
            raise Refusal(416, Code.BLOB_UPLOAD_INVALID, f"the next byte is number {self.size}", headers=self.headers())

    def headers(self) -> dict[str, str]:
        """Where the session is and what it has."""
        return {
            "Location": f"/v2/{self.repository}/blobs/uploads/{self.session}",
            "Range": f"0-{max(0, self.size - 1)}",
            "Docker-Upload-UUID": self.session,
            "Content-Length": "0",
        }


class Uploads:
    """The sessions; none outlives the process."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._sessions: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def start(self, repository: str) -> Upload:
        """A new session."""
        upload = Upload(secrets.token_hex(16), repository, self._files.unfinished())
        upload.path.touch()
        self._sessions[upload.session] = upload
        return upload

    def get(self, repository: str, session: str) -> Upload:
        """That session; a refusal where there is none in that repository."""
        upload = self._sessions.get(session)
        if upload is None or upload.repository != repository:
            raise Refusal(404, Code.BLOB_UPLOAD_UNKNOWN, "no such upload here")
        return upload

    def cancel(self, upload: Upload) -> None:
        """End a session without a blob."""
        self._sessions.pop(upload.session, None)
        upload.path.unlink(missing_ok=True)

    def finish(self, upload: Upload, expected: Digest) -> None:
        """End a session: its content now stands among the files. A refusal, and no session, where it isn't as said."""
        if expected.algorithm == "sha256":
            came = Digest("sha256", upload.running.hexdigest())
        else:
            came = digest_file(upload.path, expected.algorithm)
        if came != expected:
            self.cancel(upload)
            raise Refusal(400, Code.DIGEST_INVALID, f"the bytes are {came}, not {expected}")
        self._files.adopt(upload.path, expected)
        self._sessions.pop(upload.session, None)
