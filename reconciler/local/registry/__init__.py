"""A small OCI registry on this machine: blobs on disk, GHCR's manners, faults on demand, every request counted.

    with LocalRegistry(folder, manners=Manners.ghcr(), auth=Auth(users=(User("me", "secret"),))) as registry:
        digest = registry.store.put_manifest("mirror/hello", data, tag="1.0.0")   # without HTTP
        registry.faults.add(Fault(Reset(), nth=3))                                # the fourth request from now fails
        ...                                                                       # any client, at registry.url
        assert registry.requests.count(kind="manifest", method="HEAD") == 1

`demo` uses it, and every test that needs a registry; `python -m reconciler.local.registry` runs it in a process of its
own.
"""

from __future__ import annotations

from reconciler.local.registry.access import Auth, Scheme, User
from reconciler.local.registry.answer import Refusal
from reconciler.local.registry.faults import Fault, on
from reconciler.local.registry.manners import Lag, Manners, Referrers
from reconciler.local.registry.place import Violation
from reconciler.local.registry.route import Kind
from reconciler.local.registry.server import LocalRegistry
from reconciler.local.registry.store import Store, View

__all__ = [
    "Auth",
    "Fault",
    "Kind",
    "Lag",
    "LocalRegistry",
    "Manners",
    "Referrers",
    "Refusal",
    "Scheme",
    "Store",
    "User",
    "View",
    "Violation",
    "on",
]
