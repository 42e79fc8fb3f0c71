"""What `git ls-remote` asks, asked over the connections that are open already (gitprotocol-http(5), -v2(5)).

A git process costs more CPU than everything else that a plan does for an app, and a TLS handshake of its own each
time. Hosts that speak neither version of the smart protocol are left to git itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reconciler.errors import UpstreamError
from reconciler.upstream.http import Answer, Http

_MIB = 1024 * 1024
_CAP = 64 * _MIB
_ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
_RESULT = "application/x-git-upload-pack-result"
_REF = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (refs/[!-~]{1,400}?)(\^\{\})?((?: [!-~]+)*)")
_ROW = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}|unborn) ([^ ]{1,4096})(?: .*)?", re.DOTALL)
_PEELED = re.compile(rb" peeled:([0-9a-f]{40}|[0-9a-f]{64})(?= |$)")

Packet = bytes | None
"""A line of git's wire protocol; None is a flush or a delimiter."""


class NotSmart(Exception):
    """The host speaks no smart git protocol at that URL: git itself may know more."""


async def ls_refs(http: Http, url: str, prefix: str) -> Mapping[str, str]:
    """Refs under `prefix` by full name with their commits, annotated tags peeled; names that aren't ASCII are left out.

    Raises UpstreamError where there is no definite answer, and NotSmart.
    """
    base = url.rstrip("/")
    service = f"{base}/info/refs?service=git-upload-pack"
    headers = {"git-protocol": "version=2"}
    answer = await http.ask(service, headers=headers, cap=_CAP, anonymous=True, where=url)
    if answer.status in (401, 403, 404, 410):
        raise UpstreamError(f"the repository isn't there or isn't public (status {answer.status})", where=url)
    if answer.status != 200 or answer.headers.get("content-type", "").partition(";")[0].strip() != _ADVERTISEMENT:
        raise NotSmart
    packets = _without_banner(_packets(answer, url))
    if next(iter(packets), None) != b"version 2":
        return _under(prefix, _version_0(packets, url))
    base = answer.url.removesuffix("/info/refs?service=git-upload-pack")
    formats = [p.removeprefix(b"object-format=") for p in packets if p is not None and p.startswith(b"object-format=")]
    lines = [b"command=ls-refs\n", *(b"object-format=" + f + b"\n" for f in formats)]
    arguments = [b"peel\n", b"ref-prefix " + prefix.encode() + b"\n"]
    content = b"".join(map(_line, lines)) + b"0001" + b"".join(map(_line, arguments)) + b"0000"
    kind = {"content-type": "application/x-git-upload-pack-request", "accept": _RESULT}
    told = await http.ask(
        f"{base}/git-upload-pack",
        method="POST",
        headers={**headers, **kind},
        content=content,
        cap=_CAP,
        anonymous=True,
        where=url,
    )
    if told.status != 200 or told.headers.get("content-type", "").partition(";")[0].strip() != _RESULT:
        raise UpstreamError(f"git is answered with status {told.status}", where=url)
    return _under(prefix, _version_2(list(_packets(told, url)), url))


def _line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def _packets(answer: Answer, url: str) -> Iterator[Packet]:
    """The packets of a body, which must end with a flush: a cut list isn't a short one."""
    body, at = answer.body, 0
    last: Packet = b""
    while at < len(body):
        try:
            size = int(body[at : at + 4], 16)
        except ValueError:
            size = -1
        if size in (0, 1, 2):
            last = None
            at += 4
            yield None
            continue
        line = body[at + 4 : at + size]
        if size < 4 or len(line) != size - 4:
            raise UpstreamError("git's answer is garbled", where=url)
        last = line
        at += size
        if line.startswith(b"ERR "):
            words = "".join(c for c in line[4:200].decode("utf-8", "replace") if c.isprintable())
            raise UpstreamError(f"git is refused: {words}", where=url)
        yield line.removesuffix(b"\n")
    if last is not None:
        raise UpstreamError("git's answer is cut", where=url)


def _without_banner(packets: Iterator[Packet]) -> list[Packet]:
    """The packets after `# service=git-upload-pack` and its flush, which version 2 may leave out."""
    found = list(packets)
    return found[2:] if found[:1] == [b"# service=git-upload-pack"] else found


def _version_0(packets: list[Packet], url: str) -> Mapping[str, str]:
    """An advertisement: `<id> <name>`, the first with capabilities after a NUL, `^{}` where a tag is peeled."""
    refs: dict[str, str] = {}
    for packet in packets:
        if packet is None or packet.startswith((b"version ", b"shallow ")):
            continue
        row = packet.partition(b"\0")[0]
        if _ROW.fullmatch(row) is None:
            raise UpstreamError("git's list of refs makes no sense", where=url)
        match = _REF.fullmatch(row)
        # a peeled line follows the one of its tag, and is the one that counts
        if match is not None:
            refs[match[2].decode()] = match[1].decode()
    return refs


def _version_2(packets: list[Packet], url: str) -> Mapping[str, str]:
    """The answer to ls-refs: `<id> <name>[ peeled:<id>]…`."""
    refs: dict[str, str] = {}
    for packet in packets:
        if packet is None:
            continue
        if _ROW.fullmatch(packet) is None:
            raise UpstreamError("git's list of refs makes no sense", where=url)
        match = _REF.fullmatch(packet)
        if match is not None:
            peeled = _PEELED.search(match[4])
            refs[match[2].decode()] = (peeled[1] if peeled else match[1]).decode()
    return refs


def _under(prefix: str, refs: Mapping[str, str]) -> Mapping[str, str]:
    # a prefix is only a hint to the server
    return {name: commit for name, commit in refs.items() if name.startswith(prefix)}
