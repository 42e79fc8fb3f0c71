"""The registry's client as these tests use it: nobody's credentials, and no patience with what fails on purpose."""

from __future__ import annotations

from reconciler.registry.client import Registry
from reconciler.registry.credentials import Credentials
from reconciler.registry.wire import Timeouts


def client(host: str) -> Registry:
    """A client that may speak to `host` on this machine and asks once."""
    return Registry(Credentials(), trusted=frozenset({host}), timeouts=Timeouts(attempts=1))
