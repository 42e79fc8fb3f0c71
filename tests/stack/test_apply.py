"""Apply on the real parts: BuildKit builds, cosign signs, somebody else's registry holds; other tools check."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.assemble import assemble
from reconciler.apply.look import NotReady
from reconciler.apply.results import Done, Failed, Moved, NotTried
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.cncf import CncfRegistry
from reconciler.local.images import BaseImages
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.evidence import MIRROR_PREDICATE, Kind
from reconciler.model.recipe import Smoke
from reconciler.model.wanted import Waiting, WantedApp
from reconciler.plan.changes import AddPlatforms, Adopt, MovePointer, Prove, Publish, Restore
from reconciler.registry.descriptor import Manifest
from reconciler.registry.manifests import Index, parse
from reconciler.registry.media import OCI_INDEX
from tests.stack.mirror import AMD64, ARM64, Mirror, Steps
from tests.stack.running import run_tool
from tests.stack.watching import watched

New = Callable[..., Mirror]
NAMES = ("linux/amd64", "linux/arm64")
ONE = (AMD64,)


@pytest.fixture
def new(registry: CncfRegistry, base_images: BaseImages, builder: Builder, tools: Tools, tmp_path: Path) -> New:
    """Makes a mirror of its own on the registry that the tests share."""

    def make(**fields: Any) -> Mirror:
        return Mirror.on(registry.host, base_images, builder, tools, tmp_path, **fields)

    return make


def crane(tools: Tools, *words: object) -> str:
    """What crane says."""
    return run_tool(tools[Tool.CRANE], *words).stdout.strip()


def manifest(tools: Tools, ref: object) -> dict[str, Any]:
    """A manifest, by crane."""
    value: dict[str, Any] = json.loads(crane(tools, "manifest", ref))
    return value


def platforms(tools: Tools, ref: object) -> dict[str, str]:
    """The platforms of an index with their digests, attestations left out, by crane."""
    entries = manifest(tools, ref)["manifests"]
    images = [e for e in entries if e["platform"]["os"] != "unknown"]
    return {f"{e['platform']['os']}/{e['platform']['architecture']}": e["digest"] for e in images}


def attached(tools: Tools, mirror: Mirror, digest: str) -> dict[str, Any]:
    """The fallback index of a digest, by crane."""
    return manifest(tools, mirror.tag(digest.replace(":", "-")))


def put(tools: Tools, mirror: Mirror, tag: str, content: dict[str, Any]) -> None:
    """A manifest under a tag, as anyone with curl could write it."""
    at = f"http://{mirror.host}/v2/{mirror.repository().name}/manifests/{tag}"
    words = ["-sf", "-X", "PUT", "-H", f"Content-Type: {content['mediaType']}", "--data-binary", "@-", at]
    run_tool("curl", *words, stdin=json.dumps(content))


def verified(tools: Tools, mirror: Mirror, ref: object) -> None:
    """cosign, asked by hand, agrees that all four kinds of evidence are there."""
    key = ["--key", mirror.folder / "key.pub", "--insecure-ignore-tlog=true"]
    run_tool(tools[Tool.COSIGN], "verify", *key, ref)
    for kind in ("spdxjson", "slsaprovenance1", MIRROR_PREDICATE):
        run_tool(tools[Tool.COSIGN], "verify-attestation", *key, "--type", kind, ref)


async def test_publish_then_nothing(new: New, tools: Tools) -> None:
    """What is missing is built for both platforms, proven, tagged and pointed to; a second plan is empty.

    Whoever looks meanwhile never sees a tag that is single-arch or unsigned, and nothing of the run stays behind.
    """
    mirror = new(versions=("1.0.0", "1.1.0"))
    plan = await mirror.plan()
    with watched([mirror.tag(tag) for tag in ("1.0.0", "1.1.0", "latest")], NAMES) as watcher:
        outcome = await mirror.apply(plan)
    assert [type(result) for result in outcome.results] == [Done, Done, Done], outcome
    assert outcome.exit_code == 0
    assert watcher.seen == {"1.0.0", "1.1.0", "latest"}
    assert watcher.wrong == []
    for version in mirror.versions:
        assert platforms(tools, mirror.tag(version)).keys() == set(NAMES)
        verified(tools, mirror, mirror.tag(version))
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.1.0"))
    before = mirror.records.path("hello").read_bytes()
    assert (await mirror.plan()).changes == ()
    assert (await mirror.plan(fresh=True)).changes == ()
    assert (await mirror.reconcile()).results == ()
    assert mirror.records.path("hello").read_bytes() == before
    record = mirror.records.load("hello").images[str(mirror.repository())]
    assert not record.pending
    assert record.tags["1.1.0"].proofs.keys() == set(Kind)
    said = " ".join(path.read_text() for path in (mirror.folder / "logs").iterdir())
    assert "hello 1.1.0" in said


async def test_index_is_what_imagetools_would_make(new: New, tools: Tools, builder: Builder) -> None:
    """Our index lists the descriptors that `imagetools create --dry-run` lists for the same images."""
    mirror = new()
    outcome = await mirror.reconcile()
    assert outcome.exit_code == 0, outcome
    async with mirror.client() as client:
        found = await client.manifest(mirror.repository(), "1.0.0")
        assert isinstance(found, Manifest)
        content = parse(found)
        assert isinstance(content, Index)
        ours = json.loads(assemble(content.platforms, content.annotations))
    singles = []
    for platform, child in content.platforms.items():
        # what buildx pushed for one platform: the same two entries
        data = assemble({platform: child}, {})
        async with mirror.client() as client:
            await client.put_manifest(mirror.repository(), Digest.of(data), data, OCI_INDEX)
        singles.append(f"{mirror.repository()}@{Digest.of(data)}")
    words = builder.command("imagetools", "create", "--dry-run", *singles)
    words = [w for w in words if not w.startswith("--builder")]
    theirs = json.loads(run_tool(*words, env={"DOCKER_CONFIG": str(builder.docker_config)}).stdout)

    def key(entry: dict[str, Any]) -> str:
        return str(entry["digest"])

    assert sorted(ours["manifests"], key=key) == sorted(theirs["manifests"], key=key)


async def test_the_same_release_gives_the_same_images(new: New, tools: Tools) -> None:
    """Built again from nothing, a release's images have the same digests (SOURCE_DATE_EPOCH, rewritten timestamps)."""
    mirror = new()
    await mirror.reconcile()
    first = platforms(tools, mirror.tag("1.0.0"))
    again = replace(mirror, namespace=f"{mirror.namespace}/again")
    # annotations name the repository, so only what is in the images is compared
    await again.reconcile()
    second = platforms(tools, again.tag("1.0.0"))

    def config(mirror: Mirror, digest: str) -> str:
        return str(manifest(tools, f"{mirror.repository()}@{digest}")["config"]["digest"])

    for name in NAMES:
        assert config(mirror, first[name]) == config(again, second[name])


async def test_a_platform_is_added_and_the_others_stay(new: New, tools: Tools) -> None:
    """A tag of ours with one platform gets the other; the image that was there keeps its digest, the record the old."""
    mirror = new(platforms=ONE)
    await mirror.reconcile()
    before, digest = platforms(tools, mirror.tag("1.0.0")), crane(tools, "digest", mirror.tag("1.0.0"))
    mirror.platforms = (AMD64, ARM64)
    plan = await mirror.plan()
    assert isinstance(plan.changes[0], AddPlatforms)
    steps = Steps()
    outcome = await mirror.apply(plan, steps)
    assert outcome.exit_code == 0, outcome
    after = platforms(tools, mirror.tag("1.0.0"))
    assert after["linux/amd64"] == before["linux/amd64"]
    assert [line for line in steps.lines if "build" in line] == ["1.0.0 build linux/arm64"]
    verified(tools, mirror, mirror.tag("1.0.0"))
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.0.0"))
    tag = mirror.records.load("hello").images[str(mirror.repository())].tags["1.0.0"]
    assert [str(old.digest) for old in tag.replaced] == [digest]
    assert (await mirror.plan()).changes == ()


async def test_only_what_lacks_is_made(new: New, tools: Tools) -> None:
    """Any one proof that is taken away is made again, that one alone, and no tag or image is touched."""
    mirror = new(platforms=ONE)
    await mirror.reconcile()
    digest = crane(tools, "digest", mirror.tag("1.0.0"))
    whole = attached(tools, mirror, digest)
    for entry in whole["manifests"]:
        listed = attached(tools, mirror, digest)
        rest = [e for e in listed["manifests"] if e["annotations"] != entry["annotations"]]
        kind = entry["annotations"]["dev.sigstore.bundle.predicateType"]
        rest = [e for e in rest if e["annotations"]["dev.sigstore.bundle.predicateType"] != kind]
        put(tools, mirror, digest.replace(":", "-"), {**listed, "manifests": rest})
        plan = await mirror.plan()
        assert [type(change) for change in plan.changes] == [Prove]
        outcome = await mirror.apply(plan)
        assert outcome.exit_code == 0, outcome
        now = attached(tools, mirror, digest)["manifests"]
        made = [e for e in now if e not in rest]
        assert [e["annotations"]["dev.sigstore.bundle.predicateType"] for e in made] == [kind]
        assert all(e in now for e in rest)
    assert crane(tools, "digest", mirror.tag("1.0.0")) == digest
    verified(tools, mirror, mirror.tag("1.0.0"))
    assert (await mirror.plan()).changes == ()


async def test_restores_what_was_pushed_over(new: New, tools: Tools) -> None:
    """A tag that names a foreign image gets its recorded digest back by one write, and nothing is built."""
    mirror = new(platforms=ONE)
    await mirror.reconcile()
    digest = crane(tools, "digest", mirror.tag("1.0.0"))
    crane(tools, "copy", mirror.busybox, mirror.tag("1.0.0"))
    foreign = crane(tools, "digest", mirror.tag("1.0.0"))
    plan = await mirror.plan()
    assert [type(change) for change in plan.changes] == [Restore]
    steps = Steps()
    assert (await mirror.apply(plan, steps)).exit_code == 0
    assert not [line for line in steps.lines if "build" in line]
    assert crane(tools, "digest", mirror.tag("1.0.0")) == digest
    tag = mirror.records.load("hello").images[str(mirror.repository())].tags["1.0.0"]
    assert [str(old.digest) for old in tag.replaced] == [foreign]
    assert (await mirror.plan()).changes == ()


async def test_a_tag_that_moved_is_refused(new: New, tools: Tools) -> None:
    """A tag that someone wrote after the plan is left alone and reported; the rest goes on, status 3."""
    mirror = new(platforms=ONE, versions=("1.0.0", "1.1.0"))
    plan = await mirror.plan()

    def interfere(_number: int, line: str) -> None:
        if line.startswith("1.0.0 attest"):
            crane(tools, "copy", mirror.busybox, mirror.tag("1.0.0"))

    outcome = await mirror.apply(plan, Steps(interfere))
    by_tag = {result.change.target.tag: result for result in outcome.results}
    assert isinstance(by_tag["1.0.0"], Moved)
    assert isinstance(by_tag["1.1.0"], Done)
    assert isinstance(by_tag["latest"], Done)
    assert outcome.exit_code == 3
    assert crane(tools, "digest", mirror.tag("1.0.0")) == crane(tools, "digest", mirror.busybox)


async def test_a_failing_newest_release_doesnt_freeze_the_pointer(new: New, tools: Tools) -> None:
    """latest goes to the highest version that is complete; the failure backs off, and --retry tries it again."""
    mirror = new(platforms=ONE, versions=("1.0.0", "1.1.0"))
    mirror.dockerfile += 'RUN [ "$VERSION" != 1.1.0 ] || exit 3\n'
    outcome = await mirror.reconcile()
    by_tag = {result.change.target.tag: result for result in outcome.results}
    failed = by_tag["1.1.0"]
    assert isinstance(failed, Failed)
    assert "exit code: 3" in failed.reason
    assert "RUN" in run_tool("cat", failed.log).stdout
    assert isinstance(by_tag["latest"], Done)
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.0.0"))
    assert outcome.exit_code == 1
    later = await mirror.plan()
    assert [type(held.why) for held in later.held] == [Waiting]
    assert later.changes == ()
    assert [type(change) for change in (await mirror.plan(retry=True)).changes] == [Publish, MovePointer]
    # an edit of the recipe resets it
    mirror.dockerfile = mirror.dockerfile.replace("1.1.0", "0")
    assert (await mirror.reconcile()).exit_code == 0
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.1.0"))


async def test_a_withdrawn_release_lets_the_pointer_go_back(new: New, tools: Tools) -> None:
    """Only where the desired state rules out the version that it names does a pointer go to a lower one."""
    mirror = new(platforms=ONE, versions=("1.0.0", "1.1.0"))
    await mirror.reconcile()
    mirror.withdrawn = frozenset({"1.1.0"})
    plan = await mirror.plan()
    assert [type(change) for change in plan.changes] == [MovePointer]
    assert (await mirror.apply(plan)).exit_code == 0
    assert crane(tools, "digest", mirror.tag("latest")) == crane(tools, "digest", mirror.tag("1.0.0"))
    assert crane(tools, "digest", mirror.tag("1.1.0"))


async def test_adopts_exactly_the_named_digest(new: New, tools: Tools) -> None:
    """A foreign digest that the desired state names is signed as it is, and completed; one it doesn't name is not."""
    foreign = new(platforms=ONE)
    await foreign.reconcile()
    digest = Digest.parse(crane(tools, "digest", foreign.tag("1.0.0")))
    (foreign.folder / "key").unlink()
    (foreign.folder / "state" / "hello.json").unlink()
    mirror = new(adopt={"1.0.0": digest})
    plan = await mirror.plan()
    assert isinstance(plan.changes[0], Adopt), plan
    outcome = await mirror.apply(plan)
    assert outcome.exit_code == 0, outcome
    assert platforms(tools, mirror.tag("1.0.0")).keys() == set(NAMES)
    assert platforms(tools, mirror.tag("1.0.0"))["linux/amd64"] in crane(
        tools, "manifest", f"{mirror.repository()}@{digest}"
    )
    verified(tools, mirror, mirror.tag("1.0.0"))
    assert (await mirror.plan(fresh=True)).changes == ()
    other = replace(plan.changes[0], wanted=replace(plan.changes[0].wanted, adopt=None), build=(), keep={})
    refused = await mirror.apply(replace(plan, changes=(other,)))
    assert refused.exit_code == 1
    assert isinstance(refused.results[0], Failed)


async def test_an_image_on_another_of_its_own_version(new: New, tools: Tools) -> None:
    """A base comes first, and what is built on it gets exactly its digest; if it fails, so does what needs it."""
    mirror = new(platforms=ONE)
    tag = mirror.tag("1.0.0", "base")
    base = mirror.wanted("1.0.0", "base")
    recipe = {"bases": (("upstream/base", tag),)}
    top = mirror.wanted(
        "1.0.0", "hello", dockerfile="FROM upstream/base\nRUN cat /hello > /top\n", recipe=recipe, needs=(tag,)
    )
    app = WantedApp("hello", (top, base))
    outcome = await mirror.apply(await mirror.plan(app))
    assert outcome.exit_code == 0, outcome
    annotations = manifest(tools, mirror.tag("1.0.0"))["annotations"]
    assert annotations["org.opencontainers.image.base.digest"] == crane(tools, "digest", tag)
    assert (await mirror.plan(app)).changes == ()
    # the next version's base fails
    base2 = mirror.wanted("2.0.0", "base", dockerfile="FROM {busybox}\nRUN exit 7\n")
    tag2 = mirror.tag("2.0.0", "base")
    top2 = replace(top, target=mirror.tag("2.0.0"), release=base2.release, needs=(tag2,))
    top2 = replace(top2, recipe=replace(top.recipe, bases=(("upstream/base", tag2),)))
    outcome = await mirror.apply(await mirror.plan(WantedApp("hello", (top2, base2))))
    assert {type(result) for result in outcome.results} == {Failed, NotTried}
    assert outcome.exit_code == 1


async def test_smoke_tests_decide_before_the_tag(new: New, tools: Tools, base_images: BaseImages) -> None:
    """A command's status and output are checked on every platform; a program for another machine is found out."""
    good = Smoke(("cat", "/hello"), output="hello 1.0.0")
    mirror = new(recipe={"smoke": good})
    outcome = await mirror.reconcile()
    assert outcome.exit_code == 0, outcome
    mirror = new(recipe={"smoke": Smoke(("cat", "/hello"), output="hello 9")}, versions=("2.0.0",), platforms=ONE)
    failed = (await mirror.reconcile()).results[0]
    assert isinstance(failed, Failed)
    assert "output doesn't hold 'hello 9'" in failed.reason
    assert "hello 2.0.0 on x86_64" in failed.reason
    mirror = new(recipe={"smoke": Smoke(("/bin/false",))}, versions=("3.0.0",), platforms=ONE)
    failed = (await mirror.reconcile()).results[0]
    assert isinstance(failed, Failed)
    assert "ended with status 1, not 0" in failed.reason
    wrong = (
        f"FROM --platform=linux/amd64 {base_images.busybox} AS other\n"
        "FROM {busybox}\nCOPY --from=other /bin/busybox /tool\n"
    )
    mirror = new(recipe={"smoke": Smoke(("/tool", "true"))}, versions=("4.0.0",), dockerfile=wrong)
    failed = (await mirror.reconcile()).results[0]
    assert isinstance(failed, Failed)
    assert "exec format error: the arm64 image holds an x86-64 program" in failed.reason
    assert "4.0.0" not in crane(tools, "ls", mirror.repository()).split()


async def test_nothing_is_begun_that_cant_be_finished(new: New, tools: Tools) -> None:
    """Without a signer, a builder or a reachable registry nothing is done, and all that is missing is said at once."""
    mirror = new(platforms=ONE)
    plan = await mirror.plan()
    mirror.key.rename(mirror.folder / "elsewhere")
    mirror.builder = "no-such-builder"
    with pytest.raises(NotReady) as caught:
        await mirror.apply(plan)
    assert "no private key" in str(caught.value)
    assert "no-such-builder" in str(caught.value)
    assert mirror.repository().name not in crane(tools, "catalog", mirror.host).split()


async def test_a_limit_on_builds_leaves_the_rest_for_the_next_run(new: New) -> None:
    """--max-builds bounds one run; what was pushed is used by the next, which builds only the rest."""
    mirror = new()
    first = await mirror.reconcile(max_builds=1)
    assert isinstance(first.results[0], NotTried)
    assert first.exit_code == 0
    steps = Steps()
    second = await mirror.reconcile(steps)
    assert second.exit_code == 0, second
    assert len([line for line in steps.lines if "build" in line]) == 1


async def test_a_signal_ends_the_run_early(new: New, tools: Tools) -> None:
    """Once told to stop no change starts and the running build ends; status 130, and the next run finishes."""
    mirror = new(platforms=ONE, versions=("1.0.0", "1.1.0"))
    mirror.dockerfile += "RUN sleep 600\n"
    stop = asyncio.Event()
    steps = Steps(lambda _number, line: stop.set() if "build" in line else None)
    outcome = await asyncio.wait_for(mirror.reconcile(steps, stop=stop, jobs=1), 60)
    assert outcome.exit_code == 130
    assert {type(result) for result in outcome.results} <= {Failed, NotTried}
    assert any(isinstance(result, Failed) and result.interrupted for result in outcome.results)
    mirror.dockerfile = mirror.dockerfile.replace("sleep 600", "true")
    assert (await mirror.reconcile()).exit_code == 0
