"""Whether a download is there, and what it is."""

import asyncio
import hashlib

import pytest

from reconciler.errors import UpstreamError
from reconciler.local.upstream import LocalUpstream, Reply
from reconciler.model.evidence import Unknown
from reconciler.upstream import NotThere, There, Upstreams
from reconciler.upstream.checksums import find
from tests.upstream.conftest import Time

A, B = "a" * 64, "b" * 64


async def test_head_suffices_and_is_asked_once(upstream: LocalUpstream, run: Upstreams) -> None:
    """A URL that several releases require is asked once a run, by HEAD."""
    url = upstream.file("x", b"data")
    assert await asyncio.gather(*(run.answers(url) for _ in range(5))) == [There()] * 5
    assert [str(a) for a in upstream.asked()] == ["HEAD /files/x 200"]


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_get_where_head_is_not_allowed(upstream: LocalUpstream, run: Upstreams, status: int) -> None:
    """Where HEAD isn't allowed GET tells, without reading a large body."""
    url = upstream.file("x", b"x" * 40_000_000, head=status)
    assert await run.answers(url) == There()
    upstream.file("y", b"", head=status)
    upstream.remove("y")
    assert await run.answers(url.replace("/x", "/y")) == NotThere(f"{url.replace('/x', '/y')} answers 404")


@pytest.mark.parametrize("status", [404, 410])
async def test_definitely_not_there(upstream: LocalUpstream, run: Upstreams, status: int) -> None:
    """404 and 410 are definite."""
    url = upstream.file("x", b"", head=status)
    assert await run.answers(url) == NotThere(f"{url} answers {status}")


@pytest.mark.parametrize("status", [401, 418, 500, 503])
async def test_anything_else_is_unknown(upstream: LocalUpstream, run: Upstreams, status: int) -> None:
    """What isn't a definite no isn't taken for one."""
    url = upstream.file("x", b"", head=status)
    found = await run.answers(url)
    assert isinstance(found, Unknown)
    assert str(status) in found.reason


async def test_redirects_are_followed_and_bounded(upstream: LocalUpstream, run: Upstreams) -> None:
    """A download behind redirects answers; a loop of them is unknown."""
    assert await run.answers(upstream.redirect("a", upstream.file("x", b"x"))) == There()
    loop = upstream.redirect("loop", f"{upstream.url}/files/loop")
    assert await run.answers(loop) == Unknown(f"{loop}: more than 5 redirects")


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/x", "http://example.org/x", "https://[::1]/x", "ftp://a/x", "//"])
async def test_guard_holds_for_probes(url: str, time: Time) -> None:
    """A desired file can't make this program ask its own machine or network."""
    async with Upstreams.open({}, clock=time.clock) as run:
        found = await run.answers(url)
    assert isinstance(found, Unknown)
    assert time.slept == []


async def test_redirect_into_the_network_is_refused(upstream: LocalUpstream, run: Upstreams) -> None:
    """A redirect to where plain http isn't allowed is refused."""
    found = await run.answers(upstream.redirect("a", "http://10.0.0.1/secret"))
    assert isinstance(found, Unknown)
    assert "refused" in found.reason


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        (A, "x", A),
        (f"  {A.upper()}\n", "x", A),
        (f"sha256:{A}\n", "x", A),
        (f"{A}  x.tar.gz\n{B}  y.tar.gz\n", "y.tar.gz", B),
        (f"{A} *x.tar.gz\r\n", "x.tar.gz", A),
        (f"{A}  ./dist/x.tar.gz\n", "x.tar.gz", A),
        (f"SHA256 (x.tar.gz) = {A}\n", "x.tar.gz", A),
        (f"SHA2-256(x.tar.gz)= {B}\nSHA512 (x.tar.gz) = {A}{A}\n", "x.tar.gz", B),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{A}  x\n", "x", A),
        (f"{A}  x\n{A}  x\n", "x", A),
        (f"{A}  x\n{B}  x\n", "x", None),
        (f"{A}  other\n", "x", None),
        (f"{A}{A}  x\n", "x", None),
        ("", "x", None),
        ("<html>", "x", None),
    ],
)
def test_checksum_files(text: str, name: str, found: str | None) -> None:
    """Every usual form of a checksum file is read; what is missing, ambiguous or another algorithm's isn't."""
    assert find(text, name) == found


async def test_published_and_real_checksums(upstream: LocalUpstream, run: Upstreams) -> None:
    """What upstream says of a download and what it is can be compared."""
    data = b"tarball" * 100_000
    real = hashlib.sha256(data).hexdigest()
    url = upstream.file("x.tar.gz", data)
    sums = upstream.file("SHA256SUMS", f"{real}  x.tar.gz\n")
    assert await run.published_checksum(sums, "x.tar.gz") == await run.sha256_of(url) == real
    with pytest.raises(UpstreamError, match="no single sha256 for y"):
        await run.published_checksum(sums, "y.tar.gz")
    upstream.remove("x.tar.gz")
    with pytest.raises(UpstreamError, match="answers 404"):
        await run.sha256_of(url)


async def test_cut_download_is_not_hashed(upstream: LocalUpstream, run: Upstreams) -> None:
    """A download that ends early is read again, not taken for the file."""
    url = upstream.file("x", b"x" * 100_000)
    upstream.fail("/files/x", Reply(200, b"x" * 100_000, cut=True))
    assert await run.sha256_of(url) == hashlib.sha256(b"x" * 100_000).hexdigest()
