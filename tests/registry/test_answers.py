from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Conflict, Denied, Malformed, RateLimited, RegistryError, TooLarge, Unreachable
from reconciler.registry import answers
from reconciler.registry.answers import Answer

ALL_CODES = [
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
    *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED"),
    *("DENIED", "UNSUPPORTED", "TOOMANYREQUESTS", "UNKNOWN"),
]
BODIES = {
    "empty": b"",
    "text": b"404 page not found\n",
    "html": b"<html>MANIFEST_UNKNOWN</html>",
    "no errors": b'{"errors":[]}',
    "errors is a map": b'{"errors":{"code":"MANIFEST_UNKNOWN"}}',
    "a list": b'[{"code":"MANIFEST_UNKNOWN"}]',
    "no code": b'{"errors":[{"message":"MANIFEST_UNKNOWN"}]}',
    "code is no text": b'{"errors":[{"code":["MANIFEST_UNKNOWN"]}]}',
    "lower case": b'{"errors":[{"code":"manifest_unknown"}]}',
    "cut": b'{"errors":[{"code":"MANIFEST_UNKNOWN"',
    "two codes": b'{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"DENIED"}]}',
    "an entry that is none": b'{"errors":[{"code":"MANIFEST_UNKNOWN"},null]}',
    "Accept": b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"but Accept header does not support it"}]}',
    "deep": b'{"errors":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "too long": b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' + b" " * 70_000,
    "not UTF-8": b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"\xff"}]}',
}


def answer(status: int, body: bytes = b"", *, elsewhere: bool = False, **headers: str) -> Answer:
    return Answer(status, httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()}), body, elsewhere)


def body(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize("status", range(200, 600))
def test_no_status_but_404_means_absent(status: int) -> None:
    """Rule 1: with the very code of absence in its body, an answer of another status is unknown."""
    for code in answers.MANIFEST_ABSENT:
        assert answers.is_absence(answer(status, body(code)), answers.MANIFEST_ABSENT) is (status == 404)


@pytest.mark.parametrize("code", ALL_CODES)
def test_no_code_but_the_registrys_own_means_absent(code: str) -> None:
    """Rule 1: of all codes of the spec, two mean that a manifest isn't there, and two that a blob isn't."""
    found = answer(404, body(code))
    assert answers.is_absence(found, answers.MANIFEST_ABSENT) is (code in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN"))
    assert answers.is_absence(found, answers.BLOB_ABSENT) is (code in ("BLOB_UNKNOWN", "NAME_UNKNOWN"))


@pytest.mark.parametrize("name", BODIES)
def test_no_other_body_of_a_404_means_absent(name: str) -> None:
    """Rule 1: a 404 from a proxy, a cut one, one that speaks of Accept or says two things is unknown, and raises."""
    found = answer(404, BODIES[name])
    assert not answers.is_absence(found, answers.MANIFEST_ABSENT)
    error = answers.refusal(found, "ghcr.io/a/b:1", host="ghcr.io")
    assert isinstance(error, Malformed)
    assert "ghcr.io/a/b:1" in str(error)
    assert error.todo


def test_what_another_host_says_never_means_absent() -> None:
    """A 404 from the storage that a registry redirects to is not the registry's own."""
    found = answer(404, body("MANIFEST_UNKNOWN"), elsewhere=True)
    assert not answers.is_absence(found, answers.MANIFEST_ABSENT)
    assert isinstance(answers.refusal(found, "ghcr.io/a/b:1", host="ghcr.io"), Unreachable)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (answer(401), Denied),
        (answer(403, body("DENIED", "requested access to the resource is denied")), Denied),
        (answer(403, body("DENIED", "You have exceeded a secondary rate limit")), RateLimited),
        (answer(429), RateLimited),
        (answer(412), Conflict),
        (answer(413), TooLarge),
        (answer(500), Unreachable),
        (answer(503, b"<html>"), Unreachable),
        (answer(408), Unreachable),
        (answer(400, body("NAME_INVALID")), Malformed),
        (answer(418), Malformed),
        (answer(307), Malformed),
    ],
)
def test_every_refusal_is_an_error_of_its_kind(found: Answer, kind: type[RegistryError]) -> None:
    """What happened decides the class; the text names host, image, what was said and what to do."""
    error = answers.refusal(found, "ghcr.io/a/b:1", host="ghcr.io")
    assert type(error) is kind
    assert error.status == found.status
    assert error.reason.startswith("ghcr.io/a/b:1: ghcr.io answers")
    assert error.todo


@given(st.integers(100, 599), st.binary(max_size=300))
def test_what_a_registry_says_is_one_printable_line(status: int, data: bytes) -> None:
    """Nothing that a terminal or a table would act on gets from an error body into a message."""
    error = answers.refusal(answer(status, data), "ghcr.io/a/b:1", host="ghcr.io")
    assert error.what.isprintable()
    assert len(error.what) < 300


def test_every_form_of_a_hint_is_understood() -> None:
    """Retry-After in seconds, and GHCR's Go duration in the message (protocols 2.13)."""
    assert answers.wait_hint(answer(429, retry_after="7")) == 7
    ghcr = answer(429, body("TOOMANYREQUESTS", "retry-after: 10.5ms, allowed: 2000/minute"))
    assert answers.wait_hint(ghcr) == pytest.approx(0.0105)
    micro = answer(429, body("TOOMANYREQUESTS", "retry-after: 880.092µs, allowed: 44000/minute"))
    assert b"\\u00b5s" in micro.body
    assert answers.wait_hint(micro) == pytest.approx(880.092e-6)
    assert answers.wait_hint(answer(503)) is None


def test_a_manifest_whose_blob_isnt_known_yet_is_tried_again() -> None:
    """GHCR has answered so right after the blob's upload (protocols 2.19)."""
    assert answers.is_passing(answer(404, body("MANIFEST_BLOB_UNKNOWN")))
    assert not answers.is_passing(answer(404, body("MANIFEST_UNKNOWN")))
