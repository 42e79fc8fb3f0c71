"""What proves a digest: reading it (I/O) in `read`, judging it (pure) in `judge`, both together in `examine`.

The libraries that verify (sigstore-python, cryptography) are imported by `keyless` and `keys` only, and those two by
`judge` only when there is something to verify.
"""
