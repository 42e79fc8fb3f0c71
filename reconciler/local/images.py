"""Base images made on this machine, where none can be pulled: a busybox, and an SBOM generator on it.

Both are built by buildx and pushed to a registry. The same tools give the same digests: nothing of the time or the
machine goes in.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import ToolError, ToolTimeout
from reconciler.local.builder import Builder
from reconciler.local.catalogue import Tool
from reconciler.local.tools import Tools
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform
from reconciler.model.reference import DigestRef, Repository

PLATFORMS = (Platform.of("linux", "amd64"), Platform.of("linux", "arm64"))

_SCANNER = Path(__file__).with_name("scan.sh")
_LIMIT = 300
_BUSYBOX = {
    "linux/amd64": Tool.BUSYBOX_AMD64,
    "linux/arm64": Tool.BUSYBOX_ARM64,
    "linux/arm/v7": Tool.BUSYBOX_ARM,
}
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


@dataclass(frozen=True, slots=True)
class BaseImages:
    """What was made, by digest: each an index with all the platforms that were asked for."""

    busybox: DigestRef
    scanner: DigestRef


def tools_for(platforms: Iterable[Platform] = PLATFORMS) -> tuple[Tool, ...]:
    """What `obtain` must bring for `make` of these platforms; ToolError where there is no busybox for one."""
    try:
        return tuple(dict.fromkeys(_BUSYBOX[str(platform)] for platform in platforms))
    except KeyError as error:
        raise ToolError(
            f"no busybox for {error.args[0]} is known here", todo=f"choose of {', '.join(_BUSYBOX)}"
        ) from None


def make(
    tools: Tools, builder: Builder, registry: str, *, namespace: str = "base", platforms: Iterable[Platform] = PLATFORMS
) -> BaseImages:
    """Build both images for all `platforms` and push them: `REGISTRY/NAMESPACE/busybox:latest` and `…/scanner:latest`.

    `registry` is `host:port`, plain http on loopback. Raises ToolError with what buildx said last.
    """
    wanted = tuple(platforms)
    tools_for(wanted)
    with tempfile.TemporaryDirectory(prefix="reconcile-base-") as name:
        context = Path(name)
        (context / "busybox").mkdir()
        for platform in wanted:
            _root(context / "busybox" / str(platform), tools[_BUSYBOX[str(platform)]])
        recipe = 'FROM scratch\nARG TARGETPLATFORM\nCOPY ${TARGETPLATFORM}/ /\nENV PATH=/bin\nCMD ["/bin/sh"]\n'
        (context / "busybox" / "Dockerfile").write_text(recipe, encoding="utf-8")
        busybox = _build(builder, context / "busybox", Repository.parse(f"{registry}/{namespace}/busybox"), wanted)
        (context / "scanner").mkdir()
        shutil.copyfile(_SCANNER, context / "scanner" / "scan.sh")
        recipe = f'FROM {busybox}\nCOPY scan.sh /scan.sh\nENTRYPOINT ["/bin/sh", "/scan.sh"]\n'
        (context / "scanner" / "Dockerfile").write_text(recipe, encoding="utf-8")
        scanner = _build(builder, context / "scanner", Repository.parse(f"{registry}/{namespace}/scanner"), wanted)
    return BaseImages(busybox, scanner)


def _root(folder: Path, busybox: Path) -> None:
    """A root file system in which every applet that busybox has is a link to it."""
    (folder / "bin").mkdir(parents=True)
    shutil.copyfile(busybox, folder / "bin" / "busybox")
    (folder / "bin" / "busybox").chmod(0o755)
    for applet in _applets(busybox):
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    for name, text in _ACCOUNTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "root").mkdir()
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)


def _applets(busybox: Path) -> list[str]:
    """The applets compiled into a busybox, read from the program itself: it may be of a foreign architecture.

    Their names stand one after another, each ended by a zero, in order (busybox, libbb/appletlib.c, applet_names).
    """
    data = busybox.read_bytes()
    start = data.find(b"\0[\0[[\0")
    names: list[str] = []
    for raw in data[start + 1 : start + 16384].split(b"\0") if start >= 0 else ():
        name = raw.decode("ascii", "replace")
        if not name or (names and name <= names[-1]):
            break
        names.append(name)
    if "sh" not in names:
        raise ToolError("this busybox doesn't say what it can do", where=str(busybox))
    return names


def _build(builder: Builder, context: Path, target: Repository, platforms: Iterable[Platform]) -> DigestRef:
    metadata = context / ".metadata.json"
    output = f"type=image,name={target}:latest,push=true,rewrite-timestamp=true,oci-mediatypes=true"
    argv = builder.command(
        "build",
        f"--platform={','.join(map(str, platforms))}",
        "--progress=plain",
        "--provenance=false",
        "--build-arg=SOURCE_DATE_EPOCH=0",
        f"--output={output}",
        f"--metadata-file={metadata}",
        f"--file={context / 'Dockerfile'}",
        str(context),
    )
    try:
        done = subprocess.run(
            argv,
            env=dict(builder.environment()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
        if done.returncode != 0:
            tail = done.stderr.splitlines()[-8:]
            raise ToolError(f"building {target} failed with status {done.returncode}", tail=tail)
        said: Mapping[str, str] = json.loads(metadata.read_text(encoding="utf-8"))
        return target.at(Digest.parse(said["containerimage.digest"]))
    except subprocess.TimeoutExpired as error:
        raise ToolTimeout(f"building {target} took longer than {_LIMIT} s") from error
    except (OSError, ValueError, KeyError) as error:
        raise ToolError(f"building {target} left no digest: {error}") from error
