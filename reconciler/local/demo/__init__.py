"""What `reconcile demo` is made of: a registry, an upstream, a signer and a builder, all on this machine.

with room(None) as folder, stage(folder, platforms, needs, say=print) as on:
    on.folder / "desired"        # the mirror's desired state, written for this machine
    on.env                       # what the verbs must see to find all of it
    on.token                     # who signs: an OIDC token that is renewed while the stage stands

folder    a folder of one's own, gone in the end, also after a kill
hello     the tiny application that upstream releases
desired   the desired files that mirror it
stage     starts everything, side by side where it can
witness   looks at each tag as it is put: was it whole and signed by then?
looking   the commands with which a person can look around afterwards
"""
