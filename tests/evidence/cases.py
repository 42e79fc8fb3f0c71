"""The same cases for us and for cosign: what is attached, what we make of it, what cosign does, and why they differ.

`tests/evidence/test_cases.py` runs them through us on a registry in this process, `tests/stack/test_evidence.py` on a
real registry and through cosign 3 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.evidence import statements
from reconciler.local.sigstore.identity import GITHUB_ISSUER, WORKFLOW
from reconciler.local.sigstore.keys import Key
from reconciler.local.sigstore.mint import Fault, Layer, Mint, Workflow, sign_statement
from reconciler.model.digest import Digest
from reconciler.model.evidence import Finding, Invalid, Kind, Missing, Proven
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.signing import Identity, Policy, PublicKey, Signer
from tests.evidence.attach import Attachments, Bundle, Pushed

SIGN = "https://sigstore.dev/cosign/sign/v1"
SPDX = "https://spdx.dev/Document"
SLSA = "https://slsa.dev/provenance/v1"
EVIL = "https://github.com/evil/r/.github/workflows/w.yml@refs/heads/main"
EVIL_ISSUER = "https://issuer.example"
CALLER = "https://github.com/o/mirror"
US = Identity(GITHUB_ISSUER, WORKFLOW)
AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


@dataclass(frozen=True)
class World:
    """What a case is made of: an image that was pushed, and who can sign it."""

    mint: Mint
    key: Key
    repository: Repository
    image: Pushed

    @property
    def digest(self) -> Digest:
        return self.image.digest

    def sign(self, digest: Digest | None = None) -> bytes:
        """The statement of `cosign sign`."""
        return sign_statement(str(digest or self.digest))

    def about(self, *digests: Digest, type: str = SPDX) -> bytes:  # noqa: A002
        """A statement with these subjects."""
        content = statements.statement(type, {"made": "for a test"}, str(self.repository), digests)
        return statements.dump(content)

    def child(self, platform: Platform) -> Digest:
        return self.image.platforms[platform].digest

    def signed(self, *faults: Fault) -> Attachments:
        """A keyless signature bundle, with faults."""
        return Attachments([Bundle(self.mint.keyless_bundle(self.sign(), faults=faults), SIGN)])

    def legacy(self, *faults: Fault, signer: Workflow | Key | None = None) -> Layer:
        """A `.sig` layer."""
        return self.mint.legacy_signature(str(self.repository), str(self.digest), signer, faults=faults)

    def statement(self, payload: bytes, claims: str = SIGN, signer: Workflow | Key | None = None) -> Bundle:
        """A bundle of this statement."""
        if isinstance(signer, Key):
            return Bundle(self.mint.key_bundle(payload, signer), claims)
        signer = signer or Workflow()
        bundle = self.mint.keyless_bundle(payload, signer.identity, signer.issuer, signer.source_repository or None)
        return Bundle(bundle, claims)


@dataclass(frozen=True)
class Case:
    """`ours` names a finding for each kind that isn't missing. cosign's columns are None where it isn't asked.

    `verify` is cosign 3's `verify`, `verify_2` cosign 2's, `attested` cosign 3's `verify-attestation` for `type`.
    """

    name: str
    given: Callable[[World], Attachments]
    ours: Mapping[Kind, type[Finding]]
    verify: bool | None
    verify_2: bool | None = None
    attested: bool | None = None
    type: str = SIGN
    signer: Signer | None = US
    reason: str = ""
    why: str = ""
    lacking: Mapping[Kind, tuple[Platform, ...]] = field(default_factory=dict)

    def policy(self, world: World, root: str) -> Policy:
        """`signer` None stands for the world's key."""
        return Policy((self.signer or PublicKey(world.key.public_pem),), root)

    @property
    def differs(self) -> bool:
        """Whether cosign's answers aren't ours."""
        signed = self.ours.get(Kind.SIGNATURE) is Proven
        return any(said is not None and said != signed for said in (self.verify, self.verify_2)) or (
            self.attested is not None and self.attested != (self.ours.get(_KINDS[self.type]) is Proven)
        )


_KINDS = {SIGN: Kind.SIGNATURE, SPDX: Kind.SBOM, "spdxjson": Kind.SBOM, "slsaprovenance1": Kind.PROVENANCE}
SIGNED: Mapping[Kind, type[Finding]] = {Kind.SIGNATURE: Proven}
INVALID: Mapping[Kind, type[Finding]] = {Kind.SIGNATURE: Invalid}
NOTHING: Mapping[Kind, type[Finding]] = {}
SBOM: Mapping[Kind, type[Finding]] = {Kind.SBOM: Proven}
ANY_BUNDLE = "cosign 3 takes any verified bundle for the signature (protocols 3.12); a signature says that it is one"
BUNDLE_FIRST = "cosign 3 never looks at `.sig` where there is a bundle; a proof of ours counts wherever it is"


def _faulty(fault: Fault, name: str) -> Case:
    return Case(
        f"keyless bundle: {name}",
        lambda w: w.signed(fault),
        INVALID,
        verify=False,
        attested=False,
    )


def _faulty_legacy(fault: Fault, name: str) -> Case:
    return Case(
        f"keyless .sig: {name}", lambda w: Attachments(sig=[w.legacy(fault)]), INVALID, verify=False, verify_2=False
    )


CASES = (
    Case("nothing attached", lambda w: Attachments(), NOTHING, verify=False, verify_2=False, attested=False),
    # what is good
    Case("keyless bundle", lambda w: w.signed(), SIGNED, verify=True, attested=True),
    Case("keyless .sig", lambda w: Attachments(sig=[w.legacy()]), SIGNED, verify=True, verify_2=True),
    Case(
        "both layouts at once",
        lambda w: Attachments(w.signed().bundles, [w.legacy()]),
        SIGNED,
        verify=True,
        verify_2=True,
        attested=True,
    ),
    Case(
        "keyless bundle under a bare descriptor",
        lambda w: Attachments([replace(w.signed().bundles[0], bare=True)]),
        SIGNED,
        verify=True,
    ),
    Case(
        "two bundles, one of them ours",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(EVIL)), *w.signed().bundles]),
        SIGNED,
        verify=True,
        attested=True,
    ),
    Case(
        "two .sig layers, one of them ours",
        lambda w: Attachments(sig=[w.legacy(signer=Workflow(EVIL)), w.legacy()]),
        SIGNED,
        verify=True,
        verify_2=True,
    ),
    Case(
        "the wanted caller of a reusable workflow",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(source_repository="o/mirror"))]),
        SIGNED,
        verify=True,
        signer=replace(US, source_repository=CALLER),
    ),
    Case(
        "identity by expression",
        lambda w: w.signed(),
        SIGNED,
        verify=True,
        signer=Identity(GITHUB_ISSUER, r"https://github\.com/o/r/.*@refs/heads/main", regex=True),
    ),
    Case(
        "key bundle",
        lambda w: Attachments([w.statement(w.sign(), signer=w.key)]),
        SIGNED,
        True,
        None,
        True,
        signer=None,
    ),
    Case(
        "key .sig",
        lambda w: Attachments(sig=[w.legacy(signer=w.key)]),
        SIGNED,
        verify=True,
        verify_2=True,
        signer=None,
    ),
    # somebody else's
    Case(
        "wrong identity",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(EVIL))]),
        INVALID,
        verify=False,
        attested=False,
        reason=f"signed by {EVIL}",
    ),
    Case(
        "wrong issuer",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(issuer=EVIL_ISSUER))]),
        INVALID,
        verify=False,
        attested=False,
        reason=f"issuer {EVIL_ISSUER}",
    ),
    Case(
        "wrong identity, .sig",
        lambda w: Attachments(sig=[w.legacy(signer=Workflow(EVIL))]),
        INVALID,
        verify=False,
        verify_2=False,
        reason=f"signed by {EVIL}",
    ),
    Case(
        "wrong issuer, .sig",
        lambda w: Attachments(sig=[w.legacy(signer=Workflow(issuer=EVIL_ISSUER))]),
        INVALID,
        verify=False,
        verify_2=False,
        reason=f"issuer {EVIL_ISSUER}",
    ),
    Case(
        "another caller of the same reusable workflow",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(source_repository="evil/mirror"))]),
        INVALID,
        verify=False,
        signer=replace(US, source_repository=CALLER),
    ),
    Case(
        "an identity that the expression matches in part only",
        lambda w: w.signed(),
        INVALID,
        verify=False,
        signer=Identity(GITHUB_ISSUER, r"github\.com/o/r/.*", regex=True),
    ),
    Case(
        "wrong key",
        lambda w: Attachments([w.statement(w.sign(), signer=Key.generate())]),
        INVALID,
        verify=False,
        attested=False,
        signer=None,
    ),
    Case(
        "wrong key, .sig",
        lambda w: Attachments(sig=[w.legacy(signer=Key.generate())]),
        INVALID,
        verify=False,
        verify_2=False,
        signer=None,
    ),
    Case("keyless where a key is wanted", lambda w: w.signed(), INVALID, verify=False, attested=False, signer=None),
    Case(
        "a key where an identity is wanted",
        lambda w: Attachments([w.statement(w.sign(), signer=w.key)]),
        INVALID,
        verify=False,
        attested=False,
    ),
    # about something else
    Case(
        "signature copied from another image",
        lambda w: Attachments([w.statement(w.sign(Digest.of(b"another image")))]),
        INVALID,
        verify=False,
        attested=False,
        reason="a statement about sha256:",
    ),
    Case(
        "signature of a platform's image on the index",
        lambda w: Attachments([w.statement(w.sign(w.child(AMD64)))]),
        INVALID,
        verify=False,
        attested=False,
        reason="a statement about sha256:",
    ),
    Case(
        ".sig copied from another image",
        lambda w: Attachments(sig=[w.mint.legacy_signature("r.test/x", str(Digest.of(b"another image")))]),
        INVALID,
        verify=False,
        verify_2=False,
        reason="it signs sha256:",
    ),
    Case(
        "key signature copied from another image",
        lambda w: Attachments([w.statement(w.sign(Digest.of(b"another image")), signer=w.key)]),
        INVALID,
        verify=False,
        attested=False,
        signer=None,
    ),
    Case(
        "referrer of another image in the fallback index",
        lambda w: Attachments([replace(w.signed().bundles[0], subject=Digest.of(b"another image"))]),
        NOTHING,
        verify=True,
        attested=True,
        why="its manifest says that it refers to something else: who listed it here didn't attach it here, and no "
        "registry with the referrers API ever lists it here",
    ),
    # broken
    _faulty(Fault.EXPIRED, "logged after the certificate expired"),
    _faulty(Fault.NO_LOG_ENTRY, "no log entry"),
    _faulty(Fault.GARBLED_PROOF, "garbled inclusion proof"),
    _faulty(Fault.GARBLED_PROMISE, "promise over another time"),
    _faulty(Fault.OTHER_LOG, "logged in another log"),
    _faulty(Fault.OTHER_ENTRY, "another bundle's log entry"),
    _faulty(Fault.OTHER_CT_KEY, "SCT by another certificate log"),
    _faulty(Fault.NO_SCT, "no SCT"),
    _faulty(Fault.OTHER_CA, "another authority's certificate"),
    _faulty(Fault.BAD_SIGNATURE, "signature by another key"),
    _faulty(Fault.OTHER_PAYLOAD, "payload replaced"),
    _faulty_legacy(Fault.EXPIRED, "logged after the certificate expired"),
    _faulty_legacy(Fault.NO_LOG_ENTRY, "no log entry"),
    _faulty_legacy(Fault.OTHER_LOG, "logged in another log"),
    _faulty_legacy(Fault.OTHER_ENTRY, "another signature's log entry"),
    _faulty_legacy(Fault.NO_SCT, "no SCT"),
    _faulty_legacy(Fault.OTHER_CA, "another authority's certificate"),
    _faulty_legacy(Fault.BAD_SIGNATURE, "signature by another key"),
    _faulty_legacy(Fault.OTHER_PAYLOAD, "payload replaced"),
    Case(
        "key bundle: signature by another key",
        lambda w: Attachments([Bundle(w.mint.key_bundle(w.sign(), w.key, faults=[Fault.BAD_SIGNATURE]), SIGN)]),
        INVALID,
        verify=False,
        attested=False,
        signer=None,
    ),
    Case(
        "key bundle: payload replaced",
        lambda w: Attachments([Bundle(w.mint.key_bundle(w.sign(), w.key, faults=[Fault.OTHER_PAYLOAD]), SIGN)]),
        INVALID,
        verify=False,
        attested=False,
        signer=None,
    ),
    Case(
        "garbled bundle", lambda w: Attachments([Bundle(b"{not a bundle", SIGN)]), INVALID, verify=False, attested=False
    ),
    Case(
        "garbled bundle beside a good one",
        lambda w: Attachments([Bundle(b"{not a bundle", SIGN), *w.signed().bundles]),
        SIGNED,
        verify=True,
        attested=True,
    ),
    # where cosign's answer is about something else
    Case(
        "SBOM posing as signature",
        lambda w: Attachments([w.statement(w.about(w.digest), SIGN)]),
        {Kind.SIGNATURE: Missing, Kind.SBOM: Proven},
        verify=True,
        attested=False,
        why=ANY_BUNDLE,
    ),
    Case(
        "good .sig beside somebody else's bundle",
        lambda w: Attachments([w.statement(w.sign(), signer=Workflow(EVIL))], [w.legacy()]),
        SIGNED,
        verify=False,
        verify_2=True,
        why=BUNDLE_FIRST,
    ),
    Case(
        "good .sig beside our SBOM",
        lambda w: Attachments([w.statement(w.about(w.digest), SPDX)], [w.legacy()]),
        {Kind.SIGNATURE: Proven, Kind.SBOM: Proven},
        verify=True,
        verify_2=True,
        attested=False,
        why="signed and with an SBOM; cosign 3 asked for the signature by type looks at bundles only",
    ),
    Case(
        "somebody else's .sig beside our bundle",
        lambda w: Attachments(w.signed().bundles, [w.legacy(signer=Workflow(EVIL))]),
        SIGNED,
        verify=True,
        verify_2=False,
        attested=True,
        why="cosign 2 looks at `.sig` only",
    ),
    # SBOM and provenance
    Case(
        "SBOM of each platform",
        lambda w: Attachments([w.statement(w.about(w.digest, w.child(p)), SPDX) for p in (AMD64, ARM64)]),
        SBOM,
        verify=None,
        attested=True,
        type="spdxjson",
    ),
    Case(
        "SBOM of one platform only",
        lambda w: Attachments([w.statement(w.about(w.digest, w.child(AMD64)), SPDX)]),
        NOTHING,
        verify=None,
        attested=True,
        type="spdxjson",
        lacking={Kind.SBOM: (ARM64,)},
        why="cosign is content with an SBOM of any platform; of two platforms, one has none",
    ),
    Case(
        "SBOM of all platforms in one statement",
        lambda w: Attachments([w.statement(w.about(w.digest, w.child(AMD64), w.child(ARM64)), SPDX)]),
        SBOM,
        verify=None,
        attested=True,
        type="spdxjson",
    ),
    Case(
        "SBOM with a version in its type",
        lambda w: Attachments([w.statement(w.about(w.digest, type=f"{SPDX}/v2.3"), f"{SPDX}/v2.3")]),
        SBOM,
        verify=None,
        attested=False,
        type="spdxjson",
        why="actions/attest writes the version into the type, cosign compares the whole of it (protocols 3.8)",
    ),
    Case(
        "SBOM of cosign 2",
        lambda w: Attachments(att=[w.mint.legacy_attestation(w.about(w.digest))]),
        SBOM,
        verify=None,
        attested=True,
        type="spdxjson",
    ),
    Case(
        "SBOM by somebody else",
        lambda w: Attachments([w.statement(w.about(w.digest), SPDX, Workflow(EVIL))]),
        {Kind.SBOM: Invalid},
        verify=None,
        attested=False,
        type="spdxjson",
    ),
    Case(
        "provenance posing as SBOM",
        lambda w: Attachments([w.statement(w.about(w.digest, type=SLSA), SPDX)]),
        {Kind.PROVENANCE: Proven},
        verify=None,
        attested=False,
        type="spdxjson",
    ),
    Case(
        "provenance by key",
        lambda w: Attachments([w.statement(w.about(w.digest, type=SLSA), SLSA, w.key)]),
        {Kind.PROVENANCE: Proven},
        verify=None,
        attested=True,
        type="slsaprovenance1",
        signer=None,
    ),
)
