"""What the verbs share: the desired state, and the clients of one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reconciler.commands import Settings
from reconciler.desired.loader import load
from reconciler.desired.schema.app import App
from reconciler.desired.state import Desired
from reconciler.errors import UsageError
from reconciler.evidence.judge import Judge
from reconciler.observe import Observer, Trust
from reconciler.plan.make import View, make
from reconciler.plan.plan import Plan
from reconciler.record import Records
from reconciler.registry.auth import REALMS, parse_realms
from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.survey import Survey
from reconciler.upstream import Upstreams

# apply checks from scratch what it hasn't checked so for this long: a forged record hides nothing for longer
RECHECK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Session:
    """One run: what is desired, for which apps, and the clients that ask and write."""

    settings: Settings
    desired: Desired
    apps: tuple[App, ...]
    records: Records
    credentials: Credentials
    registry: Registry
    judge: Judge
    upstreams: Upstreams

    def observer(self, trust: Trust | None = None) -> Observer:
        """Looks at the registry, believing records as far as the settings say."""
        return Observer(self.registry, self.judge, trust or Trust(fresh=self.settings.fresh))

    async def views(self, trust: Trust | None = None) -> list[View]:
        """What is wanted and what is there, for the apps of this run."""
        survey = Survey(self.desired, self.upstreams, self.observer(trust), self.records)
        return await survey.views(self.apps)

    def plan_of(self, views: Iterable[View]) -> Plan:
        """The plan that follows."""
        return make(
            views,
            policy=self.desired.signing.policy.hash,
            now=timestamp(),
            scope=self.settings.apps,
            retry=self.settings.retry,
        )


def timestamp(back: timedelta = timedelta()) -> str:
    """Now, or some time ago, as RFC 3339 in UTC to the second."""
    return (datetime.now(UTC) - back).strftime("%Y-%m-%dT%H:%M:%SZ")


def chosen(settings: Settings, desired: Desired) -> tuple[App, ...]:
    """The apps that this run is about; UsageError for a name that there isn't."""
    return tuple(desired.app(name) for name in sorted(set(settings.apps))) if settings.apps else desired.apps


def _realms(settings: Settings) -> dict[str, frozenset[str]]:
    """The token services that the operator names; UsageError where the variable can't be read."""
    try:
        return parse_realms(settings.env.get(REALMS, ""))
    except ValueError as error:
        raise UsageError(str(error), where=REALMS) from None


@asynccontextmanager
async def session(settings: Settings) -> AsyncIterator[Session]:
    """Everything for one run; DesiredError before anything is asked of any network."""
    desired = load(settings.desired, allow_local=settings.allow_private)
    apps = chosen(settings, desired)
    host = desired.mirror.registry
    insecure = frozenset({host}) if desired.mirror.plain_http else frozenset[str]()
    credentials = Credentials.load(settings.env, mirror=host, known=settings.secrets)
    registry = Registry(
        credentials,
        concurrency=settings.concurrency,
        insecure=insecure,
        allow_private=settings.allow_private,
        realms=_realms(settings),
    )
    async with (
        registry,
        Upstreams.open(
            settings.env,
            allow_private=settings.allow_private,
            cache=cache_folder(settings),
            lister=registry,
        ) as upstreams,
    ):
        records = Records(settings.state)
        yield Session(settings, desired, apps, records, credentials, registry, Judge(desired.signing.policy), upstreams)


def cache_folder(settings: Settings, what: str = "upstream") -> Path | None:
    """Where answers of upstreams (ETags), or else `what`, are kept between runs; None where there is no home."""
    base = settings.env.get("RECONCILE_CACHE")
    if base:
        return Path(base, what)
    home = settings.env.get("XDG_CACHE_HOME") or (settings.env.get("HOME", "") and f"{settings.env['HOME']}/.cache")
    return Path(home, "reconcile", what) if home else None
