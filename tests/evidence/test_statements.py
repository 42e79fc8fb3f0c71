"""Statements that are built here, and what is read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.evidence import statements
from reconciler.evidence.parse import Unreadable
from reconciler.model.digest import Digest
from reconciler.model.evidence import MIRROR_PREDICATE, Binding
from reconciler.model.platform import Platform

INDEX, CHILD = Digest.of(b"index"), Digest.of(b"child")


def test_a_mirror_statement_says_it_all() -> None:
    """Every documented field, in a fixed order of bytes."""
    content = statements.mirror_statement(
        INDEX,
        Binding("r.test/o/i", "10.3.1", "sha256:abc", "c0ffee"),
        source="https://github.com/u/u",
        ref="v10.3.1",
        platforms={Platform.parse("linux/arm/v7"): CHILD},
        mirror_source="https://github.com/o/mirror",
        mirror_revision="beef",
        adopted="r.test/old/i",
    )
    assert statements.dump(content).decode() == (
        '{"_type":"https://in-toto.io/Statement/v1","predicate":{"adopted":"r.test/old/i","mirror":{"revision":"beef",'
        '"source":"https://github.com/o/mirror"},"platforms":[{"digest":"'
        + str(CHILD)
        + '","platform":"linux/arm/v7"}]'
        ',"recipe":"sha256:abc","repository":"r.test/o/i","upstream":{"commit":"c0ffee","ref":"v10.3.1","source":'
        '"https://github.com/u/u"},"version":"10.3.1"},"predicateType":"' + MIRROR_PREDICATE + '","subject":[{"digest":'
        '{"sha256":"' + INDEX.hex + '"},"name":"r.test/o/i"}]}'
    )


def test_fields_without_a_value_are_left_out() -> None:
    """A folder as source has no ref and no commit: nothing is claimed of them."""
    content = statements.mirror_statement(INDEX, Binding("r.test/o/i", "1"), source="", ref="", platforms={})
    assert content["predicate"] == {"repository": "r.test/o/i", "version": "1"}


printable = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=60)


@given(repository=printable, version=printable, recipe=printable | st.just(""), commit=printable | st.just(""))
def test_what_is_written_is_read(repository: str, version: str, recipe: str, commit: str) -> None:
    """A mirror statement binds its digest to just what it was made of."""
    bound = Binding(repository, version, recipe, commit)
    content = statements.mirror_statement(INDEX, bound, source="s", ref="r", platforms={})
    read = statements.read(statements.dump(content))
    assert read.subjects == {INDEX}
    assert statements.binding(read.predicate or {}) == bound


def test_a_platform_s_statement_has_two_subjects() -> None:
    """It is found and verified at the index, and says which image it is about."""
    content = statements.statement("https://spdx.dev/Document", {"a": 1}, "r.test/o/i", [INDEX, CHILD])
    read = statements.read(json.dumps(content).encode())
    assert read.subjects == {INDEX, CHILD}
    assert read.predicate is None


def test_the_former_predicate_binds_too() -> None:
    """Images from before reconcile say which repository and version they are: moving over rebuilds nothing."""
    predicate = {
        "mirror": {"registry": "ghcr.io", "namespace": "this-is-tobi/mirror", "image": "mattermost", "multiArch": True},
        "upstream": {"repository": "mattermost/mattermost", "version": "10.5.0", "ref": "v10.5.0"},
    }
    assert statements.binding(predicate) == Binding("ghcr.io/this-is-tobi/mirror/mattermost", "10.5.0")


@pytest.mark.parametrize(
    "predicate",
    [
        {"mirror": {}, "upstream": {}},
        {"mirror": {"registry": "ghcr.io", "namespace": "", "image": "x"}, "upstream": {"version": "1"}},
        {"mirror": [], "upstream": {"version": "1"}},
        {"mirror": {"registry": "ghcr.io", "namespace": "a", "image": "x"}},
        {},
    ],
)
def test_a_predicate_that_says_neither_binds_nothing(predicate: dict[str, Any]) -> None:
    """Half a statement is none."""
    with pytest.raises(Unreadable):
        statements.binding(predicate)
