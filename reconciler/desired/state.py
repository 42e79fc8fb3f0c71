"""The desired state as a whole: the mirror, its apps, and what holds for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.desired.schema.app import App, Window
from reconciler.desired.schema.base import nearest
from reconciler.desired.schema.image import Image
from reconciler.desired.schema.mirror import RUNNERS, Mirror
from reconciler.desired.schema.pointers import Pointers
from reconciler.errors import UsageError
from reconciler.model.evidence import Kind
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.signing import Signing

ImageName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Desired:
    """All desired files, valid together; apps sorted by name.

    `dockerfiles` has the text of each Dockerfile of our own and `folders` the digest of each folder that is a source,
    both by (app, image).
    """

    folder: Path
    mirror: Mirror
    apps: tuple[App, ...]
    signing: Signing
    dockerfiles: Mapping[ImageName, str] = field(default_factory=dict)
    folders: Mapping[ImageName, str] = field(default_factory=dict)

    def app(self, name: str) -> App:
        """The app with that name; UsageError where there is none."""
        for app in self.apps:
            if app.app == name:
                return app
        todo = nearest(name, [app.app for app in self.apps]) if self.apps else "there are no apps yet"
        raise UsageError(f"no app is called {name[:80]!r}", todo=todo)

    def repository(self, image: str) -> Repository:
        """Where an image's tags live."""
        return Repository(self.mirror.registry, f"{self.mirror.namespace}/{image}")

    def window(self, app: App) -> Window:
        """How many releases of an app are kept."""
        return app.window or Window.model_construct(count=self.mirror.defaults.window, skip_blocked=False)

    def platforms(self, app: App) -> tuple[Platform, ...]:
        """The platforms of an app's images, sorted, so that the order in the file changes nothing."""
        return tuple(sorted(app.platforms or self.mirror.defaults.platforms))

    def evidence(self, app: App) -> frozenset[Kind]:
        """The kinds of evidence that every tag of an app needs."""
        return frozenset(app.evidence or self.mirror.defaults.evidence)

    def on_recipe_change(self, app: App) -> str:
        """What is done when a published version would be built otherwise today: "report" or "rebuild"."""
        return app.on_recipe_change or self.mirror.defaults.on_recipe_change

    def pointers(self, app: App, image: Image) -> Pointers:
        """The moving tags of an image: its own over its app's over the defaults."""
        pointers = self.mirror.defaults.pointers
        for more in (app.pointers, image.pointers):
            pointers = more.over(pointers) if more is not None else pointers
        return pointers

    def cache(self, image: Image) -> str:
        """Where an image's build cache is kept: "registry", "gha", "local", or empty for nowhere."""
        return image.cache or self.mirror.defaults.cache or ""

    def runner(self, platform: Platform) -> tuple[str, ...]:
        """The labels of the GitHub Actions runner that builds for a platform."""
        return self.mirror.runners.get(platform) or RUNNERS.get(platform) or RUNNERS[Platform("linux", "amd64")]

    @property
    def images(self) -> Iterator[tuple[App, str, Image]]:
        """Every image of every app, apps and images by name."""
        for app in self.apps:
            for name in sorted(app.images):
                yield app, name, app.images[name]


def in_order(app: App) -> tuple[str, ...]:
    """The names of an app's images, those that others of it are built on first, else by name."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name not in done:
            for base in sorted(set(app.images[name].bases.values()) & set(app.images)):
                visit(base)
            done.append(name)

    for name in sorted(app.images):
        visit(name)
    return tuple(done)
