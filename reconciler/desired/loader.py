"""The desired folder, read and checked as a whole: Desired, or every mistake of every file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from reconciler.desired.checks import Shape, across
from reconciler.desired.files import Unreadable, folder_digest, read_text
from reconciler.desired.nodes import MAPPING, Node, NotYaml, Part, compose, find, plain, show
from reconciler.desired.problems import problems
from reconciler.desired.schema.app import App
from reconciler.desired.schema.mirror import KeylessEntry, Mirror
from reconciler.desired.state import Desired, ImageName
from reconciler.errors import DesiredError, Problem
from reconciler.model.signing import Identity, Keyless, KeyPair, Policy, PublicKey, Signer, Signing

MIRROR = "mirror.yaml"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)


def load(folder: Path, *, allow_local: bool = False) -> Desired:
    """What the files in `folder` say; DesiredError with every mistake of every file.

    `allow_local`: whether URLs may name this machine or private nets, and loopback without TLS: for an operator to
    say, never for a file. Nothing outside of the folder is read, and nothing is asked of any network.
    """
    reader = _Reader(folder, {"allow_local": allow_local})
    names = reader.names()
    mirror = reader.mirror() if MIRROR in names else None
    apps = [app for name in names if name != MIRROR and (app := reader.app(name)) is not None]
    for finding in across(mirror, reader.shapes):
        reader.problem(finding.file, finding.path, finding.what, finding.todo)
    dockerfiles, folders = reader.own_files(apps)
    signing = reader.signing(mirror) if mirror is not None else None
    if reader.found or mirror is None or signing is None:
        raise DesiredError(reader.found)
    return Desired(folder, mirror, tuple(sorted(apps, key=lambda app: app.app)), signing, dockerfiles, folders)


class _Reader:
    """Reads one folder and gathers what is wrong in it."""

    def __init__(self, folder: Path, context: dict[str, bool]) -> None:
        self._folder, self._context = folder, context
        self.found: list[Problem] = []
        self.shapes: list[Shape] = []

    def names(self) -> list[str]:
        """The desired files, by name."""
        try:
            names = sorted(entry.name for entry in self._folder.iterdir() if not entry.name.startswith("."))
        except OSError:
            self.found.append(
                Problem(
                    self._folder.as_posix(), 1, 1, "", "this is no folder that can be read", "name it with --desired"
                )
            )
            return []
        for name in names:
            if not _NAME.fullmatch(name) and name.endswith((".yml", ".yaml")):
                self.problem(name, (), "the file has an odd name", "use letters, digits, . _ and - only")
            elif name.endswith(".yml"):
                self.problem(name, (), "a desired file ends in .yaml", f"rename it to {name[:-4]}.yaml")
        if MIRROR not in names:
            self.problem(MIRROR, (), "the file isn't there", "write registry, namespace, source and signing in it")
        return [name for name in names if name.endswith(".yaml") and _NAME.fullmatch(name)]

    def problem(self, name: str, path: tuple[Part, ...], what: str, todo: str = "") -> None:
        """Notes a mistake at `path` in the file `name`; the place is found by reading it once more."""
        line, column, real = 1, 1, path
        if path:
            line, column, _, real = find(compose(read_text(self._folder, name))[0], path)
        self.found.append(Problem(self._shown(name), line, column, show(real) if path else "", what, todo))

    def _shown(self, name: str) -> str:
        # a name with a newline in it would forge a line of its own
        return (self._folder / (name if _NAME.fullmatch(name) else ascii(name)[1:-1])).as_posix()

    def _root(self, name: str) -> Node | None:
        try:
            root, complaints = compose(read_text(self._folder, name))
        except Unreadable as error:
            self.found.append(Problem(self._shown(name), 1, 1, "", error.what, error.todo))
        except NotYaml as error:
            self.found.append(Problem(self._shown(name), error.line, error.column, "", error.what, error.todo))
        else:
            self.found += [Problem(self._shown(name), c.line, c.column, "", c.what, c.todo) for c in complaints]
            if root.kind == MAPPING:
                return root
            self.found.append(
                Problem(self._shown(name), root.line, root.column, "$", "this is no mapping", "write key: value")
            )
        return None

    def mirror(self) -> Mirror | None:
        """What mirror.yaml says; None where that is wrong."""
        if (root := self._root(MIRROR)) is None:
            return None
        try:
            return Mirror.model_validate(plain(root), context=self._context)
        except ValidationError as error:
            self.found += problems(self._shown(MIRROR), root, Mirror, error)
            return None

    def app(self, name: str) -> App | None:
        """What an app's file says; None where that is wrong."""
        if (root := self._root(name)) is None:
            return None
        data = plain(root)
        try:
            app = App.model_validate(data, context=self._context)
        except ValidationError as error:
            self.found += problems(self._shown(name), root, App, error)
            self.shapes.append(Shape.guess(name, data))
            return None
        self.shapes.append(Shape.of(name, app))
        stem = name.removesuffix(".yaml")
        if app.app == stem:
            return app
        todo = f"write app: {stem}, or rename the file to {app.app}.yaml"
        self.problem(name, ("app",), f"the app {app.app} is in the file of {stem}", todo)
        return None

    def own_files(self, apps: Iterable[App]) -> tuple[dict[ImageName, str], dict[ImageName, str]]:
        """The Dockerfiles and the digests of the folders that images are built from."""
        dockerfiles: dict[ImageName, str] = {}
        folders: dict[ImageName, str] = {}
        for app in apps:
            for name, image in app.images.items():
                at: tuple[Part, ...] = ("images", name, "own-dockerfile")
                try:
                    if image.own_dockerfile is not None:
                        dockerfiles[app.app, name] = read_text(self._folder, image.own_dockerfile)
                    if image.source is not None and image.source.folder is not None:
                        at = ("images", name, "source", "folder")
                        if image.source.folder == ".":
                            raise Unreadable("it is the desired folder itself", "name a folder in it")
                        folders[app.app, name] = folder_digest(self._folder, image.source.folder)
                except Unreadable as error:
                    self.problem(f"{app.app}.yaml", at, f"this can't be used: {error.what}", error.todo)
        return dockerfiles, folders

    def signing(self, mirror: Mirror) -> Signing | None:
        """How proofs are made and whose count; None where a file that it names can't be used."""
        entry = mirror.signing
        before = len(self.found)
        method: Keyless | KeyPair | None = None
        if entry.keyless is not None:
            config = self._beside(entry.signing_config, ("signing", "signing-config"))
            path = str((self._folder / str(entry.signing_config)).resolve()) if config else ""
            method = Keyless(_identity(entry.keyless), path)
        elif entry.key is not None:
            public = self._public_key(entry.key.public, ("signing", "key", "public"))
            method = KeyPair(public, entry.key.private or "")
        accept: list[Signer] = []
        for at, other in enumerate(entry.accept):
            if other.public is not None:
                accept.append(self._public_key(other.public, ("signing", "accept", at, "public")))
            else:
                accept.append(_identity(KeylessEntry.model_construct(**dict(other))))
        root = self._beside(entry.trusted_root, ("signing", "trusted-root"))
        if method is None or len(self.found) > before:
            return None
        own: Signer = method.identity if isinstance(method, Keyless) else method.public
        policy = Policy((own, *(s for s in accept if s != own)), root, tuple(sorted(entry.layouts)))
        return Signing(method, policy)

    def _public_key(self, name: str, at: tuple[Part, ...]) -> PublicKey:
        pem = ""
        try:
            pem = read_text(self._folder, name)
            if "PRIVATE KEY" in pem:
                raise Unreadable("it holds a private key", "remove it from the repository and make a new one")
            if not pem.lstrip().startswith("-----BEGIN PUBLIC KEY-----"):
                raise Unreadable("it holds no public key", "write what cosign public-key prints")
        except Unreadable as error:
            self.problem(MIRROR, at, f"this can't be used: {error.what}", error.todo)
        return PublicKey(pem, name)

    def _beside(self, name: str | None, at: tuple[Part, ...]) -> str:
        """The text of a JSON file beside mirror.yaml; empty where none is named."""
        if name is None:
            return ""
        try:
            text = read_text(self._folder, name)
            if not isinstance(json.loads(text), dict):
                raise Unreadable("it is no JSON object", "write what cosign makes")
        except Unreadable as error:
            self.problem(MIRROR, at, f"this can't be used: {error.what}", error.todo)
        except (ValueError, RecursionError):
            self.problem(MIRROR, at, "this can't be used: it is no JSON", "write what cosign makes")
        else:
            return text
        return ""


def _identity(entry: KeylessEntry) -> Identity:
    name = entry.identity if entry.identity is not None else entry.identity_regex
    return Identity(entry.issuer, name or "", entry.identity is None, entry.source_repository or "")
