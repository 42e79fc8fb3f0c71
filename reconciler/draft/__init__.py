"""A first desired file for an upstream: what can be seen of it, and what a person has to check.

address    what a URL names: GitHub, a GitLab, a git repository, an image
spelling   how its tags spell versions; pure
tree       the Dockerfile in a checkout, its context, what it is built on
sketch     the file as text, with comments; pure
"""
