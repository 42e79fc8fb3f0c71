"""The workflows in .github, read and run as GitHub would: nothing here knows what stands in them.

expressions  `${{ }}` and `if:`, as far as workflows of ours go; anything else is an error
service      what GitHub is to a run: the repository, artefacts, tokens that may what a job's permissions say
standins     the actions that the workflows use, on this machine
runner       jobs in the order of their needs, matrices side by side, `run:` steps in a shell
"""
