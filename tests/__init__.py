"""The tests of reconcile: they mirror the packages; `tests/stack` runs the real parts."""
