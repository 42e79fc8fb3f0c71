"""Keeps multi-architecture image mirrors true: `desired/` is compared with the registry and made so."""
