"""Decisions on a registry that is really asked: whose image it is, which version, and what was there before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.local.registry import Auth, Lag, LocalRegistry, Manners, User
from reconciler.local.sigstore import Key
from reconciler.model.evidence import Kind
from tests.support.images import Built
from tests.support.mirrors import LocalMirror, mirror

ME = {"RECONCILE_REGISTRY_USERNAME": "me", "RECONCILE_REGISTRY_PASSWORD": "correct horse"}
AUTH = Auth(users=(User("me", "correct horse"), User("reader", "battery staple", push=())))


@pytest.fixture
def m(tmp_path: Path) -> Iterator[LocalMirror]:
    """A mirror whose upstream released 1.0.0 and 1.1.0."""
    with mirror(tmp_path) as made:
        made.released("1.0.0", "1.1.0")
        yield made


def planned(m: LocalMirror, *flags: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    status, out, _ = m.run("plan", "--format=json", *flags, env=env)
    return status, json.loads(out)


def changes(plan: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Word and reason of each change by its tag."""
    return {c["target"].rpartition(":")[2]: (c["word"], c["reason"]) for c in plan["changes"]}


def copied(registry: LocalRegistry, source: str, target: str, of: Built, tag: str) -> None:
    """Copies an index with all it refers to, and all that refers to it, as crane and cosign copy do."""
    store = registry.store

    def copy(reference: object, as_tag: str = "") -> None:
        manifest = store.manifest(source, reference)  # type: ignore[arg-type]
        assert manifest is not None
        content = json.loads(manifest.data)
        for child in content.get("manifests", []):
            copy_digest(child["digest"])
        for blob in [content[key] for key in ("config",) if key in content] + content.get("layers", []):
            data = store.blob(source, type(of.digest).parse(blob["digest"]))
            assert data is not None
            store.put_blob(target, data)
        store.put_manifest(target, manifest.data, tag=as_tag)

    def copy_digest(text: str) -> None:
        copy(type(of.digest).parse(text))

    copy(of.digest, tag)
    copy(of.digest.fallback_tag, of.digest.fallback_tag)


def test_signatures_of_an_accepted_key_count(m: LocalMirror) -> None:
    """Moving to another key rebuilds nothing: what the old one signed is ours as long as it is accepted."""
    old = Key.generate()
    m.publish("1.0.0", key=old)
    m.point("latest", m.publish("1.1.0", key=old).digest)
    _, before = planned(m)
    assert {word for word, _ in changes(before).values()} == {"rebuild", "move pointer"}
    (m.desired / "old.pub").write_text(old.public_pem)
    m.write("mirror", more="  accept: [{public: old.pub}]\n")
    status, after = planned(m)
    assert (status, after["changes"]) == (0, [])


def test_a_copy_from_another_repository_is_named(m: LocalMirror) -> None:
    """Its signatures came along and verify, but say that it is something else (rule 5)."""
    m.write("other")
    m.released("1.1.0", app="other")
    m.publish("1.0.0")
    theirs = m.publish("1.1.0", app="other")
    copied(m.registry, m.name("other"), m.name(), theirs, "1.1.0")
    _, plan = planned(m, "--app=hello")
    word, reason = changes(plan)["1.1.0"]
    assert word == "rebuild"
    assert f"copied from {m.registry.host}/mirror/other" in reason


def test_our_images_of_one_version_under_the_annotations_of_another(m: LocalMirror) -> None:
    """Whoever may push can assemble our signed images anew; what the index says of itself is nobody's word."""
    whole = m.publish("1.0.0")
    store, name = m.registry.store, m.name()
    manifest = store.manifest(name, whole.digest)
    assert manifest is not None
    content = json.loads(manifest.data)
    for entry in content["manifests"]:
        image = store.manifest(name, type(whole.digest).parse(entry["digest"]))
        assert image is not None
        if entry["platform"]["os"] == "linux":
            of = Built(image.digest, image.media_type, len(image.data), image.data)
            m.prove(of, "1.0.0", kinds=[Kind.SIGNATURE])
    content["annotations"] = {key: value.replace("1.0.0", "1.1.0") for key, value in content["annotations"].items()}
    store.put_manifest(name, json.dumps(content).encode(), tag="1.1.0")
    _, plan = planned(m)
    assert "1.1.0" not in changes(plan)
    held = {item["target"].rpartition(":")[2]: item for item in plan["held"]}
    assert held["1.1.0"]["state"] == "blocked"
    assert "nothing signed says which version it is" in held["1.1.0"]["reason"]


def test_a_signature_copied_from_another_image_is_none(m: LocalMirror) -> None:
    """It verifies, but speaks of another digest."""
    signed, bare = m.publish("1.0.0"), m.foreign("1.1.0")
    entry = m.registry.store.manifest(m.name(), signed.digest.fallback_tag)
    assert entry is not None
    m.registry.store.tag(m.name(), bare.digest.fallback_tag, entry.digest)
    _, plan = planned(m)
    assert changes(plan)["1.1.0"][0] == "rebuild"


class TestFirstPublication:
    """A registry with GHCR's manners denies what doesn't exist to those who may not know."""

    @pytest.fixture
    def m(self, tmp_path: Path) -> Iterator[LocalMirror]:
        """Such a registry, empty."""
        with mirror(tmp_path, manners=Manners.ghcr(lag=Lag()), auth=AUTH) as made:
            made.released("1.0.0", "1.1.0")
            yield made

    def test_without_credentials_it_is_presumed_new(self, m: LocalMirror) -> None:
        """Planned, and marked so."""
        status, plan = planned(m)
        assert status == 0
        assert [c["change"]["presumed_new"] for c in plan["changes"] if c["word"] == "publish"] == [True, True]
        assert "presumed new" in changes(plan)["1.0.0"][1]
        assert changes(plan)["latest"][0] == "move pointer"

    def test_with_credentials_it_is_absent(self, m: LocalMirror) -> None:
        """Who may push is told that there is nothing."""
        status, plan = planned(m, env=ME)
        assert status == 0
        assert "presumed new" not in changes(plan)["1.0.0"][1]

    def test_the_hash_is_another_but_the_changes_are_the_same(self, m: LocalMirror) -> None:
        """A plan made anonymously is the plan that apply makes logged in."""
        assert planned(m)[1]["hash"] == planned(m, env=ME)[1]["hash"]

    def test_what_a_record_has_seen_isnt_new(self, m: LocalMirror) -> None:
        """Private, and we may not look: unknown."""
        m.point("latest", m.publish("1.1.0").digest)
        m.publish("1.0.0")
        assert m.run("apply", env=ME)[0] == 0
        status, plan = planned(m)
        assert (status, plan["changes"]) == (1, [])
        assert {item["state"] for item in plan["held"]} == {"unknown"}

    def test_nor_what_the_history_of_records_has_seen(self, m: LocalMirror) -> None:
        """A lost state folder is no licence to build everything anew."""
        m.point("latest", m.publish("1.1.0").digest)
        m.publish("1.0.0")
        m.run("apply", env=ME)
        git = ["git", "-C", str(m.folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in (
            ["init", "-q"],
            ["add", "state"],
            ["commit", "-qm", "x"],
            ["rm", "-rq", "state"],
            ["commit", "-qm", "y"],
        ):
            subprocess.run([*git, *words], check=True)
        m.state.mkdir()
        status, plan = planned(m)
        assert (status, plan["changes"]) == (1, [])

    def test_create_says_that_it_may_be_new(self, m: LocalMirror) -> None:
        """The way to say it where neither record nor registry can."""
        m.write("hello", more="create: [hello]\n")
        assert "`create` says so" in changes(planned(m)[1])["1.0.0"][1]
