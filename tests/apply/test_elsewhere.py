"""What jobs left is read as hostile, and counts only as far as the registry bears it out."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.annotations import annotations_of
from reconciler.apply.builds import Built
from reconciler.apply.elsewhere import MAX_BYTES, Elsewhere, Fetched, Result, dump, load, read, write
from reconciler.apply.slots import NotNow
from reconciler.apply.stamp import Run, builder_id, place
from reconciler.errors import BuildError, Malformed, ReconcileError, Refused, UsageError
from reconciler.local.registry import LocalRegistry
from reconciler.model.platform import Platform
from reconciler.model.recipe import Checksum
from reconciler.model.reference import Repository
from reconciler.model.wanted import Wanted
from reconciler.plan.changes import Publish
from reconciler.plan.matrix import Matrix, matrix
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from tests.support.images import SLSA, attestation, image, index
from tests.support.nouns import AMD64, ARM64, digest, wanted

RUN = Run("0123456789abcdef" * 2, "sha256:" + "a" * 64)
URL = "https://downloads.example/hello-{arch}.tar.gz"


def result(of: Wanted, platform: Platform = AMD64, **fields: Any) -> Result:
    """What a job writes."""
    whole = Result(of.app, of.image, of.target, platform, of.recipe.hash, RUN, digest=digest("pushed"))
    return replace(whole, **fields)


def jobs(of: Wanted) -> Matrix:
    """The jobs of a plan that publishes it."""
    return matrix(Plan((Publish(wanted=of, reason="no such tag", build=of.platforms),)))


# the files


@pytest.mark.parametrize(
    "fields", [{}, {"digest": None, "failed": "exit code: 1"}, {"seen": {"https://x.example/a": "0" * 64}}]
)
def test_a_result_is_read_as_it_was_written(fields: Mapping[str, Any]) -> None:
    """What a job writes comes back whole."""
    one = result(wanted(), **fields)
    assert load(dump(one), "file") == one


def _altered(**fields: Any) -> bytes:
    document = json.loads(dump(result(wanted())))
    return json.dumps(document | fields, indent=1, sort_keys=True).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        dump(result(wanted())) + b" ",
        dump(result(wanted())).replace(b'"seen"', b'"seen": {}, "seen"'),
        _altered(more=1),
        _altered(format=2),
        _altered(digest="sha256:0"),
        _altered(digest=None),
        _altered(failed="both"),
        _altered(digest=None, failed="x" * 301),
        _altered(target="registry.example/mirror/../hello:1"),
        _altered(version="2.0.0"),
        _altered(platform="linux"),
        _altered(app=["hello"]),
        _altered(nonce=float("nan")),
        _altered(seen={"https://x.example/": "nonsense"}),
        _altered(seen={f"https://x.example/{number}": "0" * 64 for number in range(65)}),
    ],
)
def test_anything_else_is_no_result(data: bytes) -> None:
    """Another grammar, other keys, other values: each is one error of ours, which names the file."""
    with pytest.raises(Malformed, match="is no result of a build") as caught:
        load(data, "evil.json")
    assert caught.value.where == "evil.json"


def test_results_are_found_in_artefacts_or_beside_each_other(tmp_path: Path) -> None:
    """One folder per artefact, or all in one: each result of this run counts once."""
    of = wanted()
    write(tmp_path, result(of, AMD64))
    write(tmp_path / "result-a", result(of, ARM64))
    write(tmp_path / "result-b", result(of, ARM64))
    found = read(tmp_path, jobs(of), RUN)
    assert set(found.results) == {(of.target, AMD64), (of.target, ARM64)}
    assert found.notes == ()


def test_what_does_not_count_is_said(tmp_path: Path) -> None:
    """Another run, another plan, a build nobody asked for, two that differ, links, pipes, giants: none counts."""
    of = wanted()
    write(tmp_path / "old", result(of, AMD64, run=replace(RUN, nonce="f" * 32)))
    write(tmp_path / "plan", result(of, AMD64, run=replace(RUN, plan="sha256:" + "b" * 64)))
    write(tmp_path / "more", result(wanted("9.9.9")))
    write(tmp_path / "once", result(of, ARM64))
    write(tmp_path / "twice", result(of, ARM64, digest=digest("other")))
    (tmp_path / "giant.json").write_bytes(b" " * (MAX_BYTES + 1))
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    (tmp_path / "once" / "link.json").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe.json")
    found = read(tmp_path, jobs(of), RUN)
    assert found.results == {}
    said = "\n".join(found.notes)
    for part in ("another run", "no job of this run", "two results", "larger than", "it is no file", "symbolic"):
        assert part in said
    assert "root:" not in said
    assert len(found.notes) == 8


def test_a_flood_of_files_ends(tmp_path: Path) -> None:
    """More files than a run can have aren't read."""
    of = wanted()
    for number in range(200):
        (tmp_path / f"{number:03}.json").write_text("{}")
    write(tmp_path / "zz", result(of))
    found = read(tmp_path, jobs(of), RUN)
    assert found.results == {}
    assert "isn't read" in found.notes[-1]
    assert len(found.notes) < 100


def test_a_missing_folder_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    """No folder is no empty folder."""
    with pytest.raises(UsageError):
        read(tmp_path / "nowhere", jobs(wanted()), RUN)


# the registry


@dataclass
class Pushed:
    """A registry to push into as BuildKit does, and what reads it back."""

    registry: LocalRegistry
    client: Registry
    folder: Path
    of: Wanted

    def push(
        self,
        platform: Platform = AMD64,
        *,
        builder: str | None = None,
        annotations: Mapping[str, str] | None = None,
        provenance: bool = True,
        of: Wanted | None = None,
    ) -> Result:
        """One image with its provenance; the result that names it."""
        of = of or self.of
        store, name = self.registry.store, of.target.repository.name
        said = annotations_of(of, {}) if annotations is None else annotations
        one = image(store, name, platform, text=f"{platform} {builder}", annotations=said)
        parts = [one]
        if provenance:
            who = f"https://github.example/runs/1#{RUN.mark(of.recipe.hash)}" if builder is None else builder
            predicate = {"runDetails": {"builder": {"id": who}}}
            parts.append(attestation(store, name, one, statements={SLSA: predicate}))
        return result(of, platform, digest=index(store, name, *parts).digest)

    async def take(self, *results: Result, left: Mapping[Any, str] | None = None, platform: Platform = AMD64) -> Built:
        """What the finishing job makes of these."""
        elsewhere = Elsewhere(RUN, {(self.of.target, one.platform): one for one in results}, left or {})
        return await Fetched(self.client, Records(self.folder), elsewhere)(self.of, platform, {})


@pytest.fixture
async def pushed(tmp_path: Path) -> AsyncIterator[Pushed]:
    """An empty registry."""
    with LocalRegistry(tmp_path / "registry") as registry:
        repository = Repository.parse(f"{registry.host}/mirror/hello")
        async with Registry(Credentials(), allow_private=True) as client:
            yield Pushed(registry, client, tmp_path / "state", wanted(repository=repository))


async def test_this_runs_build_is_taken(pushed: Pushed) -> None:
    """Its image is for the platform, says what it is, and its provenance names the run, the plan and the recipe."""
    one = pushed.push()
    built = await pushed.take(one)
    assert (built.platform, built.pushed) == (AMD64, one.digest)


def _other(pushed: Pushed, version: str = "1.2.0", name: str = "hello") -> Wanted:
    return wanted(version, repository=Repository.parse(f"{pushed.registry.host}/mirror/{name}"))


# what is wrong, and what is said of it
LIES: Mapping[str, tuple[str, Callable[[Pushed], Result]]] = {
    "another run": (
        "its provenance isn't",
        lambda p: p.push(builder=f"x#{replace(RUN, nonce='f' * 32).mark(p.of.recipe.hash)}"),
    ),
    "another plan": (
        "its provenance isn't",
        lambda p: p.push(builder=f"x#{replace(RUN, plan='sha256:0').mark(p.of.recipe.hash)}"),
    ),
    "another recipe": ("its provenance isn't", lambda p: p.push(builder=f"x#{RUN.mark('sha256:0')}")),
    "no builder": ("its provenance isn't", lambda p: p.push(builder="")),
    "no provenance": ("it has no provenance", lambda p: p.push(provenance=False)),
    "another platform": ("the image is for linux/arm64", lambda p: replace(p.push(ARM64), platform=AMD64)),
    "another version": (
        "it doesn't say that it is this version",
        lambda p: replace(p.push(of=_other(p, "9.9.9")), target=p.of.target, recipe=p.of.recipe.hash),
    ),
    "no annotations": ("it doesn't say that it is this version", lambda p: p.push(annotations={})),
    "another app": ("of another image or recipe", lambda p: replace(p.push(), app="outline")),
    "the file's recipe": ("of another image or recipe", lambda p: replace(p.push(), recipe="sha256:0")),
    "another repository": ("isn't there", lambda p: p.push(of=_other(p, name="other"))),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_refused(pushed: Pushed, lie: str) -> None:
    """Whatever points to something else than this run's build of this is refused; the recipe isn't blamed for it."""
    why, tell = LIES[lie]
    with pytest.raises(ReconcileError, match=why) as caught:
        await pushed.take(tell(pushed))
    assert not isinstance(caught.value, BuildError)


async def test_what_failed_there_failed(pushed: Pushed) -> None:
    """A build that failed elsewhere backs off as one here does; its reason can't be a runner's command."""
    with pytest.raises(BuildError) as caught:
        await pushed.take(result(pushed.of, digest=None, failed="::error::exit code: 1"))
    assert "exit code: 1" in caught.value.what
    assert not caught.value.what.startswith("::")


async def test_no_result_and_no_job(pushed: Pushed) -> None:
    """A job that left nothing fails its version; what no job had to build is left for the next run."""
    with pytest.raises(Refused, match="left no result"):
        await pushed.take()
    with pytest.raises(NotNow, match="256"):
        await pushed.take(left={(pushed.of.target, AMD64): "a run has at most 256 jobs"})


async def test_downloads_that_were_seen_first(pushed: Pushed) -> None:
    """What a job saw for the first time is remembered; of other downloads it can't say anything."""
    pushed.of = replace(pushed.of, recipe=replace(pushed.of.recipe, checksums=(Checksum(URL),)))
    seen = {"https://downloads.example/hello-amd64.tar.gz": "1" * 64, "https://evil.example/": "2" * 64}
    await pushed.take(replace(pushed.push(), seen=seen))
    record = Records(pushed.folder).load("hello").images[str(pushed.of.target.repository)]
    assert record.checksums == {"https://downloads.example/hello-amd64.tar.gz": "1" * 64}


# the stamp


@pytest.mark.parametrize("statement", [{}, {"predicate": None}, {"predicate": {"runDetails": {"builder": {"id": 1}}}}])
def test_a_statement_without_a_builder_has_none(statement: Mapping[str, object]) -> None:
    """Provenance is data from a registry: any shape is read."""
    assert builder_id(statement) == ""


def test_who_builds() -> None:
    """On GitHub the run, elsewhere the mirror's repository; nothing that could end buildx's list of values."""
    github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "42"}
    assert place(github, "https://git.example/m") == "https://github.com/o/r/actions/runs/42/attempts/1"
    assert place({}, "https://git.example/m") == "https://git.example/m"
    assert place({}, "https://git.example/m,mode=min") == ""


@pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 33, "G" * 32, "../" * 11, "0" * 32 + "\n"])
def test_a_run_has_a_name_of_one_form(nonce: str) -> None:
    """It goes into a command line and into provenance."""
    with pytest.raises(UsageError):
        Run.parse(nonce, "sha256:0")
