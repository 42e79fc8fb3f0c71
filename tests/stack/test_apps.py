"""The three apps as this repository ships them, but for hosts: planned, applied and planned again on the real parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.local.builder import Builder
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.sigstore import LocalSigstore
from reconciler.local.tools import Tools
from reconciler.local.upstream import LocalUpstream
from tests.stack.apps import DATA, MOSTLYMATTER, Bases, World, make_bases, mattermost_files, outline_files

New = Callable[[], World]


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    """Who signs."""
    with LocalSigstore(tmp_path_factory.mktemp("sigstore")) as running:
        yield running


@pytest.fixture(scope="module")
def bases(
    registry: CncfRegistry,
    base_images: BaseImages,
    builder: Builder,
    tools: Tools,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bases:
    """What the Dockerfiles of the three upstreams are built on."""
    return make_bases(registry.host, base_images, builder, tools, tmp_path_factory.mktemp("bases") / "context")


@pytest.fixture
def world(
    registry: CncfRegistry, bases: Bases, sigstore: LocalSigstore, builder: Builder, tools: Tools, tmp_path: Path
) -> Iterator[World]:
    """An upstream without any release, and an empty namespace."""
    namespace = f"apps/{tmp_path.name.lower().replace('_', '-').strip('-')}"
    with LocalUpstream(tmp_path / "upstream") as upstream:
        yield World(tmp_path / "world", registry.host, namespace, bases, upstream, sigstore, builder, tools)


def targets(plan: dict[str, Any]) -> list[str]:
    """Symbol and tag of each change."""
    return [f"{change['symbol']} {change['target'].rpartition('/')[2]}" for change in plan["changes"]]


def what_failed(report: dict[str, Any]) -> str:
    """One paragraph per change that wasn't made."""
    rows = [result for result in report["results"] if result["state"] != "done"]
    return "\n".join(f"{row['state']} {row['target'].rpartition('/')[2]}: {row['said']}" for row in rows)


def every_release(world: World) -> None:
    """All tags of Outline and all releases of Mattermost; those that the windows hold with their sources."""
    rows = [line.split() for line in (DATA / "outline-tags.txt").read_text(encoding="utf-8").splitlines()]
    outline = world.upstream.repository("outline/outline")
    outline.tags([(tag, date) for tag, _, date in rows if "-" not in tag])
    outline.tags([(tag, date) for tag, _, date in rows if "-" in tag], published=False)
    world.outline("1.9.2", date="2026-07-21T01:28:53Z")
    world.outline("1.9.1", by_argument=False, date="2026-07-13T00:00:00Z")
    archive = json.loads((DATA / "mattermost-releases.json").read_text(encoding="utf-8"))["releases"]
    versions = [release["version"] for release in reversed(archive)]
    # patches of old lines keep appearing: dates don't follow versions
    dated = [(f"v{version}", f"2026-{at % 12 + 1:02}-16T00:00:00Z") for at, version in enumerate(versions)]
    world.upstream.repository("mattermost/mattermost").tags(dated)
    world.mattermost("11.10.0", date="2026-08-14T09:00:00Z")
    world.mattermost("11.7.9", annotated=True, date="2026-08-20T09:00:00Z")
    world.upstream.repository(MOSTLYMATTER).tags([f"v{version}" for version in versions])
    world.mostlymatter("11.9.1")
    # its binaries come later than its tag, and older ones exist for one architecture only
    world.mostlymatter("11.10.0", architectures=("amd64",))


def test_the_three_apps_reconcile(world: World) -> None:
    """Everything is published in the order of needs, proven, checked and recorded; a second plan is empty."""
    every_release(world)
    world.lead("outline", 2)
    plan = world.plan()
    assert plan["complete"], plan
    assert sorted(targets(plan)) == [
        "+ base-outline:1.9.1",
        "+ base-outline:1.9.2",
        "+ mattermost:11.10.0",
        "+ mattermost:11.7.9",
        "+ mostlymatter:11.9.1",
        "+ outline:1.9.1",
        "+ outline:1.9.2",
        "> base-outline:latest",
        "> mattermost:esr",
        "> mattermost:latest",
        "> mostlymatter:latest",
        "> outline:latest",
    ]
    assert [held["target"].rpartition("/")[2] for held in plan["held"]] == ["mostlymatter:11.10.0"]
    assert "upstream isn't ready for linux/arm64" in plan["held"][0]["reason"]
    status, report = world.apply()
    assert status == 0, what_failed(report)
    assert world.tags("mattermost") == ["11.10.0", "11.7.9", "esr", "latest"]
    assert world.tags("mostlymatter") == ["11.9.1", "latest"]
    assert world.tags("outline") == world.tags("base-outline") == ["1.9.1", "1.9.2", "latest"]
    assert world.crane("digest", world.image("mattermost:esr")) == world.crane(
        "digest", world.image("mattermost:11.7.9")
    )
    top = world.manifest("outline:1.9.2")["annotations"]
    base = world.crane("digest", world.image("base-outline:1.9.2"))
    assert top["org.opencontainers.image.base.name"] == world.image("base-outline:1.9.2")
    assert top["org.opencontainers.image.base.digest"] == base
    assert top["org.opencontainers.image.source"] == "https://github.com/this-is-tobi/multiarch-mirror"
    assert top["org.opencontainers.image.revision"] == world.upstream.repository("outline/outline").commit("v1.9.2")
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        # what `uname -m` said in the base's RUN step stands in the image that is built on it, by both forms of FROM
        for tag in ("outline:1.9.2", "outline:1.9.1"):
            image = world.image(tag)
            config = json.loads(world.crane("config", "--platform", platform, image))
            assert config["config"]["Labels"]["org.opencontainers.image.title"] == "Outline"
            assert config["config"]["User"] == "nodejs"
            assert machine in world.crane("export", "--platform", platform, image, "-")
    seen = json.loads((world.folder / "state/mattermost.json").read_text(encoding="utf-8"))
    sums = seen["images"][world.image("mattermost")]["checksums"]
    # what the desired file knows is compared with that, the rest is recorded
    assert [url.rpartition("-")[2] for url in sums] == ["arm64.tar.gz", "arm64.tar.gz"]
    status, out, err = world.run("plan")
    assert status == 0, out + err
    status, out, err = world.run("verify", "mattermost", "outline", "mostlymatter:11.9.1")
    assert status == 0, out + err
    again = world.plan()
    assert again["changes"] == []
    assert [held["target"].rpartition("/")[2] for held in again["held"]] == ["mostlymatter:11.10.0"]
    # GitHub's and GitLab's pages were read to the end, and are asked for by ETag now
    assert world.upstream.asked(r"GET /api/v3/repos/mattermost/mattermost/releases\?per_page=100 304")
    assert world.upstream.asked(r"GET /api/v4/projects/framasoft%2Fframateam%2Fmostlymatter/repository/tags\?.*page=2")


def test_a_file_that_is_missing_for_one_platform_is_waited_for(world: World) -> None:
    """The release waits with the reason, nothing is built for the other platform, and it is no error."""
    world.mattermost("11.9.1")
    world.lead("mattermost", edit={'esr: ">=11.7,<11.8"': 'esr: "<11"'})
    file = "releases.mattermost.com/11.9.1/mattermost-11.9.1-linux-arm64.tar.gz"
    world.upstream.remove(file)
    status, out, _ = world.run("plan", "--app", "mattermost", "--format", "json")
    plan = json.loads(out)
    assert (status, plan["changes"]) == (0, [])
    assert [(held["state"], held["reason"]) for held in plan["held"] if "11.9.1" in held["target"]] == [
        (
            "waiting",
            f"upstream isn't ready for linux/arm64: {world.upstream.url}/files/{file} answers 404",
        )
    ]
    status, report = world.apply("--app", "mattermost")
    assert (status, report["results"], world.tags("mattermost")) == (0, [], [])
    world.tarball("11.9.1", "arm64")
    assert targets(world.plan("--app", "mattermost"))[0] == "+ mattermost:11.9.1"


def test_an_edit_that_matches_no_longer_blocks_its_release(world: World) -> None:
    """File, nearest line and release are named; no build is begun, and an edit of the desired file mends it."""
    world.mostlymatter("11.9.1")
    files = mattermost_files(world.bases)
    name = "server/build/Dockerfile"
    files[name] = files[name].replace("curl -L $MM_PACKAGE | tar -xvz", "curl -fL $MM_PACKAGE | tar -xz")
    line = files[name].splitlines().index("  && curl -fL $MM_PACKAGE | tar -xz \\") + 1
    world.upstream.repository(MOSTLYMATTER).release("v11.9.1-limitless", files)
    status, report = world.apply("--app", "mostlymatter")
    assert status == 1
    failed = report["results"][0]
    assert failed["state"] == "failed"
    assert (
        "mostlymatter:11.9.1: an edit of server/build/Dockerfile must match once, and matches 0 times" in failed["said"]
    )
    assert f"nearest is server/build/Dockerfile:{line}, '&& curl -fL $MM_PACKAGE | tar -xz \\\\'" in failed["said"]
    assert not [path for path in (world.folder / "logs").iterdir() if "-build-" in path.name]
    world.lead("mostlymatter", edit={"find: curl -L $MM_PACKAGE | tar -xvz": "find: curl -fL $MM_PACKAGE | tar -xz"})
    assert targets(world.plan("--app", "mostlymatter"))[0] == "+ mostlymatter:11.9.1"


def test_a_base_that_fails_blocks_what_is_built_on_it(world: World) -> None:
    """The base's failure is told with its log, the other image isn't tried and says why; no tag appears."""
    world.outline("1.9.2")
    files = outline_files("1.9.2", world.bases)
    files["Dockerfile.base"] = files["Dockerfile.base"].replace("RUN yarn build", "RUN yarn build && exit 7")
    world.upstream.repository("outline/outline").release("v1.9.2", files)
    status, report = world.apply("--app", "outline")
    assert status == 1
    by_tag = {result["target"].rpartition("/")[2]: result for result in report["results"]}
    assert by_tag["base-outline:1.9.2"]["state"] == "failed"
    assert "exit code: 7" in by_tag["base-outline:1.9.2"]["said"]
    assert "yarn build" in Path(by_tag["base-outline:1.9.2"]["log"]).read_text(encoding="utf-8")
    assert by_tag["outline:1.9.2"]["state"] == "not tried"
    assert "it is built on" in by_tag["outline:1.9.2"]["said"]
    assert "base-outline:1.9.2, which isn't complete" in by_tag["outline:1.9.2"]["said"]
    assert world.tags("outline") == world.tags("base-outline") == []


def test_a_program_for_another_machine_is_found_out(world: World) -> None:
    """Although this machine would run it, emulating what the image is for."""
    world.mattermost("11.9.1")
    world.tarball("11.9.1", "arm64", holds="amd64")
    status, report = world.apply("--app", "mattermost")
    assert status == 1
    said = next(result["said"] for result in report["results"] if result["target"].endswith("mattermost:11.9.1"))
    assert "the smoke test on linux/arm64 failed" in said
    assert "exec format error: the arm64 image holds an x86-64 program" in said
    assert world.tags("mattermost") == []


def test_a_download_that_isnt_what_it_must_be_is_not_built_from(world: World) -> None:
    """Neither what the desired file knows, nor what stood there when it was seen first, may have changed."""
    world.mattermost("11.9.1")
    url = f"{world.upstream.url}/files/releases.mattermost.com/11.9.1/mattermost-11.9.1-linux-amd64.tar.gz"
    world.lead("mattermost", edit={f"{url}: {world.sums[url]}": f"{url}: {'f' * 64}"})
    status, report = world.apply("--app", "mattermost")
    assert status == 1
    said = what_failed(report)
    assert f"checksum mismatch: {url} is sha256:{world.sums[url]}, and the desired file says sha256:{'f' * 64}" in said
    assert world.tags("mattermost") == []
    # once the desired file is right, it is tried again at once, and what was seen is held to
    world.lead("mattermost")
    assert world.apply("--app", "mattermost")[0] == 0
    assert world.tags("mattermost") == ["11.9.1", "latest"]
    url = url.replace("amd64", "arm64")
    world.upstream.file(url.partition("/files/")[2], b"changed in silence")
    world.lead(
        "mattermost",
        edit={
            "url: https://mattermost.com": "url: https://example.org",
            "window:": "on-recipe-change: rebuild\nwindow:",
        },
    )
    assert targets(world.plan("--app", "mattermost"))[0] == "~ mattermost:11.9.1"
    status, report = world.apply("--app", "mattermost")
    assert status == 1
    assert f"checksum mismatch: {url}" in what_failed(report)
    assert "it was when it was seen first" in what_failed(report)
    held = world.plan("--app", "mattermost")["held"]
    assert "checksum mismatch" in held[0]["reason"]


def test_a_tag_that_moved_is_reported_not_rebuilt(world: World) -> None:
    """What was published stays, even where recipes that change are rebuilt; the plan names both commits."""
    world.mattermost("11.9.1", date="2026-01-01T00:00:00Z")
    world.lead("mattermost", edit={"    context:": "    cache: local\n    context:"})
    assert world.apply("--app", "mattermost")[0] == 0
    kept = sorted(path.name for path in (world.folder / "cache/build").iterdir())
    name = f"{world.namespace}/mattermost".replace("/", "-")
    assert kept == [f"{name}-linux-amd64", f"{name}-linux-arm64"]
    repository = world.upstream.repository("mattermost/mattermost")
    old = repository.commit("v11.9.1")
    new = repository.release("v11.9.1", {**repository.files, "more": "x"}, date="2026-01-01T00:00:00Z")
    for mode in ("report", "rebuild"):
        world.lead("mattermost", edit={"window:": f"on-recipe-change: {mode}\nwindow:"})
        plan = world.plan("--app", "mattermost")
        assert plan["changes"] == []
        said = f"upstream's v11.9.1 named commit {old[:12]} when this was built, now it names {new[:12]}"
        assert [drift["what"] for drift in plan["drift"]] == [said]


def test_a_release_between_plan_and_apply_waits_for_the_next_plan(world: World) -> None:
    """A saved plan is walked as it is; a plan that was expected is refused when another one is due."""
    world.mattermost("11.9.1", date="2026-01-01T00:00:00Z")
    world.lead("mattermost", 2, edit={"    context:": "    cache: registry\n    context:"})
    saved = world.folder / "plan.json"
    _, _, err = world.run("plan", "--format", "json", "--output", str(saved), "--app", "mattermost")
    assert not err
    expected = json.loads(saved.read_text(encoding="utf-8"))["hash"]
    world.mattermost("11.10.0", date="2026-02-01T00:00:00Z")
    status, report = world.apply("--app", "mattermost", "--expect-plan", expected)
    assert (status, world.tags("mattermost")) == (3, [])
    assert expected in report["errored"]
    status, report = world.apply(str(saved))
    assert (status, world.tags("mattermost")) == (0, ["11.9.1", "latest"]), what_failed(report)
    assert targets(world.plan("--app", "mattermost")) == ["+ mattermost:11.10.0", "> mattermost:latest"]
    assert world.tags("mattermost/cache") == ["linux-amd64", "linux-arm64"]


def platforms(world: World, ref: str) -> dict[str, str]:
    """The digest of each image in an index."""
    entries = world.manifest(ref)["manifests"]
    return {e["platform"]["architecture"]: e["digest"] for e in entries if e["platform"]["os"] != "unknown"}


def test_building_a_release_twice_gives_the_same_images(world: World) -> None:
    """Where the Dockerfile lets nothing in, nothing of the time, the order or the builder's cache gets in either."""
    world.mattermost("11.9.1", date="2026-01-01T00:00:00Z")
    assert world.apply("--app", "mattermost")[0] == 0
    first = platforms(world, "mattermost:11.9.1")
    assert first.keys() == {"amd64", "arm64"}
    world.crane("delete", f"{world.image('mattermost')}@{world.crane('digest', world.image('mattermost:11.9.1'))}")
    shutil.rmtree(world.folder / "state")
    assert targets(world.plan("--app", "mattermost")) == ["+ mattermost:11.9.1", "> mattermost:latest"]
    status, report = world.apply("--app", "mattermost", "--build-flag=--no-cache")
    assert status == 0, what_failed(report)
    assert platforms(world, "mattermost:11.9.1") == first
