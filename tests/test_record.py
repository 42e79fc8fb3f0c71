"""Records: what is written, what is refused, and what a crash leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import RecordError
from reconciler.model.evidence import Kind, Proven
from reconciler.model.record import Failure, ImageRecord, Record, RecordedPointer, Replaced
from reconciler.record import Records, dump, parse
from tests.support.nouns import ARM64, HELLO, NOW, digest, present, recorded, wanted

OF = wanted()
FULL = Record(
    "hello",
    {
        str(HELLO): ImageRecord(
            tags={"1.2.0": recorded(present(OF), OF, replaced=(Replaced(digest("old"), NOW, "lacked arm64"),))},
            pointers={"latest": RecordedPointer("1.2.0", present(OF).digest)},
            pending={"sha256:recipe": {ARM64: digest("pending")}},
            failures={"sha256:recipe": Failure(1, "make: error", NOW)},
            checksums={"https://example.org/a.tar.gz": "ab" * 32},
        )
    },
)


def test_comes_back_as_it_was() -> None:
    """Whatever is written is read back equal."""
    assert parse(dump(FULL)) == FULL
    assert dump(parse(dump(FULL))) == dump(FULL)


def test_what_is_empty_but_needed_comes_back() -> None:
    """A tag built from a folder has no commit, and a key's proof no time: both are read back as they were."""
    proof = Proven("key", "", digest("bundle"))
    tag = recorded(present(OF), OF, commit="", ref="", proofs={Kind.SIGNATURE: proof})
    record = Record("hello", {str(HELLO): ImageRecord(tags={"1.2.0": tag})})
    assert parse(dump(record)) == record


def test_is_sorted_and_says_nothing_empty() -> None:
    """A diff in git shows what changed and nothing else."""
    text = dump(FULL).decode()
    assert json.loads(text)["format_version"] == 1
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert "null" not in text
    assert text.endswith("}\n")


def test_what_is_empty_comes_back_too() -> None:
    """A source without a commit, an index whose images weren't noted: still the same record."""
    bare = recorded(present(OF), OF, platforms={}, commit="", ref="", recipe="", published="", proofs={}, binding=None)
    record = Record("hello", {str(HELLO): ImageRecord(tags={"1.2.0": bare})})
    assert parse(dump(record)) == record


def test_no_change_writes_nothing(tmp_path: Path) -> None:
    """A second apply leaves the file as it is, untouched."""
    records = Records(tmp_path / "state")
    records.update("hello", lambda _: FULL)
    path = records.path("hello")
    os.utime(path, (1, 1))
    Records(tmp_path / "state").update("hello", lambda record: replace(record))
    assert path.stat().st_mtime == 1


def test_an_app_without_anything_gets_no_file(tmp_path: Path) -> None:
    """Nothing to remember: nothing is written, no folder made."""
    Records(tmp_path / "state").update("hello", lambda record: record)
    assert not (tmp_path / "state").exists()


def test_a_write_that_fails_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new record, not the old one, and leaves no half file behind."""
    records = Records(tmp_path)
    records.update("hello", lambda _: FULL)
    before = records.path("hello").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"hello\.json: the record can't be written: No space left"):
        records.update("hello", lambda record: replace(record, images={}))
    assert records.path("hello").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["hello.json"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b"[]", "format_version None"),
        (b'{"format_version": 2, "app": "hello"}', "format_version 2"),
        (b'{"format_version": 1}', "doesn't fit at app"),
        (b'{"format_version": 1, "app": "hello", "images": {"x": {"tags": {"1": {"digest": "zz"}}}}}', "digest"),
    ],
)
def test_garbage_is_refused_with_the_file_and_what_to_do(tmp_path: Path, data: bytes, says: str) -> None:
    """Never a traceback; the file is named, and that losing it does no harm."""
    (tmp_path / "hello.json").write_bytes(data)
    with pytest.raises(RecordError) as error:
        Records(tmp_path).load("hello")
    assert says in str(error.value)
    assert "hello.json" in str(error.value)
    assert "delete it" in str(error.value)


def test_a_record_of_another_app_is_refused(tmp_path: Path) -> None:
    """A file that was copied or renamed by mistake."""
    (tmp_path / "other.json").write_bytes(dump(FULL))
    with pytest.raises(RecordError, match="of the app 'hello'"):
        Records(tmp_path).load("other")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_is_a_record_or_refused(value: object) -> None:
    """Nothing but our own error comes out of the reader."""
    document = {"format_version": 1, "app": "hello", "images": value}
    with contextlib.suppress(RecordError):
        parse(json.dumps(document).encode())


def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    """Half a file of an hour ago goes with the next write; one of just now may be somebody's who lives."""
    parts = [tmp_path / f".hello.json.{age}.part" for age in ("old", "young")]
    for part in parts:
        part.write_text("{")
    os.utime(parts[0], (time.time() - 3600,) * 2)
    Records(tmp_path).update("hello", lambda record: replace(record, images={"r/x": ImageRecord()}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hello.json.young.part", "hello.json"]
