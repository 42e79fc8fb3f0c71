"""The way that real upstreams are reached: https, a checked address, a certificate that must hold."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import reconciler.net
from reconciler.errors import UpstreamError
from reconciler.local.upstream import LocalUpstream
from reconciler.model.evidence import Unknown
from reconciler.model.upstream import Filter, GitHubReleases
from reconciler.upstream import There, Upstreams
from tests.upstream.conftest import Time


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[LocalUpstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    with LocalUpstream(tmp_path / "upstream", tls=context) as running:
        yield running


def at_localhost(upstream: LocalUpstream) -> dict[str, str]:
    return {name: url.replace("127.0.0.1", "localhost") for name, url in upstream.env.items()}


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands in for the public internet: everything else of the guard is as it is for users."""
    monkeypatch.setattr(reconciler.net, "is_private", lambda _ip: False)


@pytest.mark.usefixtures("public")
async def test_https_all_the_way(
    secure: LocalUpstream, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the operator's flag, API, refs, probes and git's fetch work over https with a trusted certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    commit = secure.repository("acme/hello").release("v1.0.0", {"f": "x"})
    asset = secure.file("asset", b"x").replace("127.0.0.1", "localhost")
    async with Upstreams.open(at_localhost(secure), clock=time.clock) as run:
        found = await run.releases(GitHubReleases("acme/hello"), Filter(), enough=1)
        assert [r.commit for r in found] == [commit]
        assert await run.answers(asset) == There()
        url = run.git_url(GitHubReleases("acme/hello"))
        assert await run.git._ls_remote(url, "refs/tags/") == {"refs/tags/v1.0.0": commit}
        done = await run.checkout(url, commit, tmp_path / "source")
        assert (done.path / "f").read_text() == "x"


@pytest.mark.usefixtures("public")
async def test_unknown_authority_is_refused(
    secure: LocalUpstream, tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that nobody vouches for stops HTTP and git, and the reason is told."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    commit = secure.repository("acme/hello").release("v1.0.0", {"f": "x"})
    async with Upstreams.open(at_localhost(secure), clock=time.clock) as run:
        with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
            await run.releases(GitHubReleases("acme/hello"), Filter(), enough=1)
        with pytest.raises(UpstreamError, match="certificate"):
            await run.checkout(run.git_url(GitHubReleases("acme/hello")), commit, tmp_path / "source")
    assert secure.asked() == []


async def test_guard_holds_over_https(secure: LocalUpstream, time: Time) -> None:
    """Without the operator's flag nothing on this machine is asked."""
    async with Upstreams.open(at_localhost(secure), clock=time.clock) as run:
        with pytest.raises(UpstreamError, match="an address of this machine or its network"):
            await run.releases(GitHubReleases("acme/hello"), Filter(), enough=1)
        assert isinstance(await run.answers(f"{secure.url}/files/x"), Unknown)
    assert secure.asked() == []
