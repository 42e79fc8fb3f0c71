from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registry import dockerconfig
from reconciler.registry.credential import Credential, Use
from reconciler.registry.dockerconfig import DockerConfig


def read(value: Any) -> DockerConfig:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return dockerconfig.read(data, "config.json")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": b64("me:pa:ss")}, Credential("me", "pa:ss", Use.PASSWORD, "config.json")),
        ({"auth": b64("me:pass\0\0")}, Credential("me", "pass", Use.PASSWORD, "config.json")),
        ({"username": "me", "password": "pass"}, Credential("me", "pass", Use.PASSWORD, "config.json")),
        ({"auth": b64("me:"), "identitytoken": "i"}, Credential("me", "i", Use.IDENTITY, "config.json")),
        ({"auth": b64("<token>:i")}, Credential("", "i", Use.IDENTITY, "config.json")),
        ({"registrytoken": "r"}, Credential("", "r", Use.BEARER, "config.json")),
    ],
)
def test_each_form_of_an_entry_is_understood(entry: dict[str, str], expected: Credential) -> None:
    """As docker login and its helpers write them."""
    assert read({"auths": {"ghcr.io": entry}}) == DockerConfig({"ghcr.io": expected})


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("http://localhost:5000", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("GHCR.io", "ghcr.io"),
        ("ghcr.io/owner", ""),
    ],
)
def test_each_spelling_of_a_host_is_one_host(key: str, host: str) -> None:
    """A key for one namespace only is for no host: its credential isn't given to others."""
    assert dockerconfig.canonical_host(key) == host


def test_helpers_and_store_are_read() -> None:
    """An empty entry of `auths` says that the store has it."""
    found = read({"auths": {"a.org": {}}, "credHelpers": {"https://b.org": "pass"}, "credsStore": "desktop"})
    assert found == DockerConfig({}, {"b.org": "pass"}, "desktop")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        {"auths": []},
        {"auths": {"a.org": "x"}},
        {"auths": {"a.org": {"auth": 1}}},
        {"auths": {"a.org": {"auth": "!"}}},
        {"auths": {"a.org": {"auth": b64("nocolon")}}},
        {"auths": {"a.org": {"auth": b64("me:pa\nss")}}},
        {"auths": {"a.org": {"username": "me\r\n", "password": "x"}}},
        {"auths": {"a.org": {"registrytoken": "a b"}}},
        {"auths": {"a.org/ns": {"auth": b64("me:x")}}},
        {"credHelpers": {"a.org": "../../bin/sh"}},
        {"credHelpers": {"a.org": "-x"}},
        {"credHelpers": {"a.org": 1}},
        {"credHelpers": "x"},
        {"credsStore": "a/b"},
        {"credsStore": ["x"]},
    ],
)
def test_what_cant_be_used_is_passed_over_with_a_note(value: Any) -> None:
    """A broken or hostile file gives no credential and a line that says why; it stops nothing."""
    found = read(value)
    assert not found.auths
    assert not found.helpers
    assert not found.store
    assert len(found.notes) == 1
    assert "config.json" in found.notes[0]


def test_notes_hold_no_secret() -> None:
    """Not even of an entry that can't be used."""
    found = read({"auths": {"a.org": {"registrytoken": "hunter 2"}, "b.org": {"auth": b64("hunter2")}}})
    assert len(found.notes) == 2
    assert "hunter" not in str(found.notes)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["auths", "auth", "username", "password", "credHelpers", "credsStore", "identitytoken", "a.org"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(ANY | st.binary(max_size=100))
def test_no_file_makes_the_reader_fail(value: Any) -> None:
    """Whatever stands in it, what comes out can be sent in a header."""
    for credential in read(value).auths.values():
        assert credential.secret
        credential.basic.encode("ascii")
