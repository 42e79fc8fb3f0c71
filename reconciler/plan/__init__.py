"""The difference between wanted and observed: kinds of change, the decision, the plan with its hash and guards.

Pure: imports `model` only, touches no socket, file or clock.
"""
