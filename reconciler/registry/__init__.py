"""What a registry holds: the client of the distribution API, token auth, docker's credentials, manifests, referrers.

`client.Registry` asks and writes; `credentials.Credentials` says as whom; `manifests.parse` reads what came back.
A definite "not there" is `model.observed.Absent`, anything else that isn't an answer raises a RegistryError (rule 1).
"""
