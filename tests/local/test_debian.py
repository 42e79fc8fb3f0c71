"""Which archive is the machine's own, out of what apt's sources may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ToolError, ToolMissing, ToolTimeout
from reconciler.local.debian import Source, own_source, release, run, sources

ARCHIVE = "http://archive.test/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

ONE_LINE = f"""# deb http://no.test/debian bookworm main
deb [ arch=amd64 signed-by={KEYRING} ] {ARCHIVE} bookworm main contrib # why not
deb-src {ARCHIVE} bookworm main
deb {ARCHIVE} bookworm-updates main
deb
"""

DEB822 = f"""# a comment
Types: deb deb-src
URIs: {ARCHIVE}
# another, in the middle of a stanza
Suites: trixie trixie-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://source.test/debian
Suites: trixie
Components: main
"""


def etc(folder: Path, **files: str) -> Path:
    """An /etc/apt with these files: `list_NAME` and `sources_NAME` in sources.list.d, `main` as sources.list."""
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        kind, _, stem = name.partition("_")
        path = folder / "sources.list" if name == "main" else folder / "sources.list.d" / f"{stem}.{kind}"
        path.write_text(text)
    return folder


def test_one_line_sources(tmp_path: Path) -> None:
    """The old format: options in brackets, comments, source packages left out."""
    assert sources(etc(tmp_path, main=ONE_LINE)) == (
        Source(ARCHIVE, "bookworm", ("main", "contrib"), KEYRING),
        Source(ARCHIVE, "bookworm-updates", ("main",)),
    )


def test_deb822_sources(tmp_path: Path) -> None:
    """The new format: comments anywhere, several suites, what is disabled left out, a whole key kept as it stands."""
    found = sources(etc(tmp_path, sources_debian=DEB822))
    assert [(source.uri, source.suite) for source in found] == [(ARCHIVE, "trixie"), (ARCHIVE, "trixie-updates")]
    assert found[0].signed_by.splitlines()[1:4] == [" -----BEGIN PGP PUBLIC KEY BLOCK-----", " .", " abc"]


def test_files_that_apt_ignores(tmp_path: Path) -> None:
    """Only .list and .sources count, as for apt."""
    folder = etc(tmp_path, disabled_x=ONE_LINE)
    assert sources(folder) == ()
    assert sources(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("codename", ["bookworm", "trixie"])
def test_third_parties_are_not_debian(tmp_path: Path, codename: str) -> None:
    """Others call their suites like Debian's; the archive that is Debian's own by suite, keys and path wins."""
    folder = etc(
        tmp_path,
        list_aaa=f"deb [signed-by=/etc/apt/x.gpg] https://x.test/apt {codename} main\ndeb https://y.test stable main\n",
        list_zzz=f"deb {ARCHIVE}-security {codename}-security main\ndeb {ARCHIVE} {codename} main\n",
    )
    assert own_source(sources(folder), codename) == Source(ARCHIVE, codename, ("main",))


def test_testing_and_unstable_have_rolling_suites(tmp_path: Path) -> None:
    """os-release names the coming release where the sources say `sid`."""
    folder = etc(tmp_path, main=f"deb {ARCHIVE} sid main\n")
    assert own_source(sources(folder), "forky") == Source(ARCHIVE, "sid", ("main",))
    assert own_source([], "forky") is None


def test_release(tmp_path: Path) -> None:
    """os-release(5): quotes or none, comments; no file is no answer."""
    (tmp_path / "os").write_text("# x\nID=debian\nPRETTY_NAME=\"Debian 13\"\nVERSION_CODENAME='trixie'\n")
    assert release(tmp_path / "os") == {"ID": "debian", "PRETTY_NAME": "Debian 13", "VERSION_CODENAME": "trixie"}
    assert release(tmp_path / "none") == {}


def test_programs_that_fail_are_errors_of_ours(tmp_path: Path) -> None:
    """Missing, failing and hanging programs: three kinds of error, with the last lines and no secrets of subprocess."""
    with pytest.raises(ToolMissing, match="no-such-program"):
        run(["no-such-program"], limit=5)
    with pytest.raises(ToolError, match="status 3") as failed:
        run(["sh", "-c", "echo why >&2; exit 3"], limit=5)
    assert failed.value.tail == ("why",)
    with pytest.raises(ToolTimeout, match="longer than"):
        run(["sleep", "60"], limit=0.05)
