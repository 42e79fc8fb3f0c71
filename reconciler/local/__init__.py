"""A registry, an upstream and a builder on this machine; only `demo` and the tests import it."""
