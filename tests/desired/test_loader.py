"""Loading a folder: all of it, or every mistake in it."""

# ruff: noqa: E501 -- mistakes stand in one line, as they are shown

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from reconciler.desired.loader import load
from reconciler.errors import DesiredError, Problem
from reconciler.model.signing import Identity, Keyless, KeyPair, PublicKey
from tests.desired.folder import APP, MIRROR, mistakes, write

PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


def test_a_file_with_three_mistakes_reports_all_three(tmp_path: Path) -> None:
    """Each with file, line, column, the field's path, what is wrong and what to write; nothing is asked or done."""
    folder = write(
        tmp_path / "desired",
        outline="""\
            app: outline
            upstream:
              github: outline/outline
              tag: v{versoin}
            windw: 10
            images:
              outline:
                edits:
                  - {file: Dockerfile, find: a, replace: b, count: none}
            """,
    )
    with pytest.raises(DesiredError) as caught:
        load(folder)
    assert str(caught.value).replace(folder.as_posix(), "desired") == (
        "desired/outline.yaml:4:8: $.upstream.tag: {versoin} is no placeholder (did you mean version?)\n"
        "desired/outline.yaml:5:1: $.windw: unknown key 'windw' (did you mean window?)\n"
        "desired/outline.yaml:9:56: $.images.outline.edits[0].count: this is text, not a whole number "
        "(write how often it must match)\n"
        "3 mistakes in the desired state; nothing was asked or done"
    )


def test_mistakes_of_all_files_come_in_one_go_and_in_order(tmp_path: Path) -> None:
    """A file that isn't YAML, one that isn't a mapping and one with a wrong key don't hide each other."""
    write(
        tmp_path,
        a="app: a\n\tb: 1\n",
        b="- a list\n",
        c="app: c\nupstream: {github: me/c, tag: 'v{version}'}\nimages: {c: {unpni: true}}\n",
        mirror=MIRROR.replace("registry", "registri"),
    )
    assert mistakes(tmp_path) == [
        "a.yaml:2:1: a tab where YAML expects spaces (indent with spaces)",
        "b.yaml:1:1: $: this is no mapping (write key: value)",
        "c.yaml:3:14: $.images.c.unpni: unknown key 'unpni' (did you mean unpin?)",
        "mirror.yaml:1:1: $.registri: unknown key 'registri' (did you mean registry?)",
        "mirror.yaml:1:1: $.registry: registry is missing (write the registry's host, like ghcr.io)",
    ]


def test_a_mistake_hides_no_other_in_the_same_file(tmp_path: Path) -> None:
    """Duplicate keys, exclusive keys, several pointers and unknown bases are all told beside a wrong type."""
    write(
        tmp_path,
        app="""\
            app: app
            window: ten
            window: 5
            upstream: {github: me/app, git: "https://example.org/x.git", tag: "v{version}", versoins: ">1"}
            pointers: {"10": ">=1", stable: ">x", major: yes}
            images:
              app:
                bases: {base: nowhere}
                source: {ref: 1}
            """,
    )
    assert mistakes(tmp_path) == [
        "app.yaml:2:9: $.window: this is neither a whole number nor a mapping (write a number, or {count: 10, skip-blocked: true})",
        "app.yaml:3:1: the key 'window' is here twice, first in line 2 (keep one of them)",
        "app.yaml:4:11: $.upstream: github and git exclude each other (write exactly one of github, gitlab, git, image)",
        "app.yaml:4:81: $.upstream.versoins: unknown key 'versoins' (did you mean versions?)",
        "app.yaml:5:18: $.pointers['10']: '10' looks like a version (give it a name like esr or stable)",
        "app.yaml:5:33: $.pointers.stable: '>x' is no range of versions (write it like >=10.5,<11)",
        "app.yaml:5:46: $.pointers.major: major is one pointer per major version (write true or false)",
        "app.yaml:8:19: $.images.app.bases.base: no app has an image 'nowhere' (known are app)",
        "app.yaml:9:13: $.images.app.source: one of git, folder is missing (write exactly one of git, folder)",
        'app.yaml:9:19: $.images.app.source.ref: this is a number, not text (put it into quotes: "1")',
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("window: 0", "app.yaml:4:9: $.window: it must be at least 1 (write how many releases to keep, like 10)"),
        (
            "window: {count: 5, skip: true}",
            "app.yaml:4:20: $.window.skip: unknown key 'skip' (known are count, skip-blocked)",
        ),
        ("licences: MIT", "app.yaml:4:1: $.licences: unknown key 'licences' (did you mean licenses?)"),
        ("title: [a]", "app.yaml:4:8: $.title: this is a list, not text (write the app's name)"),
        ("title: 7", 'app.yaml:4:8: $.title: this is a number, not text (put it into quotes: "7")'),
        (
            'title: "a\\nb"',
            "app.yaml:4:8: $.title: the text holds U+000A, which nobody sees (write it in one line of visible text)",
        ),
        (
            "platforms: [linux/amd64, linux/ARM]",
            "app.yaml:4:26: $.platforms[1]: 'linux/ARM' is no platform (write os/architecture[/variant], like linux/arm64)",
        ),
        (
            "platforms: []",
            "app.yaml:4:12: $.platforms: it needs at least 1 (write a list, like [linux/amd64, linux/arm64])",
        ),
        (
            "evidence: [sbom]",
            "app.yaml:4:11: $.evidence: signature isn't among the evidence (add it: no tag is ever published unsigned)",
        ),
        (
            "evidence: [signatur]",
            "app.yaml:4:12: $.evidence[0]: 'signatur' is no kind of evidence (did you mean signature?)",
        ),
        (
            "on-recipe-change: ask",
            "app.yaml:4:19: $.on-recipe-change: 'ask' is none of report, rebuild (write report or rebuild)",
        ),
        ("create: [ap]", "app.yaml:4:10: $.create[0]: 'ap' is no image of this app (did you mean app?)"),
        (
            "url: http://example.org",
            "app.yaml:4:6: $.url: 'http://example.org' is not https (write a URL that starts with https://)",
        ),
        (
            "pointers: latest",
            'app.yaml:4:11: $.pointers: pointers are a list or a mapping (write [latest, major] or {esr: ">=11.7,<11.8"})',
        ),
    ],
)
def test_each_mistake_says_what_to_write_instead(tmp_path: Path, line: str, problem: str) -> None:
    """One wrong line, one problem at its place."""
    write(tmp_path, app=f"app: app\nupstream: {{github: me/app, tag: 'v{{version}}'}}\nimages: {{app: {{}}}}\n{line}\n")
    assert mistakes(tmp_path) == [problem]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (
            "{dockerfile: ../x}",
            "app.yaml:3:28: $.images.app.dockerfile: '../x' is no path inside (write a relative path without .., like server/build)",
        ),
        (
            "{own-dockerfile: x}",
            "app.yaml:3:32: $.images.app.own-dockerfile: this can't be used: it isn't there (check the name)",
        ),
        (
            "{source: {folder: .}}",
            "app.yaml:3:33: $.images.app.source.folder: this can't be used: it is the desired folder itself (name a folder in it)",
        ),
        (
            "{source: {folder: x, ref: y}}",
            "app.yaml:3:24: $.images.app.source: a folder has no ref and no submodules (remove them)",
        ),
        (
            "{dockerfile: a, own-dockerfile: b}",
            "app.yaml:3:47: $.images.app.own-dockerfile: dockerfile and own-dockerfile exclude each other (keep one of them)",
        ),
        ('{args: {A: "{arhc}"}}', "app.yaml:3:26: $.images.app.args.A: {arhc} is no placeholder (did you mean arch?)"),
        (
            "{args: {1: x}}",
            "app.yaml:3:23: $.images.app.args['1']: '1' is no name of a build argument (letters, digits and _, no digit first)",
        ),
        (
            '{annotations: {a: "{arch}"}}',
            "app.yaml:3:33: $.images.app.annotations.a: {arch} can't be used here (usable are version, tag, commit, major, minor)",
        ),
        (
            "{labels: {org.opencontainers.image.source: x}}",
            "app.yaml:3:25: $.images.app.labels['org.opencontainers.image.source']: org.opencontainers.image.source is set by reconcile (remove it)",
        ),
        (
            "{adopt: {10.3.1-0: 'sha256:aa'}}",
            "app.yaml:3:24: $.images.app.adopt['10.3.1-0']: 10.3.1-0 is a pre-release (name a version that has only numbers)",
        ),
        (
            "{smoke: {command: []}}",
            "app.yaml:3:33: $.images.app.smoke.command: it needs at least 1 (write a list: the program and its arguments)",
        ),
        (
            "{edits: [{find: a, regex: b, replace: c}]}",
            "app.yaml:3:24: $.images.app.edits[0]: find and regex exclude each other (write exactly one of find, regex)",
        ),
        (
            '{edits: [{regex: "(", replace: c}]}',
            "app.yaml:3:32: $.images.app.edits[0].regex: '(' is no regular expression (check its brackets and backslashes)",
        ),
        (
            "{source: {git: 'https://u:p@example.org/x'}}",
            "app.yaml:3:30: $.images.app.source.git: the URL holds a user or a password (remove it: credentials never stand in desired files)",
        ),
        (
            "{source: {git: 'https://10.0.0.1/x'}}",
            "app.yaml:3:30: $.images.app.source.git: 10.0.0.1 is on this machine or in a private net (name a public host (an operator may allow others by a flag))",
        ),
        (
            "{source: {git: x, ref: {version}}}",
            'app.yaml:3:38: $.images.app.source.ref: this is a mapping, not text (put text that starts with { into quotes, like "{version}")',
        ),
    ],
)
def test_each_mistake_in_an_image_says_what_to_write_instead(tmp_path: Path, image: str, problem: str) -> None:
    """One wrong value, a problem at its place."""
    write(tmp_path, app=f"app: app\nupstream: {{github: me/app, tag: 'v{{version}}'}}\nimages: {{app: {image}}}\n")
    assert problem in mistakes(tmp_path)


def test_files_that_cannot_be_desired_files_are_told(tmp_path: Path) -> None:
    """Another suffix, another app's name, odd file names, FIFOs, links that lead out, and what isn't UTF-8."""
    folder = write(tmp_path / "d", app=APP)
    (folder / "b.yml").write_text(APP)
    (folder / "c.yaml").write_text(APP.replace("  app: {}", "  c: {}"))
    (folder / "d\n::error::.yaml").write_text(APP)
    os.mkfifo(folder / "e.yaml")
    (tmp_path / "out.yaml").write_text(APP)
    (folder / "f.yaml").symlink_to(tmp_path / "out.yaml")
    (folder / "g.yaml").write_bytes(b"\xff\xfea\0")
    (folder / "h.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    (folder / ".hidden.yaml").write_text("ignored: true")
    (folder / "README.md").write_text("ignored")
    (folder / "app").mkdir()
    assert mistakes(folder) == [
        "b.yml:1:1: a desired file ends in .yaml (rename it to b.yaml)",
        "c.yaml:1:6: $.app: the app app is in the file of c (write app: c, or rename the file to app.yaml)",
        "d\\n::error::.yaml:1:1: the file has an odd name (use letters, digits, . _ and - only)",
        "e.yaml:1:1: it is no regular file (put a plain file there)",
        "f.yaml:1:1: it leads out of d/ (keep what is used inside the desired folder)",
        "g.yaml:1:1: it isn't UTF-8 text from line 1 on (save it as UTF-8)",
        "h.yaml:1:1: it is larger than 1 MiB (no desired file needs that)",
    ]


def test_a_folder_without_mirror_yaml_or_no_folder_at_all_is_told(tmp_path: Path) -> None:
    """Neither ends in a traceback."""
    (tmp_path / "app.yaml").write_text(APP)
    assert mistakes(tmp_path) == [
        "mirror.yaml:1:1: the file isn't there (write registry, namespace, source and signing in it)"
    ]
    with pytest.raises(DesiredError, match="this is no folder that can be read"):
        load(tmp_path / "gone")


def test_names_and_bases_are_checked_between_files(tmp_path: Path) -> None:
    """Two apps with one image, a base nobody has, a circle over two files, and a base for fewer platforms."""
    head = "upstream: {{github: me/x, tag: 'v{{version}}'}}\n"
    write(
        tmp_path,
        a="app: a\n" + head.format() + "images:\n  one: {bases: {x: two}}\n  same: {bases: {x: nobody}}\n",
        b="app: b\n" + head.format() + "images:\n  two: {bases: {x: one}}\n  same: {}\n",
        c="app: c\n" + head.format() + "platforms: [linux/amd64]\nimages:\n  small: {}\n",
        d="app: d\n" + head.format() + "images:\n  big: {bases: {x: small}}\n",
    )
    assert mistakes(tmp_path) == [
        "a.yaml:4:16: $.images.one.bases: images built on each other in a circle: one -> two -> one (take one of these bases away)",
        "a.yaml:5:21: $.images.same.bases.x: no app has an image 'nobody' (known are big, one, same, small, two)",
        "b.yaml:5:9: $.images.same: the image same is that of a.yaml already (give it another name: each has its own repository)",
        "d.yaml:4:20: $.images.big.bases.x: small isn't built for linux/arm64 (add linux/arm64 to the platforms in c.yaml, or take it from these)",
    ]


def test_long_chains_of_bases_are_no_circle(tmp_path: Path) -> None:
    """A chain of 50 images is valid, whatever the order of their names."""
    images = "".join(f"  i{n}: {{bases: {{x: i{n + 1}}}}}\n" for n in range(49)) + "  i49: {}\n"
    write(tmp_path, app=f"app: app\nupstream: {{github: a/b, tag: 'v{{version}}'}}\nimages:\n{images}")
    assert mistakes(tmp_path) == []


def test_this_machine_is_named_only_where_the_operator_allows_it(tmp_path: Path) -> None:
    """Loopback, also without TLS, is refused unless a flag says otherwise; other hosts need https even then."""
    app = """\
        app: app
        upstream: {git: "http://127.0.0.1:3000/x.git", tag: "v{version}"}
        images: {app: {requires: ["http://[::1]:3000/{version}/{arch}"]}}
        """
    write(tmp_path, app=app)
    assert [line.split(" ", 1)[0] for line in mistakes(tmp_path)] == ["app.yaml:2:17:", "app.yaml:3:27:"]
    assert mistakes(tmp_path, allow_local=True) == []
    write(tmp_path, app=app.replace("[::1]", "example.org"))
    assert len(mistakes(tmp_path, allow_local=True)) == 1


def test_loading_asks_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is opened, valid or not."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert mistakes(write(tmp_path, app=APP)) == []
    assert mistakes(write(tmp_path, app="app: 1")) != []


def test_keyless_signing_and_further_signers_become_one_policy(tmp_path: Path) -> None:
    """Our own identity comes first, then the accepted ones; a regular expression stays one."""
    (tmp_path / "old.pub").write_text(PEM)
    (tmp_path / "root.json").write_text('{"a": 1}')
    (tmp_path / "config.json").write_text("{}")
    mirror = MIRROR + (
        "  accept:\n    - {issuer: 'https://i.example', identity-regex: 'a.*', source-repository: 'https://s.example'}\n"
        "    - {public: old.pub}\n  layouts: [legacy, bundle]\n  trusted-root: root.json\n  signing-config: config.json\n"
    )
    signing = load(write(tmp_path, mirror=mirror)).signing
    own = Identity(
        "https://token.actions.githubusercontent.com",
        "https://github.com/me/mirror/.github/workflows/apply.yml@refs/heads/main",
    )
    assert signing.method == Keyless(own, str(tmp_path.resolve() / "config.json"))
    assert signing.policy.accept == (
        own,
        Identity("https://i.example", "a.*", regex=True, source_repository="https://s.example"),
        PublicKey(PEM, "old.pub"),
    )
    assert (signing.policy.trusted_root, signing.policy.layouts) == ('{"a": 1}', ("bundle", "legacy"))


def test_a_key_is_named_by_its_public_half_and_never_stored(tmp_path: Path) -> None:
    """The private key is env://NAME or a KMS URI; a private key beside mirror.yaml, or a path to one, is refused."""
    head = MIRROR.split("signing:")[0]
    (tmp_path / "cosign.pub").write_text(PEM)
    (tmp_path / "cosign.key").write_text("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    write(tmp_path, mirror=f"{head}signing:\n  key: {{public: cosign.pub, private: 'env://COSIGN_PRIVATE_KEY'}}\n")
    assert load(tmp_path).signing.method == KeyPair(PublicKey(PEM, "cosign.pub"), "env://COSIGN_PRIVATE_KEY")
    write(tmp_path, mirror=f"{head}signing:\n  key: {{public: cosign.key, private: cosign.key}}\n")
    assert mistakes(tmp_path) == [
        (
            "mirror.yaml:5:38: $.signing.key.private: this names no private key that may be named here "
            "(write env://NAME or the URI of a KMS key)"
        )
    ]
    write(tmp_path, mirror=f"{head}signing:\n  key: {{public: cosign.key}}\n")
    assert mistakes(tmp_path) == [
        (
            "mirror.yaml:5:17: $.signing.key.public: this can't be used: it holds a private key "
            "(remove it from the repository and make a new one)"
        )
    ]


def test_own_dockerfiles_and_folders_are_read_while_loading(tmp_path: Path) -> None:
    """Their text and digest are part of the desired state."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text("FROM scratch\n")
    write(
        tmp_path,
        app=APP.replace("app: {}", "app: {own-dockerfile: app/Dockerfile}\n  other: {source: {folder: app}}"),
    )
    desired = load(tmp_path)
    assert desired.dockerfiles == {("app", "app"): "FROM scratch\n"}
    assert desired.folders[("app", "other")].startswith("sha256:")


def test_problems_are_data(tmp_path: Path) -> None:
    """A problem keeps file, line, column, path, what and what to do apart, for annotations on a pull request."""
    with pytest.raises(DesiredError) as caught:
        load(write(tmp_path, app=APP + "windw: 1\n"))
    file = f"{tmp_path.as_posix()}/app.yaml"
    assert caught.value.problems == (Problem(file, 5, 1, "$.windw", "unknown key 'windw'", "did you mean window?"),)
