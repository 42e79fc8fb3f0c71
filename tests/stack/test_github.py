"""The workflows as they stand, run from the pull request to the signed image, with the real builder and cosign.

`tests.github.runner` reads the files and does what GitHub would; nothing of a workflow is repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.demo import desired, hello
from reconciler.local.demo.witness import Witness
from reconciler.local.images import PLATFORMS, BaseImages
from reconciler.local.registry import Auth, LocalRegistry, User
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.plan import saved
from reconciler.plan.changes import Publish
from tests.github.files import workflow
from tests.github.runner import Died, Event, Job, Run, Runner
from tests.github.service import NAME, Service, git
from tests.github.standins import Standins
from tests.stack.running import run_tool
from tests.support.images import built
from tests.support.nouns import AMD64, ARM64

PLAN, COMMENT, APPLY = workflow("plan.yml"), workflow("comment.yml"), workflow("apply.yml")
IDENTITY = f"https://github.com/{NAME}/.github/workflows/apply.yml@refs/heads/main"
COMMITTED = "Record what apply did [skip ci]"


class World:
    """A mirror on this machine's GitHub, its registry and its upstream."""

    def __init__(self, service: Service, registry: LocalRegistry, base: BaseImages, tools: Tools, by: Builder) -> None:
        self.service = service
        self.registry = registry
        self.tools = tools
        self.place = desired.Place(registry.host, service.github.url, PLATFORMS, str(base.scanner))
        self.upstream = service.github.repository(hello.REPOSITORY)
        self.base = str(base.busybox)
        self.witness = Witness(desired.NAMESPACE, PLATFORMS)
        registry.on_tag_put(self.witness)
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "DOCKER_CONFIG": str(service.folder / "no-docker")}
        self.runner = Runner(service, env, Standins(service, tools, by).table)
        sigstore = service.sigstore
        self.start = service.push(
            {
                "desired/mirror.yaml": desired.mirror_yaml(self.place),
                "desired/trusted_root.json": sigstore.trusted_root.read_text(encoding="utf-8"),
                "desired/signing_config.json": sigstore.signing_config.read_text(encoding="utf-8"),
            },
            "A mirror without apps",
        )

    def hello(self, window: int, *, greeter: bool = True) -> str:
        """The app's file."""
        text = desired.hello_yaml(self.place).replace(f"window: {desired.WINDOW}", f"window: {window}")
        return text if greeter else text.partition("\n  greeter:")[0] + "\n"

    def apply(self, event: str = "schedule", **fields: Any) -> Run:
        """One run of apply.yml on the head of the branch."""
        before = fields.pop("before", lambda _job, _step: None)
        return self.runner.run(APPLY, Event(event, self.service.head, **fields), before)

    def names(self, image: str, tag: str) -> Digest | None:
        """The digest that a tag names."""
        return self.registry.store.resolve(f"{desired.NAMESPACE}/{image}", tag)

    def verified(self, image: str, tag: str) -> None:
        """cosign, asked by hand, finds all four proofs, by this workflow's identity."""
        ref = f"{self.registry.host}/{desired.NAMESPACE}/{image}:{tag}"
        who = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer"]
        who += [
            "https://token.actions.githubusercontent.com",
            "--trusted-root",
            str(self.service.sigstore.trusted_root),
        ]
        run_tool(self.tools[Tool.COSIGN], "verify", *who, ref)
        for kind in ("spdxjson", "slsaprovenance1"):
            run_tool(self.tools[Tool.COSIGN], "verify-attestation", *who, "--type", kind, ref)

    def record(self) -> Mapping[str, Any]:
        """`state/hello.json` on the branch."""
        record: Mapping[str, Any] = json.loads(git("show", "main:state/hello.json", cwd=self.service.origin))
        images: Mapping[str, Any] = record["images"]
        return {name.rpartition("/")[2]: image for name, image in images.items()}

    def written(self) -> int:
        """How many manifests were ever put into the registry."""
        return len([seen for seen in self.registry.requests if seen.method == "PUT" and "/manifests/" in seen.path])


@pytest.fixture
def world(tools: Tools, builder: Builder, base_images: BaseImages, tmp_path: Path) -> Iterator[World]:
    """A mirror whose registry lets everyone read, and accounts of jobs do what their permissions say."""
    users = (User("read", "read", push=()), User("write", "write"))
    with (
        Service(tmp_path) as service,
        LocalRegistry(tmp_path / "registry", auth=Auth(users, public=("*",))) as registry,
    ):
        yield World(service, registry, base_images, tools, builder)


def pull_request(world: World, branch: str, files: Mapping[str, str], owner: str = "mallory") -> tuple[Event, Event]:
    """Someone opens one: the event of its run, and that of the run that follows."""
    base = world.service.head
    head = world.service.push(files, f"Propose {branch}", branch)
    pull = world.service.mirror.pull(f"{owner}:{branch}", head, files=list(files))
    merge = world.service.merged(pull.number, branch)
    world.service.pull()
    about = {"number": pull.number, "base": {"sha": base}, "head": {"sha": head}}
    asked = Event("pull_request", merge, f"refs/pull/{pull.number}/merge", {"pull_request": about})
    followed = {
        "event": "pull_request",
        "conclusion": "success",
        "head_branch": branch,
        "head_sha": head,
        "head_repository": {"id": 7, "owner": {"login": owner}},
        "html_url": "https://github.example/acme/mirror/actions/runs/1",
    }
    return asked, Event("workflow_run", base, payload={"workflow_run": followed})


def followed_by(event: Event, run: Run) -> Event:
    """The event of the workflow that follows `run`."""
    of = {**event.payload["workflow_run"], "id": run.id, "conclusion": run.conclusion}
    return Event(event.name, event.sha, event.ref, {"workflow_run": of})


def test_from_pull_request_to_signed_image(world: World) -> None:
    """A fork proposes an app: its plan is commented; merged, it is built on machines of their own, signed, recorded.

    The next scheduled run has nothing to do and writes nothing; a release is then done in one job, as it is small.
    """
    hello.publish(world.upstream, world.base)
    asked, follows = pull_request(world, "add-hello", {"desired/hello.yaml": world.hello(1)})
    planned = world.runner.run(PLAN, asked)
    assert planned.conclusion == "success", planned.story
    assert "hello:1.2.0" in planned.job("plan").summary
    commented = world.runner.run(COMMENT, followed_by(follows, planned))
    assert commented.conclusion == "success", commented.story
    (comment,) = world.service.mirror.comments(1)
    assert comment.login == "github-actions[bot]"
    assert "hello:1.2.0" in comment.body
    assert "publish" in comment.body

    world.service.push({"desired/hello.yaml": world.hello(1)}, "Mirror hello")
    merged = world.apply("push")
    assert merged.conclusion == "success", merged.story
    jobs = {job.matrix["id"]: job for job in merged.jobs["build"]}
    assert {name: job.matrix["runner"] for name, job in jobs.items()} == {
        "hello@1.2.0@linux-amd64": ["ubuntu-24.04"],
        "hello@1.2.0@linux-arm64": ["ubuntu-24.04-arm"],
    }
    for job in (*jobs.values(), merged.job("plan")):
        assert not any(name.startswith("ACTIONS_ID_TOKEN") for name in job.env)
    # the finishing job had no builder at all
    assert not (merged.job("apply").temp / "bin" / "docker").exists()
    for image in ("hello", "greeter"):
        assert world.names(image, "1.2.0") == world.names(image, "latest") is not None
        world.verified(image, "1.2.0")
    assert world.registry.violations == []
    assert "4 of 4 changes done" in merged.job("apply").summary
    assert world.service.log()[0] == COMMITTED
    assert not world.record()["hello"].get("pending")

    commits, comments, written = world.service.log(), len(world.service.mirror.comments(1)), world.written()
    again = world.apply()
    assert (again.conclusion, again.result("build")) == ("success", "skipped"), again.story
    assert world.service.log() == commits
    assert len(world.service.mirror.comments(1)) == comments
    assert world.written() == written

    world.upstream.release("v1.3.0", hello.files("1.3.0", world.base))
    world.service.variables["RECONCILE_FEW"] = "4"
    small = world.apply("workflow_dispatch", inputs={"apps": "hello", "dry-run": False})
    assert (small.conclusion, small.result("build")) == ("success", "skipped"), small.story
    assert world.names("hello", "latest") == world.names("hello", "1.3.0") is not None
    world.verified("greeter", "1.3.0")
    assert world.service.log() == [COMMITTED, *commits]


def test_a_mistake_in_a_pull_request_shows_in_the_diff(world: World) -> None:
    """An invalid desired file fails the plan, is annotated at its line, and the comment says so; nothing is asked."""
    broken = world.hello(1).replace("window: 1", "window: none")
    asked, follows = pull_request(world, "broken", {"desired/hello.yaml": broken})
    planned = world.runner.run(PLAN, asked)
    assert planned.conclusion == "failure"
    line = broken.splitlines().index("window: none") + 1
    assert re.search(rf"^::error file=desired/hello\.yaml,line={line},", planned.job("plan").log, re.MULTILINE)
    world.runner.run(COMMENT, followed_by(follows, planned))
    (comment,) = world.service.mirror.comments(1)
    assert f"desired/hello.yaml:{line}" in comment.body
    assert len(world.registry.requests) == 0


def _lose(job: Job, step: Mapping[str, Any]) -> None:
    """The machine that builds 1.2.0 for arm64 is gone before it can leave a result."""
    if job.matrix.get("id") == "hello@1.2.0@linux-arm64" and "upload-artifact" in step.get("uses", ""):
        raise Died


def _forge(world: World, job: Job) -> None:
    """The result of 1.1.0 for amd64 names the image of 1.0.1, which stands in the same repository."""
    kept = world.service.artefacts[job.run.id]

    def result(version: str) -> Path:
        return next(kept[f"result-hello@{version}@linux-amd64"].glob("*.json"))

    digest = json.loads(result("1.0.1").read_text(encoding="utf-8"))["digest"]
    forged = json.loads(result("1.1.0").read_text(encoding="utf-8")) | {"digest": digest}
    result("1.1.0").write_text(json.dumps(forged, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    # and one that leads out of the folder
    (result("1.0.1").parent / "passwd.json").symlink_to("/etc/passwd")


def test_what_goes_wrong_costs_its_own_version(world: World) -> None:
    """One build fails, one machine dies, one result is forged, one tag moves after the plan: each costs its version.

    What was done is recorded though someone pushes meanwhile. The next run does just the rest.
    """
    hello.publish(world.upstream, world.base)
    failing = {**hello.files("0.9.0", world.base), "Dockerfile": f"FROM {world.base}\nRUN echo broken && exit 7\n"}
    world.upstream.release("v0.9.0", failing)
    world.service.push({"desired/hello.yaml": world.hello(5, greeter=False)}, "Mirror hello")

    def before(job: Job, step: Mapping[str, Any]) -> None:
        _lose(job, step)
        if job.name == "apply" and step.get("with", {}).get("pattern"):
            _forge(world, job)
            built(world.registry.store, "mirror/hello", [AMD64, ARM64], text="theirs", tag="1.0.1")
        if step.get("name") == "Commit and push":
            world.service.push({"README.md": "hello\n"}, "Meanwhile")

    first = world.apply("push", before=before)
    assert first.conclusion == "failure"
    failed = {job.matrix["id"] for job in first.jobs["build"] if job.result == "failure"}
    assert failed == {f"hello@{one}" for one in ("1.2.0@linux-arm64", "0.9.0@linux-amd64", "0.9.0@linux-arm64")}
    summary = first.job("apply").summary
    assert world.names("hello", "1.2.0") is None
    assert world.names("hello", "1.1.0") is None
    assert world.names("hello", "1.0.0") is not None, first.story
    world.verified("hello", "1.0.0")
    assert "left no result" in summary
    assert "this version, built by this recipe" in summary
    assert "when the plan was made" in summary
    assert "passwd.json" in summary
    assert "root:" not in summary
    assert [seen for seen in world.registry.violations if "1.0.1" not in str(seen)] == []
    assert world.service.log()[:2] == [COMMITTED, "Meanwhile"]
    # only the one that failed by itself backs off: the rest is nobody's recipe's fault
    (failure,) = world.record()["hello"]["failures"].values()
    assert "build 127.0.0.1" in failure["reason"]
    assert world.names("hello", "0.9.0") is None

    world.service.variables["RECONCILE_FEW"] = "0"
    second = world.apply()
    assert second.conclusion == "success", second.story
    # what was built and signed for the others is taken up again
    rebuilt = {job.matrix["id"] for job in second.jobs["build"]}
    assert "hello@1.2.0@linux-arm64" in rebuilt
    assert "hello@1.2.0@linux-amd64" not in rebuilt
    assert not any(name.startswith(("hello@1.0.0@", "hello@0.9.0@")) for name in rebuilt)
    assert world.names("hello", "latest") == world.names("hello", "1.2.0") is not None
    for version in ("1.0.1", "1.1.0", "1.2.0"):
        world.verified("hello", version)
    third = world.apply()
    assert (third.conclusion, third.result("build")) == ("success", "skipped"), third.story


def test_another_plan_than_the_first_job_made_is_refused(world: World) -> None:
    """A plan that someone puts in the place of this run's is neither built nor applied."""
    hello.publish(world.upstream, world.base)
    world.service.push({"desired/hello.yaml": world.hello(1, greeter=False)}, "Mirror hello")
    world.service.variables["RECONCILE_FEW"] = "0"

    def before(job: Job, step: Mapping[str, Any]) -> None:
        if job.name == "build" and "download-artifact" in step.get("uses", ""):
            path = world.service.artefacts[job.run.id]["plan"] / "plan.json"
            plan = saved.load(path.read_bytes(), "plan.json")
            change = plan.changes[0]
            assert isinstance(change, Publish)
            evil = replace(change.wanted, recipe=replace(change.wanted.recipe, target="evil"))
            # whole and with a hash of its own: only the first job's word tells it from this run's
            other = replace(plan, changes=(replace(change, wanted=evil), *plan.changes[1:]))
            # two jobs do this at once, and neither may read what the other has written half
            part = job.folder / "other.json"
            part.write_text(saved.dump(other), encoding="utf-8")
            part.replace(path)

    run = world.apply(before=before)
    jobs = [*run.jobs["build"], run.job("apply")]
    assert [job.result for job in jobs] == ["failure"] * 3
    assert all("the plan is not the expected one" in job.log for job in jobs), run.story
    assert world.written() == 0


def test_two_at_once_do_no_harm(world: World) -> None:
    """Two runs of the same commit, which GitHub's concurrency group would keep apart: no tag is ever half done.

    One of them publishes; what the other finds moved it refuses. Both records are on the branch, and all is as wanted.
    """
    hello.publish(world.upstream, world.base)
    world.service.push({"desired/hello.yaml": world.hello(1, greeter=False)}, "Mirror hello")
    world.service.variables["RECONCILE_FEW"] = "0"
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: world.apply(), range(2)))
    assert "success" in {run.conclusion for run in runs}, "\n".join(run.story for run in runs)
    assert world.registry.violations == []
    assert world.names("hello", "latest") == world.names("hello", "1.2.0") is not None
    world.verified("hello", "1.2.0")
    after = world.apply()
    assert (after.conclusion, after.result("build")) == ("success", "skipped"), after.story
    assert str(world.names("hello", "1.2.0")) == world.record()["hello"]["tags"]["1.2.0"]["digest"]
