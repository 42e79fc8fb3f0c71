"""`mirror.yaml`: what all apps share."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from reconciler.desired.schema.base import Count, Entry, EvidenceKind, Line, Wrong, exactly_one, unique
from reconciler.desired.schema.places import PinnedImage, RelativePath, Url
from reconciler.desired.schema.pointers import Pointers, PointersField
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.reference import check_host, check_name

# Docker's own scanner; the digest is what the moving tag named when this was written
SBOM_GENERATOR = (
    "docker/buildkit-syft-scanner:stable-1@sha256:ae4f3b554449e7e25548e7d8ccc029d17357348e30c6e3df01b92bc93654d6a9"
)
RUNNERS = {Platform("linux", "amd64"): ("ubuntu-24.04",), Platform("linux", "arm64"): ("ubuntu-24.04-arm",)}

_PRIVATE = re.compile(
    r"env://[A-Za-z_][A-Za-z0-9_]{0,127}|(?:awskms|gcpkms|azurekms|hashivault|k8s|pkcs11):[!-~]{1,500}", re.ASCII
)
_IDENTITY = ("identity", "identity-regex")
_RUNNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def _with_signature(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    # rule 2: at no moment can anyone pull a tag of ours that is unsigned
    if Kind.SIGNATURE not in kinds:
        raise Wrong("signature isn't among the evidence", "add it: no tag is ever published unsigned")
    return kinds


def _private(text: str) -> str:
    if not _PRIVATE.fullmatch(text):
        raise Wrong("this names no private key that may be named here", "write env://NAME or the URI of a KMS key")
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise Wrong(f"{text[:80]!r} is no regular expression", "check its brackets and backslashes") from None
    return text


def _runner(value: object) -> tuple[str, ...]:
    labels = value if isinstance(value, tuple) else (value,)
    if not labels or not all(isinstance(label, str) and _RUNNER.fullmatch(label) for label in labels):
        raise Wrong("this names no runner", "write its label or a list of labels, like ubuntu-24.04-arm")
    return tuple(str(label) for label in labels)


Platforms = Annotated[tuple[Platform, ...], Field(min_length=1, max_length=20), AfterValidator(unique)]
EvidenceKinds = Annotated[tuple[EvidenceKind, ...], AfterValidator(unique), AfterValidator(_with_signature)]
OnRecipeChange = Literal["report", "rebuild"]
Cache = Literal["registry", "gha", "local"]
Regex = Annotated[str, Field(max_length=1000), AfterValidator(_regex)]
Runner = Annotated[tuple[str, ...], PlainValidator(_runner)]


class Defaults(Entry):
    """What holds for every app that says nothing else."""

    window: Count = Field(10, description="write how many releases to keep, like 10")
    platforms: Platforms = Field(
        (Platform("linux", "amd64"), Platform("linux", "arm64")),
        description="write a list of platforms, like [linux/amd64, linux/arm64]",
    )
    pointers: PointersField = Field(
        default_factory=lambda: Pointers.read(("latest",)),
        description="write a list of moving tags, like [latest, major]",
    )
    evidence: EvidenceKinds = Field(tuple(Kind), description="write a list, like [signature, sbom, provenance, mirror]")
    on_recipe_change: OnRecipeChange = Field("report", description="write report or rebuild")
    cache: Cache | None = Field(None, description="write registry, gha or local")


class KeylessEntry(Entry):
    """A keyless signer: an OIDC issuer and an identity."""

    one_of = _IDENTITY

    issuer: Url = Field(description="write the OIDC issuer, like https://token.actions.githubusercontent.com")
    identity: Line | None = Field(None, description="write the certificate's identity in full")
    identity_regex: Regex | None = Field(None, description="write a regular expression for the whole identity")
    source_repository: Url | None = Field(None, description="write the URL of the repository that signs")


class KeyEntry(Entry):
    """A key of ours: the public half beside mirror.yaml, the private one elsewhere."""

    public: RelativePath = Field(description="write the name of a PEM file beside mirror.yaml")
    private: Annotated[str, AfterValidator(_private)] | None = Field(None, description="write env://NAME or a KMS URI")


class AcceptEntry(Entry):
    """One more signer whose proofs count as ours: an identity, or a public key."""

    one_of = ("public", "issuer")

    issuer: Url | None = Field(None, description="write the OIDC issuer")
    identity: Line | None = Field(None, description="write the certificate's identity in full")
    identity_regex: Regex | None = Field(None, description="write a regular expression for the whole identity")
    source_repository: Url | None = Field(None, description="write the URL of the repository that signs")
    public: RelativePath | None = Field(None, description="write the name of a PEM file beside mirror.yaml")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.issuer is not None:
            exactly_one([key for key in _IDENTITY if getattr(self, key.replace("-", "_")) is not None], _IDENTITY)
        elif any((self.identity, self.identity_regex, self.source_repository)):
            raise Wrong("a public key has no identity", "remove identity, or write the issuer instead of public")
        return self


class SigningEntry(Entry):
    """How proofs are made, and whose count."""

    one_of = ("keyless", "key")

    keyless: KeylessEntry | None = Field(None, description="write issuer and identity")
    key: KeyEntry | None = Field(None, description="write public: a PEM file beside mirror.yaml")
    accept: tuple[AcceptEntry, ...] = Field((), description="write a list of further signers")
    layouts: Annotated[tuple[Literal["bundle", "legacy"], ...], Field(min_length=1), AfterValidator(unique)] = Field(
        ("bundle",), description="write [bundle] or [bundle, legacy]"
    )
    trusted_root: RelativePath | None = Field(None, description="write the name of a file beside mirror.yaml")
    signing_config: RelativePath | None = Field(None, description="write the name of a file beside mirror.yaml")

    @model_validator(mode="after")
    def _bundles(self) -> Self:
        if "bundle" not in self.layouts:
            raise Wrong("bundle isn't among the layouts", "write [bundle] or [bundle, legacy]")
        return self


class Mirror(Entry):
    """The whole of `mirror.yaml`."""

    registry: Annotated[str, AfterValidator(check_host)] = Field(description="write the registry's host, like ghcr.io")
    namespace: Annotated[str, AfterValidator(check_name)] = Field(
        description="write where images go, like owner/mirror"
    )
    source: Url = Field(description="write the URL of the repository that holds these files")
    vendor: Line | None = Field(None, description="write who publishes these images")
    defaults: Defaults = Field(default_factory=Defaults, description="write window, platforms, pointers, evidence")
    signing: SigningEntry = Field(description="write keyless: (issuer, identity) or key: (public)")
    sbom_generator: PinnedImage = Field(SBOM_GENERATOR, description="write an image pinned by digest")
    plain_http: bool = Field(False, description="write true only for a registry without TLS")
    runners: dict[Platform, Runner] = Field(default_factory=dict, description="write a runner per platform")
