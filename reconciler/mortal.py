"""Programs that die with this process, however it dies."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

# prctl(2): PR_SET_PDEATHSIG is 1, SIGKILL is 9
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])
"""


def mortal(argv: Sequence[str]) -> list[str]:
    """`argv`, whose first word is a path, so that it is killed when this process ends; on Linux alone."""
    if not sys.platform.startswith("linux"):
        return list(argv)
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if setpriv is not None and "busybox" not in os.path.realpath(setpriv):
        return [setpriv, "--pdeathsig", "KILL", "--", *argv]
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *argv]
