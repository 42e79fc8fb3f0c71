"""What a build says of the run it belongs to, in the provenance that BuildKit writes: read back before it is signed.

BuildKit records the builder's id that it is told (`--provenance=builder-id=…`), and nothing of it goes into the image:
the same recipe gives the same image in every run. So the id is where a result is bound to one run, one plan and one
recipe: `https://github.com/acme/mirror/actions/runs/42/attempts/1#run=…&plan=…&recipe=…`. Before the `#` it is what
people look for there: who built this.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.apply.builds import Built
from reconciler.apply.proofs import MAX_STATEMENT, PREDICATE_TYPE
from reconciler.errors import BuildError, UsageError
from reconciler.evidence.verdict import kind_of
from reconciler.evidence.weigh import annotated
from reconciler.model.evidence import Kind
from reconciler.model.observed import Absent
from reconciler.model.wanted import Wanted
from reconciler.registry import parsing
from reconciler.registry.client import Registry
from reconciler.registry.manifests import Image, parse

_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
# it stands in a list of comma-separated values on buildx's command line
_PLACE = re.compile(r"https?://[A-Za-z0-9._~:/@%+-]{1,500}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Run:
    """One run that builds on several machines: a nonce that nobody could know before it, and the plan's hash."""

    nonce: str
    plan: str

    @classmethod
    def parse(cls, nonce: str, plan: str) -> Run:
        """The run with that nonce; UsageError where it is none."""
        if not _NONCE.fullmatch(nonce):
            raise UsageError(
                f"{nonce[:80]!r} names no run: it is 32 hex digits",
                todo="pass the `run` that `reconcile matrix` gave",
            )
        return cls(nonce, plan)

    def mark(self, recipe: str) -> str:
        """What stands behind the `#` of the builder's id of an image by that recipe."""
        return f"run={self.nonce}&plan={self.plan}&recipe={recipe}"


def new_nonce() -> str:
    """A nonce for a new run."""
    return secrets.token_hex(16)


def place(environ: Mapping[str, str], otherwise: str) -> str:
    """Who builds: the run of GitHub Actions that this is, or else the mirror's own repository."""
    server, repository, run = (
        environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    )
    url = f"{server}/{repository}/actions/runs/{run}/attempts/{environ.get('GITHUB_RUN_ATTEMPT', '1')}"
    url = url if server and repository and run else otherwise
    return url if _PLACE.fullmatch(url) else ""


async def check(registry: Registry, wanted: Wanted, built: Built, run: Run) -> None:
    """BuildError where the image isn't said to be this version by this recipe, or its provenance isn't of this run."""
    repository = wanted.target.repository
    where = str(repository.at(built.child.digest))
    image = await _image(registry, wanted, built, where)
    said = annotated(image.annotations)
    if said is None or (said.repository, said.version, said.recipe) != (
        str(repository),
        str(wanted.release.version),
        wanted.recipe.hash,
    ):
        raise BuildError("it doesn't say that it is this version, built by this recipe", where=where)
    builder = await _builder(registry, wanted, built, where)
    if builder.partition("#")[2] != run.mark(wanted.recipe.hash):
        raise BuildError("its provenance isn't of this run, this plan and this recipe", where=where)


async def _image(registry: Registry, wanted: Wanted, built: Built, where: str) -> Image:
    manifest = await registry.manifest(wanted.target.repository, built.child.digest)
    content = None if isinstance(manifest, Absent) else parse(manifest)
    if not isinstance(content, Image):
        raise BuildError("the image is gone", where=where)
    return content


async def _builder(registry: Registry, wanted: Wanted, built: Built, where: str) -> str:
    """The builder's id in the image's provenance; BuildError where there isn't exactly one provenance with one."""
    repository = wanted.target.repository
    if built.child.attestation is None:
        raise BuildError("it has no provenance", where=where)
    manifest = await registry.manifest(repository, built.child.attestation)
    content = None if isinstance(manifest, Absent) else parse(manifest)
    layers = content.layers if isinstance(content, Image) else ()
    found = [one for one in layers if kind_of(one.annotations.get(PREDICATE_TYPE, "")) is Kind.PROVENANCE]
    if len(found) != 1:
        raise BuildError(f"it has {len(found)} provenances, not one", where=where)
    data = await registry.blob(repository, found[0].digest, cap=MAX_STATEMENT)
    if isinstance(data, Absent):
        raise BuildError("its provenance is gone", where=where)
    return builder_id(parsing.load_object(data, where))


def builder_id(statement: Mapping[str, object]) -> str:
    """The id of the builder that an in-toto statement with SLSA provenance names (slsa.dev/spec); empty for none."""
    value: object = statement.get("predicate")
    for key in ("runDetails", "builder", "id"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
