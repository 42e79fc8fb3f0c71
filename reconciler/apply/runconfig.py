"""A folder of this run alone: docker's config with one host's credential, and room for what is made on the way.

Child processes get credentials through it and through nothing else (rule 9). It is 0700, its config 0600, and gone when
the run ends; a run that was killed leaves it, and the next run removes it.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler.errors import ToolError

PREFIX = "reconcile-run-"
LOGS = "reconcile-logs-"
_NEW = "reconcile-new-"
_LOCK = "lock"
# between its making and its lock, a folder looks like a dead run's
_SETTLED = 60.0
_MAX_CONFIG = 1024 * 1024
# docker's own name for Docker Hub in its config (docker/cli, IndexServer)
_HUB = {"docker.io": "https://index.docker.io/v1/", "index.docker.io": "https://index.docker.io/v1/"}
# what docker and buildx need to find the user's plugins, contexts and builders; none of them is a credential
_KEPT_FIELDS = ("cliPluginsExtraDirs", "currentContext")
_LINKED = ("cli-plugins", "contexts", "buildx")


class RunConfig:
    """A context manager. `docker` is the folder for DOCKER_CONFIG, `scratch` one for files that go with the run."""

    def __init__(
        self,
        host: str,
        *,
        username: str = "",
        password: str = "",
        identity_token: str = "",
        environ: Mapping[str, str] | None = None,
        base: Path | None = None,
    ) -> None:
        """`host` is the mirror's registry; without username and token it is used anonymously.

        `environ` says where the user's own docker config is (default: this process's). `base` is where the folder is
        made (default: the system's for temporary files).
        """
        self._host = host
        self._login = (username, password, identity_token)
        self._environ = os.environ if environ is None else environ
        self._base = base or Path(tempfile.gettempdir())
        self._lock: int | None = None
        self.folder = self._base / f"{PREFIX}{secrets.token_hex(8)}"

    @property
    def docker(self) -> Path:
        """What DOCKER_CONFIG is set to for child processes."""
        return self.folder / "docker"

    @property
    def scratch(self) -> Path:
        """Room for checkouts, bundles and metadata files."""
        return self.folder / "scratch"

    def __enter__(self) -> Self:
        clear_stale(self._base)
        try:
            new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self._base))
            self._lock = _locked(new)
            (new / "scratch").mkdir(mode=0o700)
            self._fill(new / "docker")
            new.rename(self.folder)
        except OSError as error:
            self.__exit__(None, None, None)
            raise _unusable(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _fill(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        users = Path(self._environ.get("DOCKER_CONFIG") or Path(self._environ.get("HOME") or "~", ".docker"))
        users = users.expanduser().absolute()
        content: dict[str, Any] = {key: value for key, value in _read(users).items() if key in _KEPT_FIELDS}
        content["auths"] = self._auths()
        handle = os.open(folder / "config.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        for name in _LINKED:
            own = self._environ.get("BUILDX_CONFIG") if name == "buildx" else None
            target = Path(own).absolute() if own else users / name
            if target.is_dir():
                (folder / name).symlink_to(target)

    def _auths(self) -> Mapping[str, Mapping[str, str]]:
        username, password, identity_token = self._login
        if not username and not identity_token:
            return {}
        # with an identity token the user name is docker's placeholder and the password empty
        pair = f"{username or '<token>'}:{'' if identity_token else password}"
        entry = {"auth": base64.b64encode(pair.encode()).decode()}
        return {_HUB.get(self._host, self._host): entry | ({"identitytoken": identity_token} if identity_token else {})}


def _unusable(error: OSError) -> ToolError:
    return ToolError(
        f"this run's folder can't be made: {error.strerror}",
        where=str(error.filename or tempfile.gettempdir()),
        todo="set TMPDIR to a folder that can be written",
    )


@contextlib.contextmanager
def logs_folder(keep: Callable[[], bool]) -> Iterator[Path]:
    """A folder for the logs of programs, gone after `with` unless `keep` says so then.

    A run that was killed leaves it, and the next run removes it. Raises ToolError.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=LOGS))
        lock = _locked(folder)
    except OSError as error:
        raise _unusable(error) from None
    try:
        yield folder
    finally:
        if keep():
            # without its lock it is nobody's to clear
            (folder / _LOCK).unlink(missing_ok=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder, which says that its run lives."""
    new = folder / f".{_LOCK}"
    lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # never there without being held
    new.rename(folder / _LOCK)
    return lock


def _read(users: Path) -> Mapping[str, Any]:
    """The user's config; what can't be read is none: docker itself complains where it matters."""
    try:
        with (users / "config.json").open("rb") as file:
            content = json.loads(file.read(_MAX_CONFIG))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def clear_stale(base: Path) -> None:
    """Removes the folders of runs that are dead: nobody holds their lock, which goes with its process."""
    for folder in (path for prefix in (PREFIX, LOGS, _NEW) for path in base.glob(f"{prefix}*")):
        # somebody else's, gone meanwhile, or locked by a run that lives
        with contextlib.suppress(OSError):
            found = folder.lstat()
            young = folder.name.startswith(_NEW) and time.time() - found.st_mtime < _SETTLED
            if found.st_uid != os.geteuid() or young:
                continue
            with (folder / _LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
