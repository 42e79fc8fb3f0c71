"""How long things take and what they cost, ours beside the usual tools, in one run on one machine: see `__main__`."""
