"""The application that the demo's upstream releases: a program, and a greeter that is built on it.

Its Dockerfiles are what one finds upstream: they name their base by a tag and know nothing of the mirror.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.local.upstream import Entry, LocalRepository, program

REPOSITORY = "acme/hello"


@dataclass(frozen=True, slots=True)
class Told:
    """One release as upstream tells it."""

    version: str
    date: str
    prerelease: bool = False

    @property
    def tag(self) -> str:
        """How this upstream spells its tags."""
        return f"v{self.version}"


RELEASES = (
    Told("0.9.0", "2025-01-14T09:00:00Z"),
    Told("1.0.0", "2025-02-03T09:00:00Z"),
    Told("1.1.0", "2025-03-10T09:00:00Z"),
    Told("1.2.0", "2025-04-07T09:00:00Z"),
    # a patch of an old line, after 1.2.0: the newest isn't the highest
    Told("1.0.1", "2025-04-28T09:00:00Z"),
    Told("1.3.0-rc.1", "2025-05-05T09:00:00Z", prerelease=True),
)


def publish(repository: LocalRepository, base: str) -> None:
    """Make all releases; `base` is the image that stands after FROM."""
    for told in RELEASES:
        repository.release(told.tag, files(told.version, base), prerelease=told.prerelease, date=told.date)


def files(version: str, base: str) -> Mapping[str, Entry | str | bytes]:
    """The source of one version."""
    return {
        "Dockerfile": (
            f"FROM {base}\n"
            "COPY hello /bin/hello\n"
            # a RUN step shows that the foreign platform is really run, natively or emulated
            'RUN uname -m > /etc/built-for && hello\nCMD ["hello"]\n'
        ),
        "hello": program(f'#!/bin/sh\necho "hello {version} on $(uname -m)"\n'),
        "Dockerfile.greeter": 'FROM acme/hello\nCOPY greet /bin/greet\nCMD ["greet"]\n',
        "greet": program("#!/bin/sh\nhello && echo 'How do you do?'\n"),
        "README.md": f"# hello {version}\n\nSays hello, and on which machine.\n",
    }
