"""Apply a plan: everything that takes, wired together for one run."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reconciler.apply.attach import LAG, Attacher
from reconciler.apply.builds import Build, Buildx
from reconciler.apply.buildx import BuildOptions, inspect_builder
from reconciler.apply.checksums import Checksums, Downloads
from reconciler.apply.cosign import Cosign
from reconciler.apply.elsewhere import Elsewhere, Fetched
from reconciler.apply.executor import Executor
from reconciler.apply.lines import Redactor
from reconciler.apply.look import look
from reconciler.apply.proofs import Origin, Prover
from reconciler.apply.publish import Publisher
from reconciler.apply.recording import rfc3339
from reconciler.apply.results import Outcome, Progress, Silent
from reconciler.apply.runconfig import RunConfig
from reconciler.apply.slots import Slots
from reconciler.apply.smoke import SmokeTest
from reconciler.apply.source import Fetch, Sources
from reconciler.apply.tagging import PATIENCE, Tagger
from reconciler.apply.toolbox import Limits, Toolbox
from reconciler.errors import ReconcileError, ToolError
from reconciler.evidence.judge import Judge
from reconciler.model.platform import Platform
from reconciler.model.recipe import Smoke
from reconciler.model.reference import DigestRef
from reconciler.model.signing import Signing
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.client import Registry
from reconciler.registry.credential import Credential, Use
from reconciler.registry.push import NotGranted


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses for a run.

    `desired` is the desired folder, `logs` gets a file per call of a program. `jobs` builds run side by side, at most
    `max_builds` in all (None: any number). `signers` calls of cosign run side by side. `key` and `token` are the
    signer's where the desired state doesn't say (a key as cosign takes it; a file with an OIDC token). `credential` is
    the mirror's registry's, `secrets` are hidden in logs besides. `plain_http`: that registry speaks http. `lag` is how
    long its writes may take to show, in seconds. `results`: what was built elsewhere; nothing is built here then.
    `environ`: the user's environment, of which programs see only what they need.
    """

    desired: Path
    logs: Path
    jobs: int = 2
    max_builds: int | None = None
    signers: int = 4
    build: BuildOptions = field(default_factory=BuildOptions)
    limits: Limits = field(default_factory=Limits)
    key: str = ""
    token: Path | None = None
    origin: Origin = field(default_factory=Origin)
    credential: Credential | None = None
    secrets: tuple[str, ...] = ()
    plain_http: bool = False
    lag: float = LAG
    patience: float = PATIENCE
    results: Elsewhere | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    docker: str = "docker"
    cosign: str = "cosign"


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


async def apply(
    plan: Plan,
    *,
    registry: Registry,
    judge: Judge,
    records: Records,
    signing: Signing,
    fetch: Fetch,
    options: Options,
    downloads: Downloads | None = None,
    progress: Progress | None = None,
    stop: asyncio.Event | None = None,
    now: Callable[[], datetime] = utc_now,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Outcome:
    """Makes the plan so, and says what became of each change.

    `fetch` checks out git sources, `downloads` tells the checksums of files that builds download. `progress` is told
    what happens; `stop`, once set, ends the run early. Raises NotReady where it couldn't finish, with nothing done;
    otherwise what fails is in the outcome.
    """
    if not plan.changes:
        return Outcome((), complete=plan.complete)
    own_folder(options.logs)
    with run_config(plan, options) as config:
        tools = toolbox(config, options)
        cosign = Cosign(
            tools,
            signing,
            key=options.key,
            token=options.token,
            plain_http=options.plain_http,
            parallel=options.signers,
        )
        await look(
            plan.changes,
            registry=registry,
            tools=tools,
            cosign=cosign,
            options=options.build,
            local=options.results is None and options.max_builds != 0,
        )
        sources = Sources(fetch, options.desired, tools.scratch)
        try:
            attacher = Attacher(registry, now=lambda: rfc3339(now()), lag=options.lag, clock=clock, sleep=sleep)
            prover = Prover(registry, judge, cosign, attacher, options.origin, sleep=sleep)
            tagger = Tagger(registry, patience=options.patience, clock=clock, sleep=sleep)
            slots = Slots(options.jobs, options.max_builds)
            executor = Executor(
                plan,
                Publisher(
                    registry,
                    records,
                    prover,
                    tagger,
                    _build(tools, sources, registry, options, records, downloads),
                    None if options.results is not None else smoke_test(tools, options),
                    slots,
                    now,
                    lambda: diagnose(plan, registry, tools, options),
                ),
                registry=registry,
                records=records,
                prover=prover,
                tagger=tagger,
                slots=slots,
                progress=progress or Silent(),
                now=now,
            )
            return await executor.walk(stop or asyncio.Event())
        finally:
            await sources.close()


def own_folder(logs: Path) -> None:
    """Makes the folder for logs; ToolError where it is somebody else's, who could have put links there."""
    try:
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = logs.lstat()
    except OSError as error:
        raise ToolError(f"the folder for logs can't be made: {error.strerror}", where=str(logs)) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ToolError("the folder for logs isn't ours", where=str(logs), todo="name another one with --logs")


def run_config(plan: Plan, options: Options) -> RunConfig:
    """The folder of this run, with the credential of the mirror's registry in docker's form."""
    host = plan.changes[0].target.repository.registry
    credential = options.credential
    if credential is None:
        return RunConfig(host, environ=options.environ)
    identity = credential.use is Use.IDENTITY
    return RunConfig(
        host,
        username=credential.username,
        password="" if identity else credential.secret,
        identity_token=credential.secret if identity else "",
        environ=options.environ,
    )


def toolbox(config: RunConfig, options: Options) -> Toolbox:
    """The programs of this run, which know no secret but hide all known ones."""
    secrets = [*options.secrets, *([options.credential.secret] if options.credential else [])]
    secrets += [options.environ.get(name, "") for name in ("GITHUB_TOKEN", "COSIGN_PASSWORD")]
    return Toolbox(
        config,
        options.logs,
        options.environ,
        Redactor(secrets),
        options.limits,
        options.docker,
        options.cosign,
    )


def _build(
    tools: Toolbox,
    sources: Sources,
    registry: Registry,
    options: Options,
    records: Records,
    downloads: Downloads | None,
) -> Build:
    if options.results is not None:
        return Fetched(registry, records, options.results)
    checksums = Checksums(downloads, records) if downloads else None
    return Buildx(tools, sources, registry, options.build, checksums)


def smoke_test(tools: Toolbox, options: Options) -> Callable[[Smoke, DigestRef, Platform, str], Awaitable[None]]:
    """Runs a smoke test by the builder of this run."""

    async def run(smoke: Smoke, image: DigestRef, platform: Platform, where: str) -> None:
        await SmokeTest(tools, options.build, smoke, image, platform, where).run()

    return run


async def diagnose(plan: Plan, registry: Registry, tools: Toolbox, options: Options) -> str:
    """Why a build may have failed that isn't its recipe's fault; empty where registry and builder answer."""
    try:
        granted = await registry.can_push(plan.changes[0].target.repository)
        if isinstance(granted, NotGranted):
            return granted.reason
        await inspect_builder(tools, options.build)
    except ReconcileError as error:
        return error.reason
    return ""
