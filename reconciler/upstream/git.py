"""What a repository has, and git run safely: the ground that `checkout` stands on.

Refs are read over HTTP, by `git ls-remote` only where a host speaks no smart protocol. Nothing of the user's or the
machine's configuration, credentials or environment reaches git; it speaks https (http to loopback where the operator
allows private addresses), connects to the address that was checked, and follows no redirect that wasn't.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from reconciler.errors import ToolMissing, UpstreamError
from reconciler.model.upstream import check_git_url
from reconciler.net import NotAllowed, checked_addresses, is_loopback, literal
from reconciler.upstream.http import Http
from reconciler.upstream.patience import Again, persist
from reconciler.upstream.process import Ran, TooLong, TooMuch, run
from reconciler.upstream.refs import NotSmart, ls_refs

_KINDS = ("refs/tags/", "refs/heads/")
_MIB = 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_LINE = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\t(refs/.{1,4096})")
_USUAL = re.compile(rb"[!-~]{1,400}")
_REDIRECTED = re.compile(r"returned error: 30[12378]\b|redirect", re.IGNORECASE)
# a repository that isn't there, or isn't public: asking again won't help
_DEFINITE = re.compile(
    r"could not read Username|Authentication failed|not found|returned error: 40[0-79]\b|not allowed|"
    r"does not appear to be a git repository|access denied|SSL certificate problem|redirect",
    re.IGNORECASE,
)
_REACHED = re.compile(r"returned error: (?:429|5\d\d)|early EOF|hung up|unexpected", re.IGNORECASE)
_SERVICE = "/info/refs?service=git-upload-pack"


@dataclass(frozen=True, slots=True)
class NoRef:
    """A repository answered, and has no such tag or branch."""

    reason: str


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git against hostile servers; what a URL listed is kept for the run, so that each is asked once.

    `http` finds where redirects lead and has the operator's choice of addresses. `at_once`: processes side by side.
    """

    http: Http
    at_once: int = 8
    program: str = "git"
    _listed: dict[tuple[str, str], asyncio.Task[Mapping[str, str]]] = field(
        default_factory=dict, init=False, repr=False
    )
    _slots: asyncio.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", asyncio.Semaphore(self.at_once))

    async def refs(self, url: str, prefix: str = "refs/tags/") -> Mapping[str, str]:
        """Every ref under `prefix` (tags, or `refs/heads/`) by full name, with its commit; annotated tags are peeled.

        Raises UpstreamError where the repository doesn't answer, isn't there, or isn't public.
        """
        key = (url, prefix)
        if key not in self._listed:
            self._listed[key] = asyncio.create_task(self._list(url, prefix))
        # one caller that is cancelled must not take the answer from the others
        return await asyncio.shield(self._listed[key])

    async def tags(self, url: str) -> Mapping[str, str]:
        """Every tag of a repository with its commit."""
        return {name[len("refs/tags/") :]: commit for name, commit in (await self.refs(url)).items()}

    async def commits(self, url: str, refs: Iterable[str]) -> Mapping[str, str | NoRef]:
        """The commit that each of `refs` names: a full ref, a tag, a branch (in this order) or a commit in full."""
        found: dict[str, str | NoRef] = {}
        for ref in dict.fromkeys(refs):
            # a full commit needs no question
            commit = ref if _COMMIT.fullmatch(ref) else await self._commit(url, ref)
            found[ref] = commit or NoRef(f"{url} has no tag or branch {ref[:200]}")
        return found

    async def _commit(self, url: str, ref: str) -> str | None:
        if ref.startswith("refs/"):
            kinds: tuple[str, ...] = tuple(kind for kind in _KINDS if ref.startswith(kind))
        else:
            kinds = _KINDS
        for kind in kinds:
            known = await self.refs(url, kind)
            if commit := known.get(kind + ref.removeprefix(kind)):
                return commit
        return None

    async def close(self) -> None:
        """Ends what is still being asked."""
        for task in self._listed.values():
            task.cancel()
        await asyncio.gather(*self._listed.values(), return_exceptions=True)
        self._listed.clear()

    async def _list(self, url: str, prefix: str) -> Mapping[str, str]:
        _checked(url)
        try:
            return await ls_refs(self.http, url, prefix)
        except NotSmart:
            return await self._ls_remote(url, prefix)

    async def _ls_remote(self, url: str, prefix: str) -> Mapping[str, str]:
        """The same by git itself, which also knows hosts that only serve files."""

        async def attempt(_deadline: float) -> Ran:
            only = "--tags" if prefix == "refs/tags/" else "--heads"
            ran = await self.on(url, "ls-remote", "--quiet", only, "--", url)
            if ran.status != 0:
                raise classify(ran, url)
            return ran

        try:
            ran = await persist(attempt, self.http.patience, self.http.clock, where=url)
        except Redirected:
            return await self._ls_remote(await self.moved(url), prefix)
        except ToolMissing as missing:
            raise UpstreamError(missing.what, where=url, todo=missing.todo) from None
        return _parse(ran.out, url)

    async def moved(self, url: str) -> str:
        """Where a repository's URL redirects to, each step checked. Raises UpstreamError where it leads nowhere."""
        answer = await self.http.ask(
            url.rstrip("/") + _SERVICE, headers={"git-protocol": "version=2"}, cap=_MIB, anonymous=True
        )
        target = answer.url.removesuffix(_SERVICE)
        try:
            if answer.status != 200 or target.rstrip("/") == url.rstrip("/"):
                raise ValueError(f"status {answer.status}")
            return check_git_url(target)
        except ValueError as error:
            raise UpstreamError(f"redirects to no git repository: {error}", where=url) from None

    async def on(
        self, url: str, *arguments: str, git_dir: str = "/nonexistent", cap: int = 64 * _MIB, seconds: float = 0
    ) -> Ran:
        """How git ended when run with `arguments`, which may go to `url` and nowhere else (empty: nowhere at all).

        `seconds` is its limit, where it isn't the patience's. Raises UpstreamError where the URL isn't allowed, Again
        where it can't be reached, ToolMissing without git.
        """
        settings = await self._settings(url)
        limit = seconds or self.http.patience.total
        command = [self.program, *(part for setting in settings for part in ("-c", setting)), *arguments]
        async with self._slots:
            try:
                return await run(command, environment(git_dir), seconds=limit, cap=cap)
            except FileNotFoundError:
                raise ToolMissing("git isn't there", todo="install git 2.37 or newer") from None
            except TooLong:
                raise Again(f"git took longer than {limit:.0f} s", reached=True) from None
            except TooMuch:
                raise UpstreamError(f"git said more than {cap:,} bytes", where=url) from None
            except OSError as error:
                raise ToolMissing(f"git can't be started: {error.strerror}", todo="check the machine") from None

    async def _settings(self, url: str) -> list[str]:
        fixed = [
            "credential.helper=",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.askPass=",
            "protocol.allow=never",
            "protocol.file.allow=never",
            "http.followRedirects=false",
            "http.proxy=",
            "http.lowSpeedLimit=100",
            "http.lowSpeedTime=30",
            "advice.detachedHead=false",
            "gc.auto=0",
        ]
        if not url:
            return fixed
        parts = urlsplit(_checked(url))
        host = parts.hostname or ""
        allow_private = self.http.allow_private
        if parts.scheme != "https" and not (allow_private and is_loopback(host)):
            raise UpstreamError("git is spoken over https only", where=url)
        fixed.append(f"protocol.{parts.scheme}.allow=always")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            addresses = await checked_addresses(host, port, allow_private=allow_private)
        except NotAllowed as error:
            raise UpstreamError(f"refused: {error}", where=url) from None
        except httpx.ConnectError as error:
            raise Again(f"can't be reached: {error}", reached=False) from None
        if literal(host) is None:
            # the address that was checked is the one that curl connects to: nothing is resolved again
            bracketed = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
            fixed.append(f"http.curloptResolve={host}:{port}:{bracketed}")
        return fixed


def _checked(url: str) -> str:
    try:
        return check_git_url(url)
    except ValueError as error:
        raise UpstreamError(str(error)) from None


class Redirected(Exception):
    """Git was answered with a redirect, which it was told not to follow."""


def classify(ran: Ran, url: str) -> Exception:
    """What a failed git means: Redirected, Again where asking again may help, UpstreamError where it won't."""
    if _REDIRECTED.search(ran.err):
        return Redirected(url)
    words = last_words(ran.err)
    if re.search(r"could not read Username|Authentication failed|returned error: 40[134]|not found", ran.err):
        return UpstreamError(f"the repository isn't there or isn't public (git says: {words})", where=url)
    if _DEFINITE.search(ran.err):
        return UpstreamError(f"git says: {words}", where=url)
    return Again(f"git says: {words}", reached=_REACHED.search(ran.err) is not None)


def last_words(text: str) -> str:
    """The last line that git or a server wrote, without what could confuse a terminal."""
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "nothing")


def environment(git_dir: str) -> dict[str, str]:
    """All that git gets to know of this process: no token, no proxy, no home, no configuration."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_DIR": git_dir,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_PROTOCOL_FROM_USER": "0",
    }
    # the trust store of the operator, as for every other request
    if certificates := os.environ.get("SSL_CERT_FILE"):
        env["GIT_SSL_CAINFO"] = certificates
    return env


def _parse(out: bytes, url: str) -> Mapping[str, str]:
    refs: dict[str, str] = {}
    peeled: dict[str, str] = {}
    for line in out.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise UpstreamError("git's list of refs makes no sense", where=url)
        if _USUAL.fullmatch(match[2]) is None:
            continue  # a name that isn't plain ASCII is no ref that a desired state can name
        name, commit = match[2].decode(), match[1].decode()
        if name.endswith("^{}"):
            peeled[name[:-3]] = commit
        else:
            refs[name] = commit
    if not refs:
        # git takes some web pages for an empty repository, and none of those has releases (rule 1)
        raise UpstreamError("git finds nothing there", where=url, todo="check that it is a git repository")
    return {**refs, **{name: commit for name, commit in peeled.items() if name in refs}}
