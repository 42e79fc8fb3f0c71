"""A registry in a process of its own: it prints its address once it serves, and stops on SIGINT or SIGTERM.

    python -m reconciler.local.registry --root FOLDER [--port 5000] [--latency-ms 50] [--ghcr] [--login me]

With `--login NAME` it wants bearer tokens; the password of NAME is what REGISTRY_PASSWORD says.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from reconciler.errors import ReconcileError
from reconciler.local.registry.access import Auth, User
from reconciler.local.registry.manners import Lag, Manners, Referrers
from reconciler.local.registry.server import LocalRegistry

_STOP = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; the exit status."""
    parser = argparse.ArgumentParser("reconciler.local.registry", description="A small OCI registry on loopback.")
    parser.add_argument("--root", type=Path, required=True, help="where it keeps what it holds")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; any free one by default")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every answer")
    parser.add_argument("--ghcr", action="store_true", help="behave as GHCR does")
    parser.add_argument("--lag", type=float, help="seconds that a tag reads as before after it was written")
    parser.add_argument("--referrers", type=Referrers, choices=list(Referrers), help="what the referrers API answers")
    parser.add_argument("--login", help="want tokens; the name of the one user")
    parser.add_argument("--public", action="append", default=[], help="a pattern of repositories that all may pull")
    parser.add_argument("--control", action="store_true", help="serve /control/, for benchmarks")
    asked = parser.parse_args(arguments)
    # blocked before any thread starts, so that only the wait below takes them
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        with LocalRegistry(
            asked.root,
            port=asked.port,
            manners=_manners(asked),
            auth=_auth(asked),
            latency=asked.latency_ms / 1000,
            controlled=asked.control,
        ) as registry:
            sys.stdout.write(f"{registry.url}\n")
            sys.stdout.flush()
            signal.sigwait(_STOP)
    except ReconcileError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _manners(asked: argparse.Namespace) -> Manners:
    manners = Manners.ghcr() if asked.ghcr else Manners()
    if asked.lag is not None:
        manners = replace(manners, lag=Lag(seconds=asked.lag))
    return manners if asked.referrers is None else replace(manners, referrers=asked.referrers)


def _auth(asked: argparse.Namespace) -> Auth | None:
    if not asked.login:
        return None
    user = User(asked.login, os.environ.get("REGISTRY_PASSWORD", ""))
    return Auth(users=(user,), public=tuple(asked.public))


if __name__ == "__main__":
    sys.exit(main())
